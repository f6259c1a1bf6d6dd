"""The path of a step on another device than the host, where there is no GPU: torch's meta device.

Its tensors have no values, so whatever the host reads is an error, and so is an operation on tensors of the
two devices. What is computed is not shown here; tests/gpu does that.
"""

from contextlib import nullcontext

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from tiny_run import tiny_config
from torch.utils.data import default_collate

from mmsimclr.engine import LARS, FiniteLossHook, SampleIndex
from mmsimclr.models import ViewPreprocessor
from mmsimclr.models.losses import contrastive_metrics, nt_xent_loss
from mmsimclr.registry import MODELS
from mmsimclr.runner import DeferredMessageHub
from mmsimclr.transforms import PackForDevice


@pytest.fixture(autouse=True)
def no_autocast_on_meta(monkeypatch):
    """Torch knows no autocast for this device, not even how to leave it off."""
    autocast = torch.autocast

    def for_device(device_type, *args, **settings):
        return nullcontext() if device_type == 'meta' else autocast(device_type, *args, **settings)

    monkeypatch.setattr(torch, 'autocast', for_device)


def projections() -> list[torch.Tensor]:
    return [torch.empty(48, 16, device='meta', requires_grad=True) for _ in range(2)]


def test_the_device_shows_what_it_is_to_show():
    here, there = torch.ones(3), torch.ones(3, device='meta')
    with pytest.raises(RuntimeError):
        here + there
    with pytest.raises(RuntimeError):
        there.sum().item()


@pytest.mark.parametrize('streamed', [True, False])
@pytest.mark.parametrize('gradient', ['exact', 'openmmlab', 'google'])
def test_the_loss_and_its_metrics(streamed, gradient):
    first, second = projections()
    nt_xent_loss(first, second, 0.2, gradient=gradient, streamed=streamed).backward()
    assert first.grad.device.type == second.grad.device.type == 'meta'
    metrics = contrastive_metrics(first.detach(), second.detach(), 0.2)
    assert {value.device.type for value in metrics.values()} == {'meta'}


@pytest.mark.parametrize('options', [
    {}, dict(momentum=0), dict(nesterov=True), dict(trust_ratio='openmmlab'), dict(momentum_style='popular')])
def test_lars(options):
    parameters = [torch.empty(shape, device='meta', requires_grad=True)
                  for shape in ((8, 4), (4,), (2, 3, 3, 3))]
    optimizer = LARS(parameters, lr=0.3, weight_decay=1e-4, **options)
    for _ in range(2):
        for parameter in parameters:
            parameter.grad = torch.empty_like(parameter)
        optimizer.step()
    assert all(state.device.type == 'meta' for kept in optimizer.state.values() for state in kept.values()
               if isinstance(state, torch.Tensor))


@pytest.mark.slow
@pytest.mark.parametrize(('chunk_size', 'num_views'), [(3, 2), (None, 3)])
def test_a_training_step_and_what_is_kept_of_it(chunk_size, num_views, tmp_path):
    init_default_scope('mmsimclr')
    config = tiny_config(tmp_path)
    model = MODELS.build({**config.model, 'chunk_size': chunk_size}).to('meta')
    wrapper = build_optim_wrapper(model, {'type': 'OptimWrapper', **config.optim_wrapper})
    views = [torch.empty(8, 3, 16, 16, dtype=torch.uint8, device='meta') for _ in range(num_views)]
    hub, hook = DeferredMessageHub(f'meta {chunk_size} {num_views}'), FiniteLossHook()
    for step in range(2):
        logged = model.train_step(dict(inputs=views, data_samples={}), wrapper)
        for name, value in logged.items():
            hub.update_scalar(name, value)
        hook.after_train_iter(type('Runner', (), dict(iter=step)), step, outputs=logged)
    assert {value.device.type for value in logged.values()} == {'meta'}


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('size', [32, 17])
def test_views_on_the_device(dtype, size):
    batch = default_collate([
        PackForDevice(64)({'img': torch.zeros(40 + i, 50, 3, dtype=torch.uint8).numpy(),
                           'sample_idx': SampleIndex(i, 1, 2)}) for i in range(12)])
    views = dict(type='mmsimclr.DeviceViews', size=size, chunk_size=5)
    preprocessor = ViewPreprocessor(views=views, dtype=dtype, channels_last=True).to('meta')
    views = preprocessor(batch, training=True)['inputs']
    assert [(view.device.type, view.dtype, tuple(view.shape)) for view in views] == [
        ('meta', getattr(torch, dtype), (12, 3, size, size))] * 2
