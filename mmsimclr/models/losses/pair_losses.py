"""Losses of the SimCLR paper's comparison: NT-Logistic and margin triplet, with semi-hard negative mining."""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmsimclr import distributed
from mmsimclr.errors import InputError, check_choice
from mmsimclr.models.losses.nt_xent_loss import contrastive_metrics, unit_rows
from mmsimclr.registry import MODELS

MINING = (None, 'semi_hard')
NEGATIVES = ('one_view', 'both')


class PairLoss(BaseModule):
    """Base of losses that are a sum of terms of (anchor, positive) and (anchor, negative).

    Each of the 2N projections of the global batch is an anchor u, and the other view of the same image its
    positive v+. The loss is the mean over the 2N anchors. The paper does not say how several negatives v- are
    combined: here each anchor takes the mean over its negatives, so that v+ and v- weigh the same.

    Semi-hard mining keeps one negative of each anchor: the most similar of those less similar than the
    positive and, where the loss has a margin, within it. An anchor without one has no term of a negative, and
    still counts in the mean. (TensorFlow's implementation takes the farthest negative instead.)

    As with ``NTXentLoss``, the gradient on W ranks is that of one process on the whole batch.

    Args:
        mining: None, or ``'semi_hard'``.
        negatives: ``'one_view'``: the other images in the view of the positive, N - 1, as in the paper's
            comparison (appendix B.10); ``'both'``: the other images in both views, 2N - 2.
        normalize: Whether projections are scaled to unit length first, as the paper does for all losses.

    Source:
        Chen et al. 2020, section 5.1, Tables 2 and 4, appendix B.10; Schroff et al. 2015, section 3.2.
    """

    margin = float('inf')
    has_temperature = True

    def __init__(self, mining: str | None = None, negatives: str = 'one_view',
                 normalize: bool = True) -> None:
        super().__init__()
        self.mining = check_choice(mining, 'mining', MINING)
        self.negatives = check_choice(negatives, 'negatives', NEGATIVES)
        self.normalize = normalize

    @abstractmethod
    def terms(self, positive: Tensor, others: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Return the terms of anchors' positives [n] and candidates [n, M], given their similarities."""

    def forward(self, view_1: Tensor, view_2: Tensor, temperature: float | None = 0.1) -> Tensor:
        """Return the scalar loss of two views' projections, each float [N, D]; NT-Logistic's is in nats."""
        temperature = temperature if self.has_temperature else 1.0
        own = unit_rows((view_1, view_2), temperature, self.normalize)                           # [2, n, D]
        all_1, all_2 = distributed.gather_rows(own.unsqueeze(0)).transpose(0, 1).flatten(1, 2)   # [N, D] each
        with torch.autocast(own.device.type, enabled=False):
            loss = 0.5 * (self._direction(own[0], all_2, all_1, temperature)
                          + self._direction(own[1], all_1, all_2, temperature))
        return distributed.mean_over_ranks(loss) + loss - loss.detach()

    def metrics(self, view_1: Tensor, view_2: Tensor, temperature: float | None = 0.1) -> dict[str, Tensor]:
        """Return accuracy and, if there is a temperature, entropy; see :func:`contrastive_metrics`."""
        if self.has_temperature:
            return contrastive_metrics(view_1, view_2, temperature, self.normalize, check_ranks=False)
        return dict(accuracy=contrastive_metrics(view_1, view_2, 1.0, self.normalize, False)['accuracy'])

    def _direction(self, anchors: Tensor, others: Tensor, same: Tensor, temperature: float) -> Tensor:
        """Return the mean loss of this rank's anchors [n, D], given both views of all ranks [N, D]."""
        row = torch.arange(len(anchors), device=anchors.device)
        own = distributed.rank() * len(anchors) + row                       # its place among all images
        similarity = anchors @ (others if self.negatives == 'one_view' else torch.cat((others, same))).T
        candidate = torch.ones_like(similarity, dtype=torch.bool)
        candidate.view(len(anchors), -1, len(others))[row, :, own] = False  # its own image, in each view
        positive = similarity[row, own]
        of_positive, of_others = self.terms(positive, similarity, temperature)
        if self.mining:
            distance = positive[:, None] - similarity                       # beyond the positive's
            candidate &= (distance > 0) & (distance < self.margin)
            closest = similarity.detach().masked_fill(~candidate, -torch.inf).argmax(dim=1)
            of_negatives = of_others[row, closest].where(candidate[row, closest], 0)
        else:
            of_negatives = of_others.where(candidate, 0).sum(dim=1) / candidate.sum(dim=1).clamp(min=1)
        return (of_positive + of_negatives).mean()


@MODELS.register_module()
class NTLogisticLoss(PairLoss):
    """NT-Logistic: -log sigmoid(u.v+ / temperature) - log sigmoid(-u.v- / temperature).

    For mining, averaging and the arguments see :class:`PairLoss`. There is no margin: the closest negative
    that is farther than the positive is mined. The paper tuned the temperature over 0.1, 0.2, 0.5 and 1.0.
    """

    def terms(self, positive: Tensor, others: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Return -log sigmoid of the scaled positives, and of the negated scaled candidates."""
        return F.softplus(-positive / temperature), F.softplus(others / temperature)


@MODELS.register_module()
class MarginTripletLoss(PairLoss):
    """Margin triplet: max(u.v- - u.v+ + margin, 0).

    Without mining it is the mean over all triplets, also those that are at 0. For mining and averaging see
    :class:`PairLoss`. It has no temperature: the head's must be None.

    Args:
        margin: Added to a negative's similarity, >= 0 (> 0 with mining); the paper tuned it over 0, 0.4, 0.8
            and 1.6.
        mining, negatives, normalize: See :class:`PairLoss`.
    """

    has_temperature = False

    def __init__(self, margin: float = 0.8, mining: str | None = None, negatives: str = 'one_view',
                 normalize: bool = True) -> None:
        super().__init__(mining, negatives, normalize)
        if not (0 < margin < float('inf') or (margin == 0 and not mining)):
            raise InputError(f'margin must be finite and >= 0, and > 0 with mining (no negative is within a '
                             f'margin of 0), got {margin} with mining={mining!r}')
        self.margin = margin

    def terms(self, positive: Tensor, others: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Return 0 for the positives, and by how much each candidate is too close."""
        return torch.zeros_like(positive), F.relu(others - positive[:, None] + self.margin)

