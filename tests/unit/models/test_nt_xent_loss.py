"""NT-Xent against Eq. 1 written as a double loop over anchors and candidates."""

import math

import pytest
import torch
from torch.testing import assert_close

from mmsimclr.models import NTXentLoss
from mmsimclr.models.losses import contrastive_metrics, nt_xent_loss
from mmsimclr.registry import MODELS

SETTINGS = [(temperature, normalize) for temperature in (0.1, 0.5, 2.0) for normalize in (True, False)]


def views(n: int = 5, d: int = 7, dtype: torch.dtype = torch.float64) -> tuple:
    """Return two asymmetric views: other scale, other offset, not aligned."""
    generator = torch.Generator().manual_seed(n * 100 + d)
    first = torch.randn(n, d, generator=generator, dtype=dtype)
    second = 0.3 * first + 1.7 * torch.randn(n, d, generator=generator, dtype=dtype) + 0.2
    return first.requires_grad_(), second.requires_grad_()


def similarity(a: torch.Tensor, b: torch.Tensor, normalize: bool) -> torch.Tensor:
    dot = (a * b).sum()
    return dot / (a.square().sum().sqrt() * b.square().sum().sqrt()) if normalize else dot


def double_loop(view_1, view_2, temperature, normalize):
    """Return Eq. 1, averaged over the 2N anchors."""
    n = len(view_1)
    rows = [*view_1, *view_2]
    total = 0.0
    for i in range(2 * n):
        positive = (i + n) % (2 * n)
        terms = {k: (similarity(rows[i], rows[k], normalize) / temperature).exp()
                 for k in range(2 * n) if k != i}
        total = total - (terms[positive] / sum(terms.values())).log()
    return total / (2 * n)


@pytest.mark.parametrize('temperature, normalize', SETTINGS)
def test_value_and_gradient_equal_a_double_loop(temperature, normalize):
    inputs = views()
    got = nt_xent_loss(*inputs, temperature, normalize)
    want = double_loop(*inputs, temperature, normalize)
    assert_close(got, want, rtol=1e-10, atol=1e-12)
    assert_close(torch.autograd.grad(got, inputs), torch.autograd.grad(want, inputs),
                 rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize('normalize', [True, False])
def test_gradient_passes_gradcheck_in_float64(normalize):
    inputs = views(3, 4)
    assert torch.autograd.gradcheck(lambda a, b: nt_xent_loss(a, b, 0.5, normalize), inputs)


def test_positive_is_not_among_the_negatives():
    # Orthogonal images, identical views, temperature 1: one term e, and 2N - 2 terms exp(0).
    n = 3
    view = torch.eye(n)
    assert_close(nt_xent_loss(view, view, 1.0), torch.tensor(math.log((math.e + 2 * n - 2) / math.e)))


def test_an_anchor_is_not_its_own_negative():
    # Were the anchor (similarity 1) a candidate, the loss could not fall below ln 2.
    first = torch.tensor([[1., 0.], [-1., 0.]])
    assert nt_xent_loss(first, first, 0.05) < 1e-6


def test_views_of_one_image_alone_have_no_negatives_and_no_loss():
    inputs = views(1)
    loss = nt_xent_loss(*inputs)
    assert loss == 0
    assert all(grad.eq(0).all() for grad in torch.autograd.grad(loss, inputs))


def test_loss_at_chance_is_the_logarithm_of_all_candidates():
    same = torch.ones(8, 4)
    assert_close(nt_xent_loss(same, same), torch.tensor(math.log(2 * 8 - 1)))


def test_length_of_a_projection_matters_only_without_normalisation():
    first, second = views()
    scale = torch.tensor([[1.], [3.], [0.2], [7.], [2.]], dtype=torch.float64)
    assert_close(nt_xent_loss(scale * first, second), nt_xent_loss(first, second))
    plain = nt_xent_loss(first, second, normalize=False)
    assert (nt_xent_loss(scale * first, second, normalize=False) - plain).abs() > 0.1


def test_pairing_is_by_row():
    first, second = views()
    assert (nt_xent_loss(first, second.roll(1, 0)) - nt_xent_loss(first, second)).abs() > 0.1
    order = torch.tensor([3, 0, 4, 1, 2])
    assert_close(nt_xent_loss(first[order], second[order]), nt_xent_loss(first, second))
    assert_close(nt_xent_loss(second, first), nt_xent_loss(first, second))


def test_a_projection_of_length_zero_gives_finite_values_and_gradients():
    first, second = (view.detach().float() for view in views())
    first[1] = 0
    first.requires_grad_()
    loss = nt_xent_loss(first, second)
    loss.backward()
    assert loss.isfinite()
    assert first.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_loss_of_half_precision_projections_is_computed_in_float32(dtype):
    first, second = (view.detach().to(dtype) for view in views(16, 32))
    loss = nt_xent_loss(first, second, 0.1)
    assert loss.dtype == torch.float32
    assert_close(loss, nt_xent_loss(first.float(), second.float(), 0.1), rtol=0, atol=0)


def test_autocast_changes_neither_loss_nor_metrics():
    inputs = [view.detach().float() for view in views(16, 32)]
    with torch.autocast('cpu', torch.bfloat16):
        loss, metrics = nt_xent_loss(*inputs, 0.1), contrastive_metrics(*inputs, 0.1)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, nt_xent_loss(*inputs, 0.1))
    assert torch.equal(metrics['entropy'], contrastive_metrics(*inputs, 0.1)['entropy'])


def test_google_doubles_the_gradient_and_not_the_value():
    inputs = views()
    exact, google = (nt_xent_loss(*inputs, gradient=name) for name in ('exact', 'google'))
    assert_close(google, exact)
    assert_close(torch.autograd.grad(google, inputs)[0], 2 * torch.autograd.grad(exact, inputs)[0])


def test_openmmlab_gradient_of_one_process_is_the_exact_one():
    inputs = views()
    got, want = (torch.autograd.grad(nt_xent_loss(*inputs, gradient=name), inputs)
                 for name in ('openmmlab', 'exact'))
    assert_close(got, want)


@pytest.mark.parametrize('temperature', [0.1, 0.5])
def test_metrics_equal_a_double_loop_over_the_other_view(temperature):
    first, second = views(6, 3)
    second = 0.6 * second + first.detach()
    second = torch.cat([second[:4], second[4:].flip(0)])       # two of the six do not match
    hits, entropies = [], []
    for i in range(6):
        logits = torch.stack([similarity(first[i], second[j], True) / temperature for j in range(6)])
        p = logits.exp() / logits.exp().sum()
        hits.append(float(logits.argmax() == i))
        entropies.append(-(p * p.log()).sum())
    assert 0 < sum(hits) < 6
    metrics = contrastive_metrics(first, second, temperature)
    assert metrics['accuracy'].item() == pytest.approx(sum(hits) / 6)
    assert_close(metrics['entropy'], sum(entropies) / 6, rtol=1e-6, atol=1e-6)
    assert not metrics['entropy'].requires_grad


@pytest.mark.parametrize('temperature', [0, -0.1, math.nan, math.inf])
def test_temperature_out_of_range_is_refused(temperature):
    with pytest.raises(ValueError, match='temperature must be a number, at least 1e-06 and finite'):
        nt_xent_loss(*views(), temperature)


@pytest.mark.parametrize('shapes', [((4, 3), (5, 3)), ((4, 3), (4, 2)), ((0, 3), (0, 3)),
                                    ((4, 3, 1), (4, 3, 1))])
def test_views_that_do_not_fit_are_refused_with_their_shapes(shapes):
    with pytest.raises(ValueError, match='view_1 and view_2') as error:
        nt_xent_loss(*map(torch.ones, shapes))
    assert all(str(list(shape)) in str(error.value) for shape in shapes)


@pytest.mark.parametrize('streamed', [True, False])
@pytest.mark.parametrize('normalize', [True, False])
def test_a_temperature_that_is_learnt_gets_the_gradient_of_finite_differences(normalize, streamed):
    inputs = [view.detach() for view in views()]
    temperature = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    loss = nt_xent_loss(*inputs, temperature, normalize, streamed=streamed)
    assert_close(loss, nt_xent_loss(*inputs, 0.7, normalize))
    got, = torch.autograd.grad(loss, temperature)
    above, below = (double_loop(*inputs, 0.7 + step, normalize) for step in (1e-5, -1e-5))
    assert_close(got, (above - below) / 2e-5, rtol=1e-6, atol=1e-9)
    assert got.abs() > 0.01
    head = MODELS.build(dict(type='ContrastiveHead', loss=dict(type=NTXentLoss, streamed=streamed)))
    head.temperature = torch.nn.Parameter(torch.tensor(0.7))
    head.loss([view.float() for view in inputs])['loss'].backward()
    assert head.temperature.grad.abs() > 0.01


def test_the_second_derivative_is_refused_where_streamed_and_right_where_not():
    inputs = views(3, 4)
    streamed = nt_xent_loss(*inputs, 0.5)
    for allow_unused in (False, True):
        with pytest.raises(ValueError, match=r'no second derivative.*streamed=False'):
            torch.autograd.grad(streamed, inputs, create_graph=True, allow_unused=allow_unused)
    assert torch.autograd.gradgradcheck(lambda a, b: nt_xent_loss(a, b, 0.5, streamed=False), inputs)
    torch.autograd.grad(streamed, inputs)                                   # the first one still can be had


def test_unknown_gradient_is_refused_by_function_and_module():
    with pytest.raises(ValueError, match=r"'exact', 'openmmlab', 'google', got 'mean'"):
        nt_xent_loss(*views(), gradient='mean')
    with pytest.raises(ValueError, match='gradient must be one of'):
        NTXentLoss(gradient='mean')


def test_registered_module_hands_its_settings_on():
    module = MODELS.build(dict(type='NTXentLoss', normalize=False, gradient='google'))
    inputs = views()
    want = nt_xent_loss(*inputs, 0.7, False, 'google')
    got = module(*inputs, 0.7)
    assert_close(got, want)
    assert_close(torch.autograd.grad(got, inputs), torch.autograd.grad(want, inputs))
    assert_close(module.metrics(*inputs, 0.7), contrastive_metrics(*inputs, 0.7, False))
