"""Encoders of any kind: how they are built, and what they return for an image."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.registry import MODELS as ROOT
from torch import Tensor, nn

from mmsimclr.errors import InputError, InputTypeError
from mmsimclr.registry import MODELS, SCOPE, class_of

RESNET = f'{SCOPE}.ResNet'
#: Packages whose backbones may be named without importing them first.
LIBRARIES = ('mmpretrain', 'mmdet', 'mmseg')
#: Arguments that change how an encoder starts or trains, not what it computes: no checkpoint records them.
OF_TRAINING = ('init_cfg', 'pretrained', 'frozen_stages', 'norm_eval', 'with_cp', 'frozen_patch_embedding',
               '_scope_')
# Arguments by which libraries read files or the network when they build a network: no record may have them.
FETCHING = ('checkpoint', 'checkpoint_path', 'pretrained_cfg', 'pretrained_cfg_overlay', 'cache_dir',
            'load_from', 'weights', 'init')
MAX_NUMBER = 1_000_000              # of any setting in a record, so that nothing huge is built
MAX_DEPTH, MAX_ITEMS = 6, 1000      # of settings within settings
TOKENS = ('class', 'mean')
USUAL_PX = 96                       # of the image that shows an encoder's features, if it takes any size


def build_backbone(config: Mapping[str, Any], stages: Sequence[str] = ()) -> nn.Module:
    """Build an encoder from its config, our ResNet where that has no type; note in ``settings`` how.

    It is a registered module whose output for images, float [N, C, H, W], :func:`pooled` takes. Two
    attributes are heeded: ``tokens``, and ``img_size``, the only side in pixels of images that it takes.
    ``stages``, such as ``'layer1'``, are those whose maps it shall return, if its kind can be told so.
    """
    config = described(config, stages)
    kind = class_of(config['type'], MODELS)
    backbone, name = MODELS.build(config), registered_name(kind)
    arguments = {key: value for key, value in config.items() if key not in ('type', *OF_TRAINING)}
    settings = getattr(backbone, 'settings', {'type': name, **arguments})
    try:
        settings = name and json.loads(json.dumps(settings))         # so that they equal those of a record
    except TypeError:                                                # of what JSON does not know
        settings = None
    if settings:
        backbone.settings = settings
    if not settings or not is_plain(settings):
        print_log(f'{kind} is not registered (@MODELS.register_module()), or has arguments other than texts, '
                  f'lists, dicts and numbers up to {MAX_NUMBER}, or named {", ".join(FETCHING)}: nothing can '
                  'rebuild the encoder from checkpoints, which will not say how', 'current', logging.WARNING)
    return backbone


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a record may have this as settings of an encoder: plain values that fetch nothing."""
    if isinstance(value, Mapping):
        if any(type(key) is not str or key in (*OF_TRAINING, *FETCHING) for key in value):
            return False
        value = list(value.values())
    if isinstance(value, list | tuple):
        return depth < MAX_DEPTH and len(value) <= MAX_ITEMS and all(
            is_plain(each, depth + 1) for each in value)
    if type(value) in (int, float):
        return abs(value) <= MAX_NUMBER
    return value is None or type(value) is bool or (type(value) is str and len(value) <= MAX_ITEMS)


def described(config: Mapping[str, Any], stages: Sequence[str] = ()) -> dict[str, Any]:
    """Return the config that :func:`build_backbone` builds: with a type, and arguments for ``stages``."""
    config = {'type': RESNET, **config}
    kind = class_of(config['type'], MODELS)
    return {**config, **(kind.arguments_for(stages) if stages and hasattr(kind, 'arguments_for') else {})}


def with_named_type(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return an encoder's config whose type, if that is a class, is its registered name."""
    kind = config.get('type')
    return {**config, **({'type': registered_name(kind) or kind} if callable(kind) else {})}


def registered_name(kind: Any) -> str | None:
    """Return the name, with its scope, that a class of modules is registered under; None if under none."""
    for registry in (MODELS, ROOT, *ROOT.children.values()):
        for name, known in registry.module_dict.items():
            if known is kind:
                return f'{registry.scope}.{name}'
    return None


def registered(name: str, scopes: Sequence[str] = ('mmengine', SCOPE)) -> type | None:
    """Return the class of modules registered under a name; None if there is none.

    Unlike a registry's own ``get`` this imports nothing that a name asks for, besides ``LIBRARIES``. A name
    without a scope is looked for in ``scopes``.
    """
    scope, _, short = name.rpartition('.')
    for each in (scope,) if scope else scopes:
        if each in LIBRARIES:
            with suppress(ImportError):
                import_module(f'{each}.registry')
        registry = ROOT if each == 'mmengine' else ROOT.children.get(each)
        if registry is not None and each in (SCOPE, *LIBRARIES):
            with suppress(ImportError):
                registry.import_from_location()
        if registry is not None and short in registry.module_dict:
            return registry.module_dict[short]
    return None


def pooled(features: Tensor | Sequence[Tensor], tokens: str = 'class', num_prefix_tokens: int = 0) -> Tensor:
    """Return one vector for each image, [N, C], of what an encoder returned.

    Args:
        features: Maps [N, C, H, W], which are averaged over their positions; vectors [N, C]; tokens
            [N, T, C]; or a tuple of these, of which the last is taken.
        tokens: Of tokens take the first, ``'class'``, or the ``'mean'`` of those behind the prefix.
        num_prefix_tokens: Tokens at the beginning that stand for no part of the image.

    Raises:
        InputTypeError: If it is something else.
    """
    while isinstance(features, tuple | list) and features:
        features = features[-1]
    if tokens not in TOKENS:
        raise InputError(f'tokens must be one of {", ".join(TOKENS)}, got {tokens!r}')
    if not isinstance(features, Tensor) or features.ndim not in (2, 3, 4):
        got = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise InputTypeError('an encoder must return maps [N, C, H, W], vectors [N, C], tokens [N, T, C], or '
                             f'a tuple of these, got {got}')
    if features.ndim == 4:
        return features.mean(dim=(2, 3))
    if features.ndim == 3:
        return features[:, 0] if tokens == 'class' else features[:, num_prefix_tokens:].mean(dim=1)
    return features


def last_features(backbone: nn.Module, images: Tensor) -> Tensor:
    """Return an encoder's last map [N, C, H, W] of images, or vectors [N, C] where it has none."""
    return _map_or_vectors(backbone, backbone(images))


def _map_or_vectors(backbone: nn.Module, features: Any) -> Tensor:
    while isinstance(features, tuple | list) and features:
        features = features[-1]
    if isinstance(features, Tensor) and features.ndim == 4:
        return features
    prefix = getattr(backbone, 'num_prefix_tokens', getattr(backbone, 'num_extra_tokens', 0))
    return pooled(features, getattr(backbone, 'tokens', 'class'), prefix)


def features_by_stage(backbone: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Run an encoder and return what it offers by stage: maps [N, C, H, W], and last ``'pooled'``.

    That is the last map, or vectors [N, C] where there is none. Maps are named by the encoder's attribute
    ``stage_names``, or else by their sides: ``'layer4'`` is the last, ``'layer3'`` the last of those twice as
    long, and so on to ``'stem'``, sixteen times as long.
    """
    outputs = backbone(images)
    outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
    names = getattr(backbone, 'stage_names', None)
    maps = [output for output in outputs if isinstance(output, Tensor) and output.ndim == 4]
    if names is None:
        order, place, names = ('layer4', 'layer3', 'layer2', 'layer1', 'stem'), 0, []
        for number, each in reversed([*enumerate(maps)]):
            ratio = each.shape[-1] / maps[min(number + 1, len(maps) - 1)].shape[-1]
            # Half of 3 may be 1 or 2.
            place += max(1, int(math.log2(ratio) + 0.4)) if ratio > 1 else 0
            names.insert(0, order[place] if place < len(order) else '')
    found = dict(zip(names, maps, strict=True))
    found.pop('', None)
    return {**found, 'pooled': _map_or_vectors(backbone, outputs)}


def name_of(backbone: nn.Module) -> str:
    """Return the name of an encoder, for people: timm's, or of its class."""
    return getattr(backbone, 'settings', {}).get('name', type(backbone).__name__)


def require_stages(backbone: nn.Module, found: Mapping[str, Tensor], stages: Sequence[str]) -> None:
    """Raise InputError, which names it, at the first of some stages that an encoder does not offer."""
    if absent := [stage for stage in stages if stage not in found]:
        raise InputError(
            f'the encoder {name_of(backbone)} does not return the map of {absent[0]!r}; of images of this '
            f'size it offers {", ".join(found)}. Pre-train it with out_indices that name more maps, if its '
            'kind has them; or take a protocol of pooled features: k-NN, linear, transfer')


def image_side(backbone: nn.Module) -> int | None:
    """Return the side in pixels of the only images that an encoder takes; None if it takes others too."""
    side = getattr(backbone, 'img_size', None)
    return (side if isinstance(side, int) else side[0]) if side else None


@torch.no_grad()
def feature_dim(backbone: nn.Module, channels: int = 3) -> int:
    """Return the length of an encoder's pooled feature, which one black image shows."""
    side, was_training = image_side(backbone) or USUAL_PX, backbone.training
    weight = next(backbone.parameters(), torch.empty(0))
    backbone.eval()                                     # which of mmpretrain's returns nothing
    try:
        features = last_features(backbone, torch.zeros(1, channels, side, side, device=weight.device))
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        raise InputError(
            f'{type(backbone).__name__} does not take an image of {channels} x {side} x {side} ({error}), so '
            'the channels of its features are not known: give neck.in_channels, or the encoder an attribute '
            'img_size') from error
    finally:
        backbone.train(was_training)
    return pooled(features).shape[1]
