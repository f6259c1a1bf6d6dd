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


def test_more_views_are_averaged_over_all_pairs():
    a, b, c = projections(3)
    got = ContrastiveHead(temperature=0.5).loss([a, b, c])['loss']
    want = (nt_xent_loss(a, b, 0.5) + nt_xent_loss(a, c, 0.5) + nt_xent_loss(b, c, 0.5)) / 3
    assert_close(got, want)


def test_a_loss_of_ones_own_needs_no_metrics():
    a, b = projections(2)
    output = ContrastiveHead(dict(type='SquaredDistanceForHeadTest'), temperature=0.5).loss([a, b])
    assert list(output) == ['loss']
    assert_close(output['loss'], 2 * (a - b).square().mean())


def test_one_view_is_refused_with_the_mend():
    with pytest.raises(ValueError, match=r'at least 2 views, got 1; put MultiView'):
        ContrastiveHead().loss(projections(1))


@pytest.mark.parametrize('temperature', [0, -1, float('nan')])
def test_temperature_is_checked_when_the_head_is_built(temperature):
    with pytest.raises(ValueError, match='temperature must be > 0'):
        ContrastiveHead(temperature=temperature)
