"""Projections of a large batch in little memory, with the gradient of the whole batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def project_in_chunks(project: Callable[[Tensor], Tensor], views: Sequence[Tensor], chunk_size: int,
                      model: nn.Module) -> list[Tensor]:
    """Return each view's projections, keeping activations of one chunk of images at a time.

    The backward pass computes all chunks but the last again. Batch norm sees the statistics of one chunk, all
    views of its images. ``project`` takes images [M, 3, H, W] to projections [M, D] through the batch norms
    of ``model``; each of the views is float [N, 3, H, W].

    Source:
        Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"
        (gradient cache); Chen et al. 2016, arXiv 1604.06174 (recomputation).
    """
    *earlier, last = zip(*(view.split(chunk_size) for view in views), strict=True)
    with _weights_cast_anew():
        projections = [
            checkpoint(project, torch.cat(chunk), use_reentrant=False,
                       context_fn=lambda: (nullcontext(), _statistics_kept(model))) for chunk in earlier]
        # Autograd goes backwards from the last: its memory is free before another chunk is computed again.
        projections.append(project(torch.cat(last)))
    pieces = [chunk.chunk(len(views)) for chunk in projections]
    return [torch.cat(view) for view in zip(*pieces, strict=True)]


@contextmanager
def _weights_cast_anew() -> Iterator[None]:
    """Have autocast keep no copies of the weights, in whose precision gradients of chunks would be added."""
    kept = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(kept)


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Run batch norms in training mode without counting the images a second time."""
    norms = [norm for norm in model.modules()
             if isinstance(norm, _BatchNorm) and norm.training and norm.track_running_stats]
    kept = [(norm.running_mean, norm.running_var, norm.num_batches_tracked) for norm in norms]
    try:
        for norm in norms:
            norm.running_mean, norm.running_var = norm.running_mean.clone(), norm.running_var.clone()
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
        yield
    finally:
        for norm, statistics in zip(norms, kept, strict=True):
            norm.running_mean, norm.running_var, norm.num_batches_tracked = statistics
