import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmsimclr.models import ContrastiveHead, NTXentLoss
from mmsimclr.models.losses import contrastive_metrics, nt_xent_loss
from mmsimclr.registry import MODELS


@MODELS.register_module()
class SquaredDistanceForHeadTest(nn.Module):
    """A loss without metrics."""

    def forward(self, view_1, view_2, temperature):
        return (view_1 - view_2).square().mean() / temperature


def projections(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [(scale + 1) * torch.randn(6, 4, generator=generator) for scale in range(count)]


def test_two_views_give_loss_accuracy_and_entropy_at_the_heads_temperature():
    views = projections(2)
    output = ContrastiveHead(dict(type=NTXentLoss), temperature=0.3).loss(views)
    metrics = contrastive_metrics(*views, 0.3)
    assert list(output) == ['loss', 'contrastive_accuracy', 'contrastive_entropy']
    assert_close(output['loss'], nt_xent_loss(*views, 0.3))
    assert_close(output['contrastive_accuracy'], metrics['accuracy'])
    assert_close(output['contrastive_entropy'], metrics['entropy'])


@pytest.mark.parametrize('streamed', [True, False])
@pytest.mark.parametrize('count', [3, 4])
def test_more_views_are_averaged_over_all_pairs_with_the_metrics_of_the_first_two(count, streamed):
    views = [view.double().requires_grad_() for view in projections(count)]
    head = ContrastiveHead(dict(type=NTXentLoss, normalize=False, streamed=streamed), temperature=3.0)
    output = head.loss(views)
    pairs = [(i, j) for j in range(count) for i in range(j)]
    want = sum(nt_xent_loss(views[i], views[j], 3.0, False, streamed=False) for i, j in pairs) / len(pairs)
    assert_close(output['loss'], want)
    assert_close(torch.autograd.grad(output['loss'], views), torch.autograd.grad(want, views))
    for name, value in contrastive_metrics(*views[:2], 3.0, False).items():
        assert_close(output[f'contrastive_{name}'], value)


@MODELS.register_module()
class DoubledLossForHeadTest(NTXentLoss):
    """Another loss of a pair."""

    def forward(self, view_1, view_2, temperature=0.1):
        return 2 * super().forward(view_1, view_2, temperature)


def test_a_subclass_with_its_own_loss_of_a_pair_is_called_for_every_pair():
    views = projections(3)
    got = ContrastiveHead(dict(type=DoubledLossForHeadTest)).loss(views)
    want = ContrastiveHead().loss(views)
    assert list(got) == list(want)
    assert_close(got['loss'], 2 * want['loss'])
    assert_close(got['contrastive_entropy'], want['contrastive_entropy'])


def test_a_loss_of_ones_own_needs_no_metrics():
    a, b = projections(2)
    output = ContrastiveHead(dict(type='SquaredDistanceForHeadTest'), temperature=0.5).loss([a, b])
    assert list(output) == ['loss']
    assert_close(output['loss'], 2 * (a - b).square().mean())


@pytest.mark.parametrize('temperature', [0, -1, float('nan')])
def test_temperature_is_checked_when_the_head_is_built(temperature):
    with pytest.raises(ValueError, match='temperature must be a number, at least 1e-06 and finite'):
        ContrastiveHead(temperature=temperature)
