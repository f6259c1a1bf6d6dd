"""NT-Xent without the similarity matrix: its blocks are computed, used and dropped.

Let z be unit rows scaled by 1 / sqrt(temperature), S = z z^T, p(i) the positive of anchor i, and n_i the
log-sum-exp of S_ij over its negatives. The loss of anchor i is log(1 + exp(n_i - S_ip(i))), which is exact to
the last digits where it is nearly 0. With lse_i = S_ip(i) + loss_i, the gradient of the summed losses with
respect to row k is

    sum over negatives j of (exp(S_kj - lse_k) + exp(S_kj - lse_j)) z_j
        + (exp(-loss_k) - 1 + exp(-loss_p(k)) - 1) z_p(k),

since S is symmetric: given everyone's lse, a rank computes the gradient of its own rows alone, without a
collective in the backward pass. On one process only the blocks on and above the diagonal are computed, each
standing for its mirror image as well.
"""

from collections.abc import Iterator
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmsimclr import distributed
from mmsimclr.errors import InputError

BLOCK_ROWS = {'cpu': 1024}                                   # rows of a block, by device type
DEFAULT_BLOCK_ROWS = 4096                                    # and on any other device
# exp of at most this much is finite in float32 with room for the sums.
MAX_EXPONENT = 80.0


class StreamedNTXent(torch.autograd.Function):
    """Mean NT-Xent loss of this rank's anchors over all pairs of views.

    The gradient is that of the sum of all ranks' values, on the understanding that each rank's value enters
    its loss with the same factor, as with DDP and loss scaling.

    ``apply(views, everyone, bound)`` takes this rank's views z, float [V, n, D]; those of all ranks, without
    gradient, [W, V, n, D]; and the largest |S| there can be, or None if that is not known.
    """

    @staticmethod
    def forward(ctx, views: Tensor, everyone: Tensor, bound: float | None) -> Tensor:
        """Return the loss, a scalar."""
        # A fixed shift does where the range of S fits into the exponent.
        shift = bound if bound is not None and 2 * bound < MAX_EXPONENT else None
        losses, lses = [], []
        for own, all_rows in _pairs(views, everyone):
            positive = (own * _partners(own)).sum(dim=1)
            losses.append(F.softplus(_log_sum_exp(own, all_rows, shift) - positive, threshold=40))
            lses.append(positive + losses[-1])
        losses = torch.stack(losses)                                                     # [P, 2n]
        lse = distributed.gather_rows(torch.stack(lses).unsqueeze(0))                    # [W, P, 2n]
        ctx.save_for_backward(views, everyone, losses, lse.transpose(0, 1).flatten(1))
        ctx.shift = shift
        return losses.mean()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient with respect to the views; refuse to have it differentiated again."""
        if torch.is_grad_enabled():                             # create_graph=True
            raise InputError('the streamed NT-Xent loss has no second derivative: set streamed=False in the '
                             'loss (model.head.loss.streamed=False)')
        views, everyone, losses, lses = ctx.saved_tensors
        total = torch.zeros_like(views)
        indices = combinations(range(len(views)), 2)
        for pair, (own, all_rows), loss, lse in zip(indices, _pairs(views, everyone), losses, lses,
                                                    strict=True):
            pulls = _weighted_rows(own, all_rows, lse, ctx.shift)
            short = torch.expm1(-loss)                         # how far from 1 the positive's share is
            pulls += (short + _partners(short))[:, None] * _partners(own)
            for view, rows in zip(pair, pulls.chunk(2), strict=True):
                total[view] += rows
        return total.mul_(grad / losses.numel()), None, None


def _pairs(views: Tensor, everyone: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows of each pair of views, [2n, D], and those of all ranks, [W * 2n, D]."""
    for first, second in combinations(range(len(views)), 2):
        yield (torch.cat((views[first], views[second])),
               torch.stack((everyone[:, first], everyone[:, second]), dim=1).flatten(0, 2))


def _log_sum_exp(own: Tensor, everyone: Tensor, shift: float | None) -> Tensor:
    """Return the log-sum-exp of each own row's similarities to its negatives, [2n]."""
    sums = own.new_zeros(len(own)) if shift is not None else own.new_full((len(own),), -torch.inf)
    for block, rows, columns, mirrored in _blocks(own, everyone, shift):
        if shift is not None:
            sums[rows] += block.sum(dim=1)
            if mirrored:
                sums[columns] += block.sum(dim=0)
        else:
            sums[rows] = torch.logaddexp(sums[rows], block.logsumexp(dim=1))
            if mirrored:
                sums[columns] = torch.logaddexp(sums[columns], block.logsumexp(dim=0))
    return sums if shift is None else sums.log_().add_(shift)


def _weighted_rows(own: Tensor, everyone: Tensor, lse: Tensor, shift: float | None) -> Tensor:
    """Return each own row's sum over its negatives, the gradient's first line, [2n, D]."""
    pulls = torch.zeros_like(own)
    first = distributed.rank() * len(own)
    inverse = (shift - lse).exp_() if shift is not None else None
    for block, rows, columns, mirrored in _blocks(own, everyone, shift):
        own_rows = slice(first + rows.start, first + rows.stop)
        if inverse is not None:
            block *= inverse[own_rows, None] + inverse[columns]
        else:
            block = (block - lse[own_rows, None]).exp_() + (block - lse[columns]).exp_()
        pulls[rows].addmm_(block, everyone[columns])
        if mirrored:
            pulls[columns].addmm_(block.T, own[rows])
    return pulls


def _blocks(own: Tensor, everyone: Tensor, shift: float | None
            ) -> Iterator[tuple[Tensor, slice, slice, bool]]:
    """Yield blocks of the similarities with their rows among own and columns among everyone.

    With a shift, exp(S - shift), else S; at the row itself and at its positive 0 or -inf, so that they
    count for nothing. A block is valid until the next. ``mirrored``: it stands for its mirror image too,
    which is not yielded.
    """
    size = BLOCK_ROWS.get(own.device.type, DEFAULT_BLOCK_ROWS)
    first = distributed.rank() * len(own)
    alone = len(own) == len(everyone)
    buffer = own.new_empty(min(size, len(own)) * min(size, len(everyone)))
    offset = own.new_full((), 0.0 if shift is None else -shift)      # new_tensor would wait for a GPU
    for start in range(0, len(own), size):
        rows = slice(start, min(start + size, len(own)))
        for left in range(start if alone else 0, len(everyone), size):
            columns = slice(left, min(left + size, len(everyone)))
            shape = rows.stop - rows.start, columns.stop - columns.start
            block = buffer[:shape[0] * shape[1]].view(shape)
            torch.addmm(offset, own[rows], everyone[columns].T, out=block)
            if shift is not None:
                block.exp_()
            _leave_negatives(block, rows.start, columns.start - first, len(own) // 2,
                             -torch.inf if shift is None else 0.0)
            yield block, rows, columns, alone and left > start


def _leave_negatives(block: Tensor, top: int, left: int, num_images: int, value: float) -> None:
    """Overwrite, in a block whose first row is own row ``top``, each row itself and its positive.

    ``left`` is the block's first column, counted from own row 0; own row k is column k, and its positive the
    column ``num_images`` further on among the first views, as much before among the second.
    """
    first_views = min(max(num_images - top, 0), len(block))
    for part, shift in ((block, 0), (block[:first_views], num_images), (block[first_views:], -num_images)):
        above = 0 if part is block or shift > 0 else first_views
        diagonal = top + above + shift - left
        if -part.shape[0] < diagonal < part.shape[1]:
            part.diagonal(diagonal).fill_(value)


def _partners(rows: Tensor) -> Tensor:
    """Return, for each row, the row of the same image's other view."""
    return rows.roll(len(rows) // 2, dims=0)
