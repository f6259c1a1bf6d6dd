"""The streamed loss equals the plain one, in value and gradient, wherever the blocks fall."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmsimclr.models.losses import nt_xent_loss, streamed_nt_xent


def views(num_images: int, width: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0.5, 2, num_images, dtype=torch.float64)[:, None]
    return tuple((torch.randn(num_images, width, generator=generator, dtype=torch.float64) * scale)
                 .requires_grad_() for _ in range(2))


def loss_and_gradients(*arguments, streamed: bool):
    loss = nt_xent_loss(*arguments, streamed=streamed)
    return loss.detach(), *torch.autograd.grad(3 * loss, arguments[:2])


@pytest.mark.parametrize('block_rows', [3, 5, 8, 64])
@pytest.mark.parametrize('num_images', [1, 2, 5, 8, 13])
@pytest.mark.parametrize(('temperature', 'normalize'), [(0.5, True), (0.02, True), (0.5, False)])
def test_value_and_gradient_equal_the_plain_loss_for_every_block_size(
        block_rows, num_images, temperature, normalize, monkeypatch):
    monkeypatch.setitem(streamed_nt_xent.BLOCK_ROWS, 'cpu', block_rows)
    arguments = (*views(num_images), temperature, normalize)
    for got, want in zip(loss_and_gradients(*arguments, streamed=True),
                         loss_and_gradients(*arguments, streamed=False), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize('normalize', [True, False])
def test_gradient_is_that_of_finite_differences(normalize, monkeypatch):
    monkeypatch.setitem(streamed_nt_xent.BLOCK_ROWS, 'cpu', 4)
    assert torch.autograd.gradcheck(
        lambda a, b: nt_xent_loss(a, b, 0.3, normalize), views(5, 3), eps=1e-6, atol=1e-7)


def test_going_backwards_twice_gives_the_same_gradient(monkeypatch):
    monkeypatch.setitem(streamed_nt_xent.BLOCK_ROWS, 'cpu', 4)
    inputs = views(9)
    loss = nt_xent_loss(*inputs, 0.3)
    first = torch.autograd.grad(loss, inputs, retain_graph=True)
    for once, again in zip(first, torch.autograd.grad(loss, inputs), strict=True):
        assert torch.equal(once, again)


def test_a_loss_of_nearly_zero_keeps_its_digits():
    """log-sum-exp minus similarity would lose them: both are 20, their difference 1e-6."""
    anchors = torch.eye(8, 16)
    turned = anchors + 0.05 * torch.eye(8, 16).roll(8, dims=1)
    exact, *_ = loss_and_gradients(anchors.double().requires_grad_(), turned.double().requires_grad_(), 0.05,
                                   streamed=False)
    assert 0 < exact < 1e-6
    loss, *gradients = loss_and_gradients(anchors.requires_grad_(), turned.requires_grad_(), 0.05,
                                          streamed=True)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    wanted = loss_and_gradients(anchors.detach().double().requires_grad_(),
                                turned.detach().double().requires_grad_(), 0.05, streamed=False)[1:]
    for got, want in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize('temperature', [0.01, 1e-3])
def test_a_temperature_beyond_the_range_of_the_exponent_stays_finite(temperature):
    """exp(2 / 0.01) overflows float32, and exp(-2 / 0.01) is 0."""
    double = views(16)
    single = [view.detach().float().requires_grad_() for view in double]
    want = loss_and_gradients(*double, temperature, streamed=False)
    got = loss_and_gradients(*single, temperature, streamed=True)
    assert got[0].item() == pytest.approx(want[0].item(), rel=1e-4)
    for ours, theirs in zip(got[1:], want[1:], strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=2e-2, atol=2e-2 * theirs.abs().max().item())


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation made."""

    numel = 0

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        made = operation(*arguments, **(keywords or {}))
        for value in made if isinstance(made, tuple | list) else (made,):
            if isinstance(value, torch.Tensor):
                self.numel = max(self.numel, value.untyped_storage().nbytes() // value.element_size())
        return made


@pytest.mark.parametrize('streamed', [True, False])
def test_no_tensor_is_larger_than_a_block(streamed, monkeypatch):
    monkeypatch.setitem(streamed_nt_xent.BLOCK_ROWS, 'cpu', 32)
    with Largest() as largest:
        nt_xent_loss(*views(200, 4), streamed=streamed).backward()
    assert (largest.numel <= max(32 * 32, 400 * 4)) == streamed, largest.numel


@pytest.mark.parametrize('temperature', [0.03, 0.02, 0.01])
def test_an_anchor_whose_every_negative_is_opposite_counts(temperature):
    """exp(-2 / 0.02) is 0 in float32, so a fixed shift would leave this anchor no negatives."""
    double = [torch.tensor(rows, dtype=torch.float64, requires_grad=True)
              for rows in ([[1, 0.1], [-1, 0]], [[-1, 0], [-1, 0.01]])]
    single = [view.detach().float().requires_grad_() for view in double]
    want = loss_and_gradients(*double, temperature, streamed=False)
    for got, wanted in zip(loss_and_gradients(*single, temperature, streamed=True), want, strict=True):
        torch.testing.assert_close(got.double(), wanted, rtol=1e-3, atol=1e-4)
