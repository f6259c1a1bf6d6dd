"""NT-Xent: the normalised, temperature-scaled cross-entropy of SimCLR, across all ranks."""

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmsimclr import distributed
from mmsimclr.errors import InputError, check_choice
from mmsimclr.models.losses.streamed_nt_xent import StreamedNTXent
from mmsimclr.registry import MODELS

GRADIENTS = ('exact', 'openmmlab', 'google')
METRIC_ROWS = 1024
MIN_TEMPERATURE = 1e-6                     # float32 has no digits left for the losses below


def nt_xent_loss(view_1: Tensor, view_2: Tensor, temperature: float = 0.1, normalize: bool = True,
                 gradient: str = 'exact', streamed: bool = True) -> Tensor:
    """Return the NT-Xent loss averaged over all anchors of all ranks.

    Each of the 2N projections of the global batch is an anchor; its positive is the other view of
    the same image, its negatives are the other 2N - 2 projections.

    Args:
        view_1: Projections of the first views, float [N, D]; need not be unit norm.
        view_2: Projections of the second views, float [N, D], row i from the same image as row i of
            ``view_1``. N is this rank's batch and equal on all ranks.
        temperature: Softmax temperature, dimensionless, > 0; a tensor [] gets its gradient.
        normalize: Whether similarities are cosines (Eq. 1); otherwise plain dot products.
        gradient: Scale of the gradient once DDP has averaged it over W ranks. ``'exact'``: that of
            one process on the whole batch. ``'openmmlab'``: 1/W of it, as MMSelfSup and MMPretrain
            train. ``'google'``: twice it, as the official code sums the two directions. The value
            returned is Eq. 1's mean in every case.
        streamed: Whether to compute the similarities in blocks that are not kept, in memory linear in N;
            otherwise as Eq. 1 is written, with derivatives of any order.

    Returns:
        Scalar loss in nats, float32 (float64 for float64 inputs) whatever the autocast, equal on all
        ranks; ln(2N - 1) at chance, N over all ranks.

    Source:
        Chen et al. 2020, Eq. 1 and Algorithm 1.
    """
    check_choice(gradient, 'gradient', GRADIENTS)
    own = unit_rows((view_1, view_2), temperature, normalize)
    everyone = distributed.gather_rows(own.unsqueeze(0))
    return _scaled_loss(own, everyone, temperature, normalize, gradient, streamed)


@torch.no_grad()
def contrastive_metrics(view_1: Tensor, view_2: Tensor, temperature: float = 0.1,
                        normalize: bool = True, check_ranks: bool = True) -> dict[str, Tensor]:
    """Return how well the second views can be picked out for the first, as the official code logs it.

    The arguments are those of :func:`nt_xent_loss`. Candidates are the N projections of the other view on all
    ranks. Where a loss has just compared the ranks' batches, ``check_ranks=False`` spares doing it again.

    Returns:
        ``accuracy``: fraction in [0, 1] of anchors whose most similar candidate is their positive.
        ``entropy``: mean entropy of the softmax over the candidates, in nats; ln(N) at chance.

    Source:
        google-research/simclr, tf2/metrics.py, ``update_pretrain_metrics_train``.
    """
    own_1, own_2 = unit_rows((view_1, view_2), temperature, normalize, check_ranks)
    return _metrics(own_1, distributed.gather_rows(own_2), temperature)


@MODELS.register_module()
class NTXentLoss(BaseModule):
    """The NT-Xent loss as a module; the arguments are those of :func:`nt_xent_loss`.

    Example:
        >>> import torch
        >>> from mmsimclr import NTXentLoss
        >>> views = torch.eye(4), torch.eye(4)                  # the same image twice: as good as it gets
        >>> print(f'{NTXentLoss()(*views, temperature=0.1):.4f}')
        0.0003
    """

    def __init__(self, normalize: bool = True, gradient: str = 'exact', streamed: bool = True) -> None:
        super().__init__()
        self.normalize = normalize
        self.gradient = check_choice(gradient, 'gradient', GRADIENTS)
        self.streamed = streamed

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        if {'forward', 'metrics'} & {*vars(cls)}:       # ``all_pairs`` here is not of that loss
            cls.all_pairs = vars(cls).get('all_pairs')

    def forward(self, view_1: Tensor, view_2: Tensor, temperature: float = 0.1) -> Tensor:
        """Return the scalar loss of two views' projections, each float [N, D]."""
        return nt_xent_loss(view_1, view_2, temperature, self.normalize, self.gradient, self.streamed)

    def metrics(self, view_1: Tensor, view_2: Tensor, temperature: float = 0.1) -> dict[str, Tensor]:
        """Return contrastive accuracy and entropy after the loss; see :func:`contrastive_metrics`."""
        return contrastive_metrics(view_1, view_2, temperature, self.normalize, check_ranks=False)

    def all_pairs(self, views: Sequence[Tensor], temperature: float = 0.1) -> dict[str, Tensor]:
        """Return the mean ``loss`` of all pairs of V views [N, D] and the metrics of the first two."""
        own = unit_rows(views, temperature, self.normalize)                     # [V, n, D]
        everyone = distributed.gather_rows(own.unsqueeze(0))                     # [W, V, n, D]
        loss = _scaled_loss(own, everyone, temperature, self.normalize, self.gradient, self.streamed)
        return dict(loss=loss, **_metrics(own[0], everyone[:, 1].flatten(0, 1), temperature))


def check_temperature(temperature: float | Tensor) -> None:
    """Refuse what no similarities can be divided by."""
    if not isinstance(temperature, int | float | Tensor) or not MIN_TEMPERATURE <= temperature < float('inf'):
        raise InputError(f'temperature must be a number, at least {MIN_TEMPERATURE:g} and finite, got '
                         f'{temperature} (SimCLR uses 0.1)')


def unit_rows(views: Sequence[Tensor], temperature: float, normalize: bool,
              check_ranks: bool = True) -> Tensor:
    """Return checked views in float32 or float64, of unit norm if ``normalize``: [V, n, D]."""
    if check_ranks:
        # First what all ranks decide together: a rank that raised alone would leave the others waiting.
        distributed.check_equal_batch(len(views[0]))
    shapes = [list(view.shape) for view in views]
    if any(shape != shapes[0] for shape in shapes) or len(shapes[0]) != 2 or shapes[0][0] == 0:
        raise InputError('view_1 and view_2, and any more, must have one shape [N, D] with N >= 1, got '
                         + ' and '.join(map(str, shapes)))
    check_temperature(temperature)
    with torch.autocast(views[0].device.type, enabled=False):
        rows = torch.stack([view if view.dtype == torch.float64 else view.float() for view in views])
        # x * rsqrt(max(|x|^2, 1e-12)), the official code's normalisation.
        return F.normalize(rows, dim=2, eps=1e-6) if normalize else rows


def _scaled_loss(own: Tensor, everyone: Tensor, temperature: float, normalize: bool, gradient: str,
                 streamed: bool) -> Tensor:
    """Return the mean loss of all pairs of views over all ranks, with the gradient at the scale named."""
    with torch.autocast(own.device.type, enabled=False):
        if streamed:
            number = temperature.item() if isinstance(temperature, Tensor) else temperature
            bound = 1 / number if normalize else None
            scale = temperature ** -0.5
            own_loss = StreamedNTXent.apply(own * scale, (everyone * scale).detach(), bound)
        else:
            pairs = combinations(range(len(own)), 2)
            own_loss = torch.stack([_plain_loss(own, everyone, *pair, temperature) for pair in pairs]).mean()
    factor = {'exact': 1.0, 'openmmlab': 1.0 / distributed.world_size(), 'google': 2.0}[gradient]
    value = distributed.mean_over_ranks(own_loss)
    return value + factor * (own_loss - own_loss.detach())


def _plain_loss(own: Tensor, everyone: Tensor, first: int, second: int, temperature: float) -> Tensor:
    """Return the mean loss of this rank's anchors of two views, as Eq. 1 is written."""
    all_1, all_2 = everyone[:, first].flatten(0, 1), everyone[:, second].flatten(0, 1)       # [N, D]
    # Every rank computes the rows of its own anchors only.
    return 0.5 * (_direction(own[first], all_2, all_1, temperature)
                  + _direction(own[second], all_1, all_2, temperature))


def _direction(anchors: Tensor, others: Tensor, same: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of each anchor against its positive, averaged over this rank's anchors.

    ``anchors`` [n, D] are this rank's rows of ``same`` [N, D]; their positives are those of ``others``.
    """
    row = torch.arange(len(anchors), device=anchors.device)
    positive = distributed.rank() * len(anchors) + row
    to_others = anchors @ others.T / temperature                     # [n, N]
    to_same = anchors @ same.T / temperature                         # [n, N]
    to_same[row, positive] = float('-inf')                           # an anchor is not its own negative
    return F.cross_entropy(torch.cat((to_others, to_same), dim=1), positive)


@torch.no_grad()
def _metrics(anchors: Tensor, candidates: Tensor, temperature: float) -> dict[str, Tensor]:
    """Return accuracy and entropy of this rank's anchors [n, D] among all candidates [N, D]."""
    with torch.autocast(anchors.device.type, enabled=False):
        positive = torch.arange(len(anchors), device=anchors.device) + distributed.rank() * len(anchors)
        accuracy = entropy = anchors.new_zeros(())
        # In pieces, so that memory is linear in N.
        for rows, own_positive in zip(anchors.split(METRIC_ROWS), positive.split(METRIC_ROWS), strict=True):
            logits = rows @ candidates.T / temperature                           # [piece, N]
            accuracy = accuracy + (logits.argmax(dim=1) == own_positive).sum()
            probability = logits.softmax(dim=1)
            # 1e-8 is the official code's guard against log(0).
            entropy = entropy - (probability * (probability + 1e-8).log()).sum()
    both = distributed.mean_over_ranks(torch.stack((accuracy, entropy)) / len(anchors))
    return dict(accuracy=both[0], entropy=both[1])
