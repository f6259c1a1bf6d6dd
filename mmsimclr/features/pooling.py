"""From feature maps to one vector per image."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmsimclr.models.heads.feature_pooling import pool_feature

STAGES = ('stem', 'layer1', 'layer2', 'layer3', 'layer4', 'pooled')
POOLINGS = ('average', 'grid')
_OUT_INDICES = dict(zip(STAGES, ('stem', 0, 1, 2, 3, 3), strict=True))
_ORDER = ('stem', 0, 1, 2, 3)       # in which networks return their maps, whatever that of out_indices


def out_indices(stages: tuple[str, ...]) -> tuple[int | str, ...]:
    """Return the ``out_indices`` of a ResNet that returns the maps of these stages, in its order."""
    wanted = {_OUT_INDICES[stage] for stage in stages}
    return tuple(index for index in _ORDER if index in wanted)


def pooled_stages(backbone: nn.Module, images: Tensor, stages: tuple[str, ...],
                  normalise: bool = False, pooling: str = 'average') -> dict[str, Tensor]:
    """Run an encoder and make a vector of each of its maps.

    Args:
        backbone: Returns a tuple of maps [N, C, H, W]; its attribute ``out_indices`` says which, in the
            order of the network. Without that attribute only 'pooled', the last map, can be had.
        images: Preprocessed images, float [N, 3, H, W].
        stages: Names out of ``STAGES``; 'pooled' is the last map.
        normalise: Whether to scale each vector to length 1.
        pooling: ``'average'`` over all positions; or ``'grid'``, the averages of a grid of windows (see
            :func:`~mmsimclr.models.heads.feature_pooling.pool_feature`), which 'pooled' does not have.

    Returns:
        Features by stage, float32 [N, C], on the device of the images.

    Raises:
        ValueError: If the encoder does not return the map of a stage.
        TypeError: If the encoder does not return maps.
    """
    maps = backbone(images)
    maps = tuple(maps) if isinstance(maps, tuple | list) else (maps,)
    if not maps or not all(isinstance(m, Tensor) and m.ndim == 4 for m in maps):
        raise TypeError(f'{type(backbone).__name__} must return a tuple of maps [N, C, H, W], got '
                        f'{[list(m.shape) if isinstance(m, Tensor) else type(m).__name__ for m in maps]}')
    returned = [index for index in _ORDER if index in getattr(backbone, 'out_indices', ())]
    by_index = dict(zip(returned, maps, strict=True)) if len(returned) == len(maps) else {}
    features = {}
    for stage in stages:
        chosen = maps[-1] if stage == 'pooled' else by_index.get(_OUT_INDICES[stage])
        if chosen is None:
            raise ValueError(f'the encoder does not return the map of {stage!r}: it returns '
                             f'{tuple(by_index) or "the last one only"}; build it with '
                             f'out_indices={out_indices(stages)}')
        positions = chosen.float()
        rows = pool_feature(positions, stage) if pooling == 'grid' else positions.mean(dim=(2, 3))
        features[stage] = F.normalize(rows, dim=1) if normalise else rows
    return features


def first_not_finite(rows: Tensor) -> int | None:
    """Return the number of the first row with an infinity or NaN in it; None if there is none."""
    bad = (~torch.isfinite(rows).all(dim=1)).nonzero()
    return int(bad[0]) if len(bad) else None
