"""NT-Logistic and margin triplet against one anchor at a time, Table 2's gradients, and another miner."""

import math
import warnings

import pytest
import torch
from oracles.pair_losses import gradient_of_anchor, mined, rows_of, slow_loss
from torch.testing import assert_close

from mmsimclr.models import ContrastiveHead, MarginTripletLoss, NTLogisticLoss
from mmsimclr.models.losses import contrastive_metrics

KINDS = {'logistic': 0.3, 'triplet': 0.4}                            # the temperature, the margin
CASES = [(kind, mining, negatives) for kind in KINDS for mining in (None, 'semi_hard')
         for negatives in ('one_view', 'both')]


def views(n: int = 7, d: int = 4, closeness: float = 0.5) -> tuple:
    """Return two asymmetric views, whose positives are neither all closest nor all farthest."""
    generator = torch.Generator().manual_seed(n * 100 + d)
    first = torch.randn(n, d, generator=generator, dtype=torch.float64)
    second = closeness * first + torch.randn(n, d, generator=generator, dtype=torch.float64) + 0.2
    return first.requires_grad_(), second.requires_grad_()


def computed(kind: str, inputs, **options):
    """Return our loss at the kind's temperature or margin."""
    if kind == 'logistic':
        return NTLogisticLoss(**options)(*inputs, KINDS[kind])
    return MarginTripletLoss(KINDS[kind], **options)(*inputs)


@pytest.mark.parametrize('normalize', [True, False])
@pytest.mark.parametrize('kind, mining, negatives', CASES)
def test_value_and_gradient_equal_one_anchor_at_a_time(kind, mining, negatives, normalize):
    inputs = views()
    got = computed(kind, inputs, mining=mining, negatives=negatives, normalize=normalize)
    want = slow_loss(kind, *inputs, KINDS[kind], mining, negatives, normalize)
    assert want > 0.01
    assert_close(got, want, rtol=1e-10, atol=1e-12)
    assert_close(torch.autograd.grad(got, inputs), torch.autograd.grad(want, inputs), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('farther', [True, False])
def test_gradient_of_an_anchor_is_table_2s(kind, farther):
    # One anchor, its positive, one negative, all of unit length; the other anchors' terms are taken away by
    # holding them fixed: without normalisation the gradient of view 1's row 0 is that of its own terms.
    u, positive, negative = (row / row.norm() for row in torch.randn(
        3, 5, generator=torch.Generator().manual_seed(1 + farther), dtype=torch.float64))
    negative = negative if farther else -negative
    anchor = u.clone().requires_grad_()
    first = torch.stack((anchor, torch.zeros(5, dtype=torch.float64)))
    second = torch.stack((positive, negative))
    options = dict(normalize=False)
    loss = computed(kind, (first, second.detach()), **options)
    # Terms with row 0 of view 1 as another's candidate: of the anchors of view 2.
    held = u.clone().requires_grad_()
    setting = KINDS[kind]
    as_candidate = 0.0
    for place, row in enumerate(second.detach()):
        if kind == 'logistic':
            sign = -1 if place == 0 else 1
            as_candidate = as_candidate - torch.sigmoid(-sign * (row @ held) / setting).log()
        elif place == 0:
            as_candidate = as_candidate + torch.relu(0 - row @ held + setting)
        else:
            as_candidate = as_candidate + torch.relu(row @ held - 0 + setting)
    got = 4 * torch.autograd.grad(loss, anchor)[0] - torch.autograd.grad(as_candidate, held)[0]
    assert_close(got, -gradient_of_anchor(kind, u, positive, negative, setting))


def test_triplets_beyond_the_margin_pull_no_one():
    # Positives at similarity 1, negatives at -1: two away, and the margin is 1.5.
    view = torch.tensor([[1., 0.], [-1., 0.]], requires_grad=True)
    loss = MarginTripletLoss(1.5, normalize=False)(view, view)
    assert loss == 0
    assert torch.autograd.grad(loss, view)[0].eq(0).all()
    assert_close(MarginTripletLoss(2.5, normalize=False)(view, view), torch.tensor(0.5))


@pytest.mark.parametrize('negatives', ['one_view', 'both'])
@pytest.mark.parametrize('margin', [0.1, 0.4])
def test_the_triplet_mined_is_the_closest_of_pytorch_metric_learnings_semi_hard_ones(margin, negatives):
    miners = pytest.importorskip('pytorch_metric_learning.miners', reason='pytorch-metric-learning is absent')
    from pytorch_metric_learning.distances import DotProductSimilarity
    view_1, view_2 = (view.detach() for view in views(9, 3, 0.8))
    rows, labels = torch.stack(rows_of(view_1, view_2)), torch.arange(9).repeat(2)
    miner = miners.TripletMarginMiner(margin, 'semihard', distance=DotProductSimilarity(
        normalize_embeddings=False))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        triplets = torch.stack(miner(rows, labels)).T.tolist()
    if negatives == 'one_view':
        triplets = [(a, p, n) for a, p, n in triplets if (a < 9) != (n < 9)]
    losses = []
    for anchor in range(18):
        far = [float(rows[anchor] @ rows[n]) for a, _, n in triplets if a == anchor]
        near = float(rows[anchor] @ rows[(anchor + 9) % 18])
        losses.append(max(far) - near + margin if far else 0.0)
    assert 0 < sum(loss > 0 for loss in losses) < 18
    got = MarginTripletLoss(margin, 'semi_hard', negatives)(view_1, view_2)
    assert got.item() == pytest.approx(sum(losses) / 18)


def test_mining_keeps_the_closest_negative_that_is_farther_than_the_positive():
    # Anchor e1; the positive at 0.6; negatives at 0.9 (closer: not semi-hard), 0.5 and 0.1.
    def at(cosine):
        return [cosine, math.sqrt(1 - cosine ** 2), 0.0]
    view_2 = torch.tensor([at(0.6), at(0.9), at(0.5), at(0.1)], requires_grad=True)
    view_1 = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]])
    MarginTripletLoss(0.3, 'semi_hard', normalize=False)(view_1, view_2).backward()
    pushed = view_2.grad[:, 0] * 8                      # by anchor e1, and by no other along the first axis
    own = mined([*view_1, *view_2.detach()], 0, 4, 'one_view', 'semi_hard', 0.3)
    assert own == [6]
    assert pushed.tolist()[1] == 0
    assert pushed.tolist()[3] == 0
    assert pushed.tolist()[2] > 0 > pushed.tolist()[0]


def test_an_anchor_without_a_semi_hard_negative_counts_with_nothing():
    # Negatives at similarity 1, positives at 0: all closer than the positive.
    view_1 = torch.tensor([[1., 0.], [0., 1.]])
    view_2 = torch.tensor([[0., 1.], [1., 0.]])
    assert MarginTripletLoss(0.5, 'semi_hard')(view_1, view_2) == 0
    assert_close(MarginTripletLoss(0.5)(view_1, view_2), torch.tensor(1.5))
    # The positives of NT-Logistic still pull: -log sigmoid(0).
    assert_close(NTLogisticLoss('semi_hard')(view_1, view_2, 0.5), torch.tensor(math.log(2)))


@pytest.mark.parametrize('mining', [None, 'semi_hard'])
def test_one_image_alone_has_no_negative(mining):
    inputs = views(1)
    assert MarginTripletLoss(mining=mining)(*inputs) == 0
    near = torch.cosine_similarity(*inputs)
    assert_close(NTLogisticLoss(mining)(*inputs, 0.5), -torch.sigmoid(near / 0.5).log().squeeze())


@pytest.mark.parametrize('kind', KINDS)
def test_half_precision_is_computed_in_float32_whatever_the_autocast(kind):
    inputs = [view.detach().bfloat16() for view in views(16, 32)]
    with torch.autocast('cpu', torch.bfloat16):
        got = computed(kind, inputs)
    assert got.dtype == torch.float32
    assert_close(got, computed(kind, [view.float() for view in inputs]), rtol=0, atol=0)


@pytest.mark.parametrize('mining', [None, 'semi_hard'])
def test_a_temperature_that_is_learnt_gets_its_gradient_and_second_derivatives_are_right(mining):
    inputs, loss = views(4, 3), NTLogisticLoss(mining, 'both')
    temperature = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    got, = torch.autograd.grad(loss(*inputs, temperature), temperature)
    above, below = (slow_loss('logistic', *inputs, 0.4 + step, mining, 'both') for step in (1e-5, -1e-5))
    assert_close(got, (above - below).detach() / 2e-5, rtol=1e-6, atol=1e-9)
    assert torch.autograd.gradgradcheck(lambda a, b: loss(a, b, 0.4), inputs)


def test_the_head_logs_accuracy_and_entropy_of_logistic_and_accuracy_alone_of_triplet():
    inputs = [view.detach() for view in views()]
    want = contrastive_metrics(*inputs, 0.3)
    logistic = ContrastiveHead(dict(type='NTLogisticLoss', mining='semi_hard'), temperature=0.3).loss(inputs)
    triplet = ContrastiveHead(dict(type='MarginTripletLoss', margin=0.4), temperature=None).loss(inputs)
    assert_close(logistic['contrastive_entropy'], want['entropy'])
    assert_close(logistic['loss'], slow_loss('logistic', *inputs, 0.3, 'semi_hard', 'one_view'))
    assert set(triplet) == {'loss', 'contrastive_accuracy'}
    assert_close(triplet['contrastive_accuracy'], want['accuracy'])


def test_more_views_are_averaged_over_all_pairs():
    inputs = [*(view.detach() for view in views()), views(closeness=2.0)[1].detach()]
    head = ContrastiveHead(dict(type=MarginTripletLoss), temperature=None)
    want = sum(slow_loss('triplet', inputs[i], inputs[j], 0.8, None, 'one_view')
               for i, j in ((0, 1), (0, 2), (1, 2))) / 3
    assert_close(head.loss(inputs)['loss'], want)


def test_a_temperature_is_refused_where_there_is_none_and_demanded_where_there_is_one():
    with pytest.raises(ValueError, match=r'None for MarginTripletLoss.*got 0\.1.*model\.head\.temperature'):
        ContrastiveHead(dict(type=MarginTripletLoss))
    for kind in ('NTXentLoss', 'NTLogisticLoss'):
        with pytest.raises(ValueError, match='a number, at least 1e-06 and finite, got None'):
            ContrastiveHead(dict(type=kind), temperature=None)


@pytest.mark.parametrize('options, said', [
    (dict(mining='hard'), "semi_hard', got 'hard'"), (dict(negatives='two'), "'one_view', 'both', got 'two'"),
    (dict(margin=-0.1), r'>= 0.*got -0\.1'), (dict(margin=math.nan), '>= 0.*got nan'),
    (dict(margin=0, mining='semi_hard'), "> 0 with mining.*got 0 with mining='semi_hard'")])
def test_arguments_out_of_range_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        MarginTripletLoss(**options)


def test_a_margin_of_zero_is_the_papers_and_taken_without_mining():
    inputs = views()
    assert_close(MarginTripletLoss(0)(*inputs), slow_loss('triplet', *inputs, 0, None, 'one_view'))
