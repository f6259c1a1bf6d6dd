"""Short names of what a user changes most: ``epochs``, ``batch_size``, ``view_size``, ``encoder``, ..."""

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from mmengine.config import Config

from mmsimclr.encoders import with_named_type
from mmsimclr.errors import ConfigError, InputError, did_you_mean
from mmsimclr.models import ResNet
from mmsimclr.registry import MODELS, is_of_type
from mmsimclr.transforms import SimCLRView

PRECISIONS = ('fp32', 'bf16', 'fp16', 'auto')
# Packages that follow a run, and MMEngine's names of them.
TRACKERS = dict(tensorboard='TensorboardVisBackend', wandb='WandbVisBackend', mlflow='MLflowVisBackend',
                clearml='ClearMLVisBackend', aim='AimVisBackend')
_KINDS: dict[type, tuple[Callable[[Any], bool], str]] = {
    int: (lambda value: type(value) is int and value >= 0, 'an integer >= 0'),
    float: (lambda value: type(value) in (int, float) and value >= 0, 'a number >= 0'),
    str: (lambda value: isinstance(value, str), 'a name'),
    dict: (lambda value: isinstance(value, str | Mapping), 'a name, or a dict with a type')}
TIMM = 'timm:'                          # before the name of a model of timm


def set_precision(config: Config, precision: str) -> None:
    """Have steps computed in 'fp32', 'bf16', 'fp16' (needs a GPU), or 'auto': bf16 where it is native."""
    if precision not in PRECISIONS:
        raise InputError(f'precision must be one of {", ".join(PRECISIONS)}, got {precision!r}')
    if precision == 'fp16' and not torch.cuda.is_available():
        raise InputError('fp16 training needs a GPU; use bf16 on a CPU (precision=bf16)')
    wrapper = config.optim_wrapper
    for name in ('type', 'enabled', 'dtype', 'loss_scale', 'use_fsdp'):      # of the wrapper it had before
        wrapper.pop(name, None)
    if precision == 'fp16':
        wrapper.update(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic')
    elif precision == 'fp32':
        wrapper.type = 'OptimWrapper'
    else:
        wrapper.update(type='mmsimclr.BFloat16OptimWrapper', enabled='auto' if precision == 'auto' else True)


def _set_tracker(config: Config, tracker: str) -> None:
    if tracker not in TRACKERS:
        raise InputError(f'tracker must be one of {", ".join(TRACKERS)}, or None, got {tracker!r}'
                         f'{did_you_mean(tracker, TRACKERS)}')
    if find_spec(tracker) is None:
        raise InputError(f'tracker={tracker} needs the package {tracker}: pip install {tracker}')
    visualizer = config.setdefault('visualizer', dict(type='Visualizer'))
    backends = list(visualizer.get('vis_backends') or [dict(type='LocalVisBackend')])
    if TRACKERS[tracker] not in [getattr(each['type'], '__name__', each['type']) for each in backends]:
        visualizer.vis_backends = [*backends, dict(type=TRACKERS[tracker])]


def views_in(node: Any) -> Iterator[dict]:
    """Yield every SimCLRView below a part of a config."""
    if is_of_type(node, SimCLRView):
        yield node
    for child in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ():
        yield from views_in(child)


def _set_views(config: Config, name: str, value: float) -> None:
    views = [*views_in(_part(config, 'train_dataloader').get('dataset'))]
    if not views:
        raise ConfigError('view_size and colour_strength are those of SimCLRView, and train_dataloader '
                          f'makes none; override {name} of the steps that make its views')
    for view in views:
        view[name] = value


def is_resnet(encoder: Any) -> bool:
    """Whether the value of the short name ``encoder`` stands for our ResNet."""
    return isinstance(encoder, str) and not encoder.startswith(TIMM)


def _set_encoder(config: Config, encoder: str | Mapping | None = None, width: int | None = None) -> None:
    """Set depth and width of our ResNet and what its projection head takes, or an encoder of another kind."""
    backbone, neck = _part(config, 'model').get('backbone') or {}, config.model.get('neck') or {}
    if encoder is not None and not is_resnet(encoder):
        # Where the config's backbone is the variable ``encoder`` itself, it is this text by now.
        channels = backbone.get('in_channels', 3) if isinstance(backbone, Mapping) else 3
        config.model.backbone = with_named_type(encoder) if isinstance(encoder, Mapping) else dict(
            type='mmsimclr.TimmEncoder', name=encoder.removeprefix(TIMM),
            **({} if channels == 3 else {'in_chans': channels}))
        if neck.pop('in_channels', None) == neck.get('hid_channels'):
            neck.pop('hid_channels', None)                   # as long as the features, whatever these are
        return
    if not is_of_type(backbone, ResNet, MODELS):
        raise ConfigError("encoder and width are those of mmsimclr's ResNet: override model.backbone itself")
    names = [f'resnet{depth}' for depth in (18, 34, 50, 101, 152)]
    if encoder is not None and encoder not in names:
        raise InputError(f'encoder must be one of {", ".join(names)}, {TIMM} and a name of timm, or a dict '
                         f'with a type, got {encoder!r}')
    if encoder is not None:
        backbone.depth = int(encoder.removeprefix('resnet'))
    if width is not None and width != backbone.get('base_channels', 64) * backbone.get('width_multiplier', 1):
        backbone.pop('width_multiplier', None)
        backbone.base_channels = width
    channels = 8 * int(backbone.get('base_channels', 64) * backbone.get('width_multiplier', 1))
    channels *= 4 if backbone.get('depth', 50) >= 50 else 1
    if neck.get('hid_channels') == neck.get('in_channels'):
        neck.hid_channels = channels
    neck.in_channels = channels


def _part(config: Config, name: str) -> dict:
    if not isinstance(part := config.get(name), dict):
        raise ConfigError(f'the config has no {name}, which a short name would change')
    return part


_SET: dict[str, tuple[type, Callable[[Config, Any], None]]] = {
    'epochs': (int, lambda config, value: _part(config, 'train_cfg').update(max_epochs=value)),
    'batch_size': (int, lambda config, value: _part(config, 'train_dataloader').update(batch_size=value)),
    'lr': (float, lambda config, value: _part(config, 'optim_wrapper').optimizer.update(lr=value)),
    'view_size': (int, lambda config, value: _set_views(config, 'size', value)),
    'colour_strength': (float, lambda config, value: _set_views(config, 'strength', value)),
    'encoder': (dict, _set_encoder),
    'width': (int, lambda config, value: _set_encoder(config, width=value)),
    'workers': (int, lambda config, value: _part(config, 'train_dataloader').update(num_workers=value)),
    'precision': (str, lambda config, value: _part(config, 'optim_wrapper') and set_precision(config, value)),
    'tracker': (str, _set_tracker)}
SHORT_NAMES = tuple(_SET)


def take_short_names(config: Config) -> dict[str, Any]:
    """Take the short names out of a config that its file states for load_config; return their values.

    The file itself computes with ``epochs``, ``batch_size`` and ``lr``; in a benchmark, ``encoder`` was the
    name of ``random_encoder``.
    """
    if isinstance(config.get('encoder'), Mapping) and config.get('protocol'):
        config.random_encoder = config.pop('encoder')
    if config.get('protocol') or not isinstance(config.get('model'), Mapping):
        return {}
    return {name: config.pop(name) for name in SHORT_NAMES[3:] if name in config}


def apply_short_names(config: Config, values: Mapping[str, Any]) -> None:
    """Change what short names stand for; a value of None leaves it as it is.

    Raise InputError if a value is not accepted, ConfigError if the config has not what a name stands for.
    """
    for name, value in values.items():
        kind, change = _SET[name]
        accepts, said = _KINDS[kind]
        if value is not None:
            if not accepts(value):
                raise InputError(f'{name} must be {said}, got {value!r}')
            change(config, value)
