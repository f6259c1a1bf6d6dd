"""NT-Xent: the normalised, temperature-scaled cross-entropy of SimCLR, across all ranks."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmsimclr import distributed
from mmsimclr.errors import InputError
from mmsimclr.models.losses.streamed_nt_xent import StreamedNTXent
from mmsimclr.registry import MODELS

GRADIENTS = ('exact', 'openmmlab', 'google')
METRIC_ROWS = 1024


def nt_xent_loss(view_1: Tensor,
                 view_2: Tensor,
                 temperature: float = 0.1,
                 normalize: bool = True,
                 gradient: str = 'exact',
                 streamed: bool = True) -> Tensor:
    """Return the NT-Xent loss averaged over all anchors of all ranks.

    Each of the 2N projections of the global batch is an anchor; its positive is the other view of
    the same image, its negatives are the other 2N - 2 projections.

    Args:
        view_1: Projections of the first views, float [N, D]; need not be unit norm.
        view_2: Projections of the second views, float [N, D], row i from the same image as row i of
            ``view_1``. N is this rank's batch and equal on all ranks.
        temperature: Softmax temperature, dimensionless, > 0.
        normalize: Whether similarities are cosines (Eq. 1); otherwise plain dot products.
        gradient: Scale of the gradient once DDP has averaged it over W ranks. ``'exact'``: that of
            one process on the whole batch. ``'openmmlab'``: 1/W of it, as MMSelfSup and MMPretrain
            train. ``'google'``: twice it, as the official code sums the two directions. The value
            returned is Eq. 1's mean in every case.
        streamed: Whether to compute the similarities in blocks that are not kept, in memory linear in N
            (see :mod:`~mmsimclr.models.losses.streamed_nt_xent`); otherwise as Eq. 1 is written, in memory
            of 2N x 2N, with derivatives of any order.

    Returns:
        Scalar loss in nats, float32 (float64 for float64 inputs) whatever the autocast, equal on all
        ranks; ln(2N - 1) at chance, N over all ranks.

    Raises:
        ValueError: If shapes differ or are not [N, D], N is 0, temperature is not > 0, ``gradient``
            is unknown, or the ranks hold batches of different sizes.

    Source:
        Chen et al. 2020, Eq. 1 and Algorithm 1.
    """
    if gradient not in GRADIENTS:
        raise InputError(f'gradient must be one of {", ".join(GRADIENTS)}, got {gradient!r}')
    # First what all ranks decide together: a rank that raised alone would leave the others waiting.
    distributed.check_equal_batch(len(view_1))
    _check_views(view_1, view_2, temperature)

    with torch.autocast(view_1.device.type, enabled=False):
        own_1, own_2 = (_unit_rows(view, normalize) for view in (view_1, view_2))
        if streamed:
            own_loss = StreamedNTXent.apply(torch.cat((own_1, own_2)), temperature, normalize)
        else:
            own_loss = _plain_loss(own_1, own_2, temperature)

    scale = {'exact': 1.0, 'openmmlab': 1.0 / distributed.world_size(), 'google': 2.0}[gradient]
    value = distributed.mean_over_ranks(own_loss)
    return value + scale * (own_loss - own_loss.detach())


@torch.no_grad()
def contrastive_metrics(view_1: Tensor,
                        view_2: Tensor,
                        temperature: float = 0.1,
                        normalize: bool = True) -> dict[str, Tensor]:
    """Return how well the second views can be picked out for the first, as the official code logs it.

    Both are over the N candidates of the other view (the loss itself has 2N - 1).

    Args:
        view_1: Projections of the first views, float [N, D].
        view_2: Projections of the second views, float [N, D].
        temperature: Softmax temperature, > 0.
        normalize: Whether similarities are cosines.

    Returns:
        ``accuracy``: fraction in [0, 1] of anchors whose most similar candidate is their positive.
        ``entropy``: mean entropy of the softmax over the candidates, in nats; ln(N) at chance.
        Means over all ranks, N counted over all ranks.

    Raises:
        ValueError: If shapes differ or are not [N, D], N is 0, or temperature is not > 0. The ranks'
            batches must be of one size; :func:`nt_xent_loss` checks that.

    Source:
        google-research/simclr, tf2/metrics.py, ``update_pretrain_metrics_train``.
    """
    _check_views(view_1, view_2, temperature)
    with torch.autocast(view_1.device.type, enabled=False):
        anchors, own_2 = (_unit_rows(view, normalize) for view in (view_1, view_2))
        candidates = distributed.gather_rows(own_2)
        positive = torch.arange(len(anchors), device=anchors.device) + distributed.rank() * len(anchors)
        accuracy = entropy = anchors.new_zeros(())
        # In pieces, so that memory is linear in N.
        for rows, own_positive in zip(anchors.split(METRIC_ROWS), positive.split(METRIC_ROWS), strict=True):
            logits = rows @ candidates.T / temperature                           # [piece, N]
            accuracy = accuracy + (logits.argmax(dim=1) == own_positive).sum()
            probability = logits.softmax(dim=1)
            # The official code's guard against log(0).
            entropy = entropy - (probability * (probability + 1e-8).log()).sum()
    both = distributed.mean_over_ranks(torch.stack((accuracy, entropy)) / len(anchors))
    return dict(accuracy=both[0], entropy=both[1])


def _plain_loss(own_1: Tensor, own_2: Tensor, temperature: float) -> Tensor:
    """Mean loss of this rank's anchors, as Eq. 1 is written."""
    # One collective for both views; [W, 2, n, D] -> all first views, then all second views.
    everyone = distributed.gather_rows(torch.stack((own_1, own_2)).unsqueeze(0))
    all_1, all_2 = everyone[:, 0].flatten(0, 1), everyone[:, 1].flatten(0, 1)
    first_row = distributed.rank() * len(own_1)
    # Every rank computes the rows of its own anchors only.
    return 0.5 * (_direction(own_1, all_2, all_1, first_row, temperature)
                  + _direction(own_2, all_1, all_2, first_row, temperature))


def _direction(anchors: Tensor, others: Tensor, same: Tensor, first_row: int,
               temperature: float) -> Tensor:
    """Cross-entropy of each anchor against its positive, averaged over this rank's anchors.

    ``anchors`` [n, D] are rows ``first_row`` onwards of ``same`` [N, D]; the positive of anchor i is
    row ``first_row + i`` of ``others`` [N, D].
    """
    row = torch.arange(len(anchors), device=anchors.device)
    positive = first_row + row
    to_others = anchors @ others.T / temperature                     # [n, N]
    to_same = anchors @ same.T / temperature                         # [n, N]
    to_same[row, positive] = float('-inf')                           # an anchor is not its own negative
    return F.cross_entropy(torch.cat((to_others, to_same), dim=1), positive)


def _unit_rows(view: Tensor, normalize: bool) -> Tensor:
    view = view if view.dtype == torch.float64 else view.float()
    if not normalize:
        return view
    # x * rsqrt(max(|x|^2, 1e-12)), the official code's normalisation.
    return F.normalize(view, dim=1, eps=1e-6)


def _check_views(view_1: Tensor, view_2: Tensor, temperature: float) -> None:
    if view_1.shape != view_2.shape or view_1.ndim != 2 or view_1.shape[0] == 0:
        raise InputError('view_1 and view_2 must have one shape [N, D] with N >= 1, got '
                         f'{list(view_1.shape)} and {list(view_2.shape)}')
    if not 0 < temperature < float('inf'):
        raise InputError(f'temperature must be > 0 and finite, got {temperature} (SimCLR uses 0.1)')


@MODELS.register_module()
class NTXentLoss(BaseModule):
    """The NT-Xent loss as a registered component; see :func:`nt_xent_loss`.

    Args:
        normalize: Whether similarities are cosines (Eq. 1); otherwise plain dot products.
        gradient: ``'exact'``, ``'openmmlab'`` or ``'google'``.
        streamed: Whether memory is linear in the batch, which is faster too.

    Raises:
        ValueError: If ``gradient`` is unknown.
    """

    def __init__(self, normalize: bool = True, gradient: str = 'exact', streamed: bool = True) -> None:
        super().__init__()
        if gradient not in GRADIENTS:
            raise InputError(f'gradient must be one of {", ".join(GRADIENTS)}, got {gradient!r}')
        self.normalize = normalize
        self.gradient = gradient
        self.streamed = streamed

    def forward(self, view_1: Tensor, view_2: Tensor, temperature: float = 0.1) -> Tensor:
        """Return the scalar loss of two views' projections, each float [N, D]."""
        return nt_xent_loss(view_1, view_2, temperature, self.normalize, self.gradient, self.streamed)

    def metrics(self, view_1: Tensor, view_2: Tensor, temperature: float = 0.1) -> dict[str, Tensor]:
        """Return contrastive accuracy and entropy; see :func:`contrastive_metrics`."""
        return contrastive_metrics(view_1, view_2, temperature, self.normalize)
