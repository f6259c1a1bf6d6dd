"""A batch that goes through the encoder in chunks has the loss and the gradient of the whole batch."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.testing import assert_close

from mmsimclr.models import SimCLR
from mmsimclr.registry import MODELS

NUM_IMAGES = 7


def build(norm: str = 'GN', **arguments) -> SimCLR:
    torch.manual_seed(0)
    norm_cfg = dict(type='GN', num_groups=2) if norm == 'GN' else dict(type='BN')
    return MODELS.build(dict(
        type='mmsimclr.SimCLR', **arguments,
        backbone=dict(type='mmsimclr.ResNet', depth=18, base_channels=4, stem='cifar', norm_cfg=norm_cfg,
                      zero_init_residual=False),
        neck=dict(type='mmsimclr.NonLinearNeck', in_channels=32, hid_channels=16, out_channels=8,
                  num_layers=1, with_last_bn=norm == 'BN'),
        head=dict(type='mmsimclr.ContrastiveHead', temperature=0.3)))


def views() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return [torch.randn(NUM_IMAGES, 3, 16, 16, generator=generator) + i for i in range(2)]


def gradients(model: SimCLR, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    return dict(zip(dict(model.named_parameters()), torch.autograd.grad(loss, list(model.parameters())),
                    strict=True))


@pytest.mark.parametrize('chunk_size', [1, 3, 5])
def test_without_batch_norm_loss_and_gradient_are_the_whole_batchs(chunk_size):
    whole, chunked = build(), build(chunk_size=chunk_size)
    wanted, got = whole(views(), mode='loss'), chunked(views(), mode='loss')
    for name in wanted:
        assert_close(got[name], wanted[name], rtol=1e-5, atol=1e-6)
    wanted, got = gradients(whole, wanted['loss']), gradients(chunked, got['loss'])
    for name, gradient in wanted.items():
        assert_close(got[name], gradient, rtol=1e-4, atol=1e-5 * gradient.abs().max().item(), msg=name)


def statistics(model: nn.Module) -> list[torch.Tensor]:
    return [tensor for norm in model.modules() if isinstance(norm, _BatchNorm)
            for tensor in (norm.running_mean, norm.running_var, norm.num_batches_tracked)]


def test_with_batch_norm_it_equals_chunks_that_are_all_kept(chunk_size=3):
    """Statistics are those of a chunk, and are counted once, though the encoder runs twice."""
    chunked, kept = build('BN', chunk_size=chunk_size), build('BN')
    loss = chunked(views(), mode='loss')['loss']
    pieces = [kept.project(torch.cat(chunk)).chunk(2)
              for chunk in zip(*(view.split(chunk_size) for view in views()), strict=True)]
    by_hand = kept.head.loss([torch.cat(view) for view in zip(*pieces, strict=True)])['loss']
    assert_close(loss, by_hand, rtol=1e-6, atol=0)
    wanted, got = gradients(kept, by_hand), gradients(chunked, loss)
    for name, gradient in wanted.items():
        assert_close(got[name], gradient, rtol=1e-5, atol=1e-6 * gradient.abs().max().item(), msg=name)
    for ours, theirs in zip(statistics(chunked), statistics(kept), strict=True):
        assert torch.equal(ours, theirs)
    assert chunked.backbone.bn1.num_batches_tracked == 3
    assert not torch.equal(chunked.backbone.bn1.running_mean, build('BN').backbone.bn1.running_mean)


def test_one_chunk_goes_through_the_encoder_at_a_time_and_all_but_the_last_twice():
    """The last is gone backwards through before another goes forwards again, so one chunk is in memory."""
    model = build(chunk_size=3)
    ways = []

    def watch(conv1, inputs, output) -> None:
        ways.append(('forward', len(output)))
        output.register_hook(lambda grad: ways.append(('backward', len(grad))))      # of the stem: the end

    model.backbone.conv1.register_forward_hook(watch)
    loss = model(views(), mode='loss')['loss']
    assert ways == [('forward', 6), ('forward', 6), ('forward', 2)]
    loss.backward()
    assert ways[3:] == [('backward', 2), ('forward', 6), ('backward', 6), ('forward', 6), ('backward', 6)]


def test_a_batch_of_one_chunk_takes_the_plain_path():
    model = build(chunk_size=NUM_IMAGES)
    sizes = []
    model.backbone.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    model(views(), mode='loss')['loss'].backward()
    assert sizes == [2 * NUM_IMAGES]


def test_it_trains_under_autocast():
    model = build(chunk_size=3)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    before = model.backbone.conv1.weight.clone()
    with torch.autocast('cpu', torch.bfloat16):
        loss = model(views(), mode='loss')['loss']
    wrapper.update_params(loss)
    assert torch.isfinite(loss) and not torch.equal(model.backbone.conv1.weight, before)


def under_autocast(model: SimCLR, loss_of) -> dict[str, torch.Tensor]:
    """Return a model's gradients where its forward pass is in bfloat16."""
    with torch.autocast('cpu', torch.bfloat16):
        loss = loss_of(model)
    return gradients(model, loss)


def relative_error(got: dict, want: dict) -> float:
    """Return the relative error of all gradients together."""
    squares = sum((got[name] - want[name]).square().sum() for name in want)
    return float((squares / sum(value.square().sum() for value in want.values())).sqrt())


def many_views() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return [torch.randn(24, 3, 8, 8, generator=generator) + i for i in range(2)]


def test_under_autocast_gradients_are_added_over_chunks_in_the_precision_of_the_weights():
    """The gradients of the chunks, summed in float64, show what rounding leaves room for."""
    model, inputs = build(chunk_size=1), many_views()
    with torch.autocast('cpu', torch.bfloat16):
        projections = [model.project(torch.cat(chunk)).float()
                       for chunk in zip(*(view.split(1) for view in inputs), strict=True)]
    rows = torch.stack([part.detach() for part in projections]).requires_grad_()               # [n, 2, D]
    slopes, = torch.autograd.grad(model.head.loss(list(rows.unbind(dim=1)))['loss'], rows)
    want = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in model.named_parameters()}
    for part, slope in zip(zip(*(view.split(1) for view in inputs), strict=True), slopes, strict=True):
        with torch.autocast('cpu', torch.bfloat16):
            own = model.project(torch.cat(part)).float()
        for name, value in gradients(model, (own * slope).sum()).items():
            want[name] += value
    got = under_autocast(model, lambda model: model(inputs, mode='loss')['loss'])
    assert relative_error(got, want) < 1e-5
    assert torch.is_autocast_cache_enabled()


@pytest.mark.parametrize('chunk_size', [0, -1])
def test_a_chunk_of_no_images_is_refused(chunk_size):
    with pytest.raises(ValueError, match=f'chunk_size must be an integer >= 1, got {chunk_size}'):
        build(chunk_size=chunk_size)
