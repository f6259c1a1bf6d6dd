"""Whole steps on a GPU: without a wait, compiled, in chunks, captured, over NCCL. Skipped where none is."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from tiny_run import tiny_config
from torch.testing import assert_close
from torch.utils.data import default_collate

from mmsimclr.config import set_precision
from mmsimclr.engine import SampleIndex
from mmsimclr.models.losses import nt_xent_loss
from mmsimclr.registry import MODELS
from mmsimclr.runner import build_runner, compile_encoder, loop
from mmsimclr.transforms import DeviceViews, PackForDevice

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs an NVIDIA GPU')


def batch(count: int = 8) -> dict:
    rng = np.random.default_rng(0)
    return default_collate([PackForDevice(64)({
        'img': rng.integers(256, size=(40 + i, 50, 3), dtype=np.uint8), 'sample_idx': SampleIndex(i, 1, 2)})
        for i in range(count)])


def parts(tmp_path, precision: str = 'bf16', **views):
    init_default_scope('mmsimclr')
    config = tiny_config(tmp_path)
    set_precision(config, precision)
    config.model.data_preprocessor = dict(type='ViewPreprocessor', channels_last=True,
                                          views=dict(type='DeviceViews', size=32, **views))
    model = MODELS.build(config.model).cuda()
    return model, build_optim_wrapper(model, {'type': 'OptimWrapper', **config.optim_wrapper})


@pytest.mark.parametrize('variant', ['plain', 'in chunks', 'compiled', 'fused', 'tf32'])
def test_a_whole_step_waits_for_nothing(variant, tmp_path):
    model, wrapper = parts(tmp_path, fused=variant == 'fused',
                           matmul='tf32' if variant == 'tf32' else 'float32')
    if variant == 'in chunks':
        model.chunk_size = 3
    if variant == 'compiled':
        compile_encoder(model)
    images = batch()
    images['inputs'] = images['inputs'].cuda()
    try:
        for mode in ('default', 'default', 'error'):            # the first set up what is set up once
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode(mode)
            logged = model.train_step(images, wrapper)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert torch.isfinite(logged['loss'])


def losses(tmp_path, name: str, **changes) -> tuple[list[float], list[torch.Tensor]]:
    config = tiny_config(tmp_path / name, train_cfg=dict(by_epoch=True, max_epochs=6), **changes)
    set_precision(config, 'bf16')
    runner = build_runner(config)
    runner.train()
    return (runner.message_hub.get_scalar('train/loss').data[0].tolist(),
            [value.cpu() for value in runner.model.state_dict().values()])


@pytest.mark.parametrize('views', ['loader', 'device'])
def test_captured_steps_are_the_plain_ones(views, tmp_path):
    plain, _ = losses(tmp_path, 'plain', views=views)
    captured, weights = losses(tmp_path, 'captured', views=views, graph=True)
    assert len(set(captured)) == len(captured) == 12            # replayed on other images, at other rates
    assert_close(captured[:6], plain[:6], rtol=0.02, atol=0.02)
    assert all(torch.isfinite(value).all() for value in weights)


@pytest.mark.parametrize('views', ['loader', 'device'])
def test_batches_that_are_copied_beside_a_step_are_the_same(views, tmp_path, monkeypatch):
    def of(name):
        return losses(tmp_path, name, views=views, randomness=dict(seed=0, deterministic=True))[0]
    beside = of('beside')
    monkeypatch.setattr(loop, 'copied_beside', lambda batches, device: batches)
    assert beside == of('plain')


@pytest.mark.parametrize('changes', [dict(fused=True), dict(matmul='tf32')], ids=str)
def test_views_by_option_are_nearly_the_plain_ones(changes):
    images = batch(24)
    samples = [images['data_samples'][key] for key in ('image_size', 'seed', 'epoch', 'sample_idx')]
    made = [DeviceViews(size=48, **settings)(images['inputs'].cuda(), *samples) for settings in ({}, changes)]
    for plain, other in zip(*made, strict=True):
        difference = (plain - other).abs()
        assert difference.mean() < 0.1                          # of 255 levels
        assert difference.flatten().quantile(0.99) < 1          # next to grey, the last digits decide the hue


def test_nccl_of_one_process_gives_the_loss_of_none(tmp_path, monkeypatch):
    views = [torch.randn(16, 8, device='cuda', requires_grad=True) for _ in range(2)]
    want = nt_xent_loss(*views)
    gradients = torch.autograd.grad(want, views)
    for name, value in dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0').items():
        monkeypatch.setenv(name, value)
    dist.init_process_group('nccl', store=dist.HashStore(), rank=0, world_size=1)
    try:
        got = nt_xent_loss(*views)
        assert_close(got, want)
        assert_close(torch.autograd.grad(got, views), gradients)
        config = tiny_config(tmp_path, sync_bn='torch', gradients='bf16', views='device')
        set_precision(config, 'bf16')
        runner = build_runner(config)
        runner.train()
        assert runner.iter == 2 and runner.model.gradient_as_bucket_view
        assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in runner.model.modules())
        assert all(torch.isfinite(value).all() for value in runner.model.parameters())
    finally:
        dist.destroy_process_group()
