"""Values of a config that are right each by itself, and must fit each other."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from mmsimclr.config.errors import ConfigError
from mmsimclr.models import SimCLR
from mmsimclr.registry import MODELS

STAGES = (0, 1, 2, 3)


def check_widths(model: nn.Module) -> None:
    """Refuse a projection head that does not take as many channels as the encoder's last map has.

    Both must say their widths: the encoder as our ResNet and those of MMPretrain do (``feat_dim``,
    ``out_indices``), the head by a first layer ``fc0`` on pooled features. Of others nothing is known here.

    Raises:
        ConfigError: If they differ; it names both.
    """
    encoder, neck = getattr(model, 'backbone', None), getattr(model, 'neck', None)
    first, gives = getattr(neck, 'fc0', None), _channels_of_last_map(encoder)
    if gives is None or not isinstance(first, nn.Linear) or not getattr(neck, 'with_avg_pool', True):
        return
    if first.in_features != gives:
        raise ConfigError(
            f"model.neck.in_channels is {first.in_features}, and the encoder's last map has {gives} "
            f'channels: set model.neck.in_channels={gives}, or another depth, width or out_indices of '
            'model.backbone')


def _channels_of_last_map(encoder: Any) -> int | None:
    """Return the channels of the last map that a ResNet returns; None if it does not say."""
    width, indices = getattr(encoder, 'feat_dim', None), getattr(encoder, 'out_indices', None)
    if not isinstance(width, int) or not indices:
        return None
    stages = [index for index in indices if index in STAGES]
    if not stages:                                                   # 'stem' alone
        return encoder.conv1.out_channels
    return width // 2**(getattr(encoder, 'num_stages', len(STAGES)) - 1 - max(stages))


def check_view_sizes(config: Mapping[str, Any]) -> None:
    """Refuse views of several sizes for SimCLR, which takes all of them through the encoder together.

    Raises:
        ConfigError: If the pipelines of a ``MultiView`` say different sizes.
    """
    kind = config['model'].get('type')
    if (MODELS.get(kind) if isinstance(kind, str) else kind) is not SimCLR:
        return
    dataset = config['train_dataloader'].get('dataset')
    while isinstance(dataset, Mapping) and isinstance(dataset.get('dataset'), Mapping):
        dataset = dataset['dataset']
    for step in (dataset or {}).get('pipeline') or ():
        pipelines = step.get('transforms') if isinstance(step, Mapping) else None
        if pipelines and all(isinstance(pipeline, list | tuple) for pipeline in pipelines):
            sizes = {str(_size(pipeline)): None for pipeline in pipelines if _size(pipeline) is not None}
            if len(sizes) > 1:
                raise ConfigError(f'all views of an image must have one size, and those of '
                                  f'train_dataloader.dataset.pipeline are {" and ".join(sizes)}: give their '
                                  'last crops one size')


def _size(pipeline: Any) -> Any:
    """Return the size that the last step to name one makes."""
    return next((step['size'] for step in reversed(pipeline)
                 if isinstance(step, Mapping) and step.get('size') is not None), None)
