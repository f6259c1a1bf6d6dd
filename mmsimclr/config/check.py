"""Refuse a config that says something nothing would read, or lacks or mistakes what something needs."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, get_args

from mmengine.optim import DefaultOptimWrapperConstructor

from mmsimclr.config.arguments import Argument, arguments_of, in_words, package_of
from mmsimclr.config.component_types import resolve
from mmsimclr.config.errors import ConfigError, raise_unknown
from mmsimclr.config.sections import DEFAULT_TYPES, PARAMWISE_CFG, SECTIONS, TOP_LEVEL
from mmsimclr.config.training_parts import check_pipeline
from mmsimclr.config.variables import check_variable
from mmsimclr.engine import LARSOptimWrapperConstructor

RUNNER_KEYS = {*TOP_LEVEL}
# Where a dict, or each dict of a list, describes what is built from it, so that it needs a type.
_COMPONENTS = {
    'model', 'backbone', 'neck', 'head', 'heads', 'loss', 'data_preprocessor', 'dataset', 'datasets',
    'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn', 'pipeline', 'transforms', 'optimizer',
    'param_scheduler', 'default_hooks', 'custom_hooks', 'bank', 'queries', 'classifier', 'visualizer',
    'vis_backends',
    'val_evaluator', 'test_evaluator', 'protocol', 'init_cfg',
    # Of mmdet and mmseg.
    'rpn_head', 'roi_head', 'shared_head', 'bbox_head', 'mask_head', 'decode_head', 'auxiliary_head',
    'bbox_roi_extractor', 'mask_roi_extractor', 'roi_layer', 'anchor_generator', 'bbox_coder', 'loss_cls',
    'loss_bbox', 'loss_mask', 'loss_decode', 'assigner', 'nms',
}
# Dicts of components, by names that the user chooses.
_COMPONENTS_BY_NAME = {'heads', 'default_hooks'}
_DATASETS_OF_PROTOCOLS = {'train', 'val', 'test', 'trainval'}
_PLAIN = str | bool | int | float
# MMEngine's own hooks.
_STANDARD_HOOKS = {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'}
# What protocols fill into the model they train.
_OF_ENCODER = frozenset({'backbone', 'num_classes', 'map_shape', 'in_channels', 'feat_channels',
                         'out_channels', 'featmap_strides', 'strides'})
# Dicts below these keys belong to the component that takes them.
_OPAQUE = ('metainfo', 'init_kwargs', 'paramwise_cfg', 'custom_keys', 'override')
# Whose transforms are Albumentations' own.
_OF_ALBUMENTATIONS = ('Albu', 'Albumentations')
# Looked up by name in mmcv.ops, not in a registry.
_OPS = ('nms', 'roi_layer')
_OF_SAMPLERS = frozenset({'dataset', 'seed', 'sampler', 'batch_size'})


def check_config(config: Mapping[str, Any]) -> None:
    """Check every key, every type name and every value's kind in a whole config.

    A component's arguments are those of its signature: unknown names are refused, missing ones that have no
    default, and values that its annotations exclude.

    The file's own variables are looked at as by :func:`check_variables`.

    Args:
        config: The loaded config, types as classes or as strings.

    Raises:
        ConfigError: At the first unknown key or type, with its place and the nearest known name; at the first
            missing key or value of a wrong kind, with its place and what is accepted.
    """
    check_variables(config)
    known = {key: value for key, value in config.items() if key in RUNNER_KEYS}
    given = _filled_in(config)
    for key, value in sorted(known.items(), key=lambda item: item[0] != 'protocol'):      # what it fills in
        _check_argument(value, key, TOP_LEVEL[key], given)


def check_variables(config: Mapping[str, Any]) -> None:
    """Refuse a top-level name that nothing reads and that is no variable of the file.

    A variable is a plain value, a part that occurs elsewhere in the config (configs build on such variables),
    or a hook, dataset or transform that a base offers and the leaf leaves, or it begins with an underscore.

    Raises:
        ConfigError: At the first other name.
    """
    known = {key: value for key, value in config.items() if key in RUNNER_KEYS}
    for key, value in config.items():
        if key not in RUNNER_KEYS and not key.startswith('_'):
            check_variable(key, value, known, RUNNER_KEYS)


def _filled_in(config: Mapping[str, Any]) -> frozenset[str]:
    """Return the arguments that need not be given: a protocol fills them in, or nothing is trained."""
    protocol = config.get('protocol')
    if isinstance(protocol, Mapping):
        return _OF_ENCODER | ({'dataset'} if 'tasks' in protocol else set())
    return frozenset() if 'optim_wrapper' in config else frozenset({'sampler', 'batch_size'})


def _check_argument(value: Any, place: str, argument: Argument, given: frozenset[str]) -> None:
    if not argument.accepts(value):
        raise ConfigError(f'{place} must be {in_words(argument.annotation)}, got {_short(value)}')
    if isinstance(value, _PLAIN) and _describes_component(place, argument):
        raise ConfigError(f'{place} must be a dict with a type, or a list of such dicts, got {_short(value)}')
    if isinstance(value, _PLAIN) and place in SECTIONS:
        raise ConfigError(f'{place} must be a dict, got {_short(value)}')
    _check_node(value, place, given, argument)


def _short(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 80 else f'{repr(value)[:77]}...'


def _describes_component(place: str, argument: Argument) -> bool:
    key = _last_key(place)
    if not argument.is_known:
        return False
    if place.startswith('protocol.'):
        return key in _DATASETS_OF_PROTOCOLS
    return key in _COMPONENTS and place != 'data_preprocessor'           # whose type the model may know


def _dataclass_in(annotation: Any) -> type | None:
    """Return the dataclass that an annotation, or that of a list's items, names."""
    if dataclasses.is_dataclass(annotation):
        return annotation
    return next(filter(None, map(_dataclass_in, get_args(annotation))), None)


def _check_node(node: Any, place: str, given: frozenset[str], argument: Argument) -> None:
    if isinstance(node, list | tuple):
        for index, item in enumerate(node):
            if isinstance(item, _PLAIN) and _describes_component(place, argument):
                raise ConfigError(f'{place}[{index}] must be a dict with a type, got {item!r}')
            _check_node(item, f'{place}[{index}]', given, argument)
    key_here = _last_key(place)
    if not isinstance(node, Mapping) or key_here in _OPAQUE or argument.package is None:
        return
    if key_here in ('bank', 'queries') and argument.is_known:
        check_pipeline(node, place)
    if place == 'default_hooks':
        _check_names_of_hooks(node)
    arguments, others = _arguments_at(node, place, argument)
    if key_here in ('sampler', 'batch_sampler'):
        given |= _OF_SAMPLERS
    for key, value in node.items():
        child = f'{place}.{key}'
        if key in arguments:
            _check_argument(value, child, arguments[key], given)
        elif key in ('type', '_scope_'):
            continue
        elif others is None:
            raise_unknown(key, place, {'type', *arguments})
        else:
            _check_argument(value, child, others, given)
    lacking = [name for name, argument in arguments.items()
               if argument.is_required and name not in node and name not in given]
    # Norms and the like are given the rest by those who build them.
    if lacking and (place.partition('[')[0] in SECTIONS or not _last_key(place).endswith('_cfg')):
        raise ConfigError(f'{place} lacks {", ".join(lacking)}: ' + '; '.join(
            f'{name} must be {in_words(arguments[name].annotation)}' for name in lacking))
    if place == 'optim_wrapper':
        _check_paramwise(node)


def _arguments_at(node: Mapping[str, Any], place: str,
                  argument: Argument) -> tuple[dict[str, Argument], Argument | None]:
    """Return the arguments of what a dict describes, and what others it may have besides; None for none.

    Raises:
        ConfigError: If the dict lacks a type, or its type is unknown.
    """
    section = SECTIONS.get(place.partition('[')[0], {})
    if section and ('type' not in node or 'type' in section):
        return section, None
    kind = node.get('type')
    if kind is None:
        component = _dataclass_in(argument.annotation) or DEFAULT_TYPES.get(place)
        if component is None:
            _check_needs_no_type(node, place, argument)
            return {}, Argument(package='mmsimclr' if argument.package == 'mmsimclr' else '')
    else:
        component = resolve(kind, place, is_optional=not _must_be_known(place, argument))
        if component is None:
            return {}, Argument(package=None)
    arguments, takes_others = arguments_of(component)
    if getattr(component, '__name__', None) in _OF_ALBUMENTATIONS:
        arguments = {**arguments, 'transforms': Argument(package=None)}
    return arguments, Argument(package=package_of(component)) if takes_others else None


def _must_be_known(place: str, argument: Argument) -> bool:
    """Whether the text that a dict has as its type surely names something registered."""
    key = _last_key(place)
    if key.endswith('_cfg') or key in _OPS:
        return False
    return argument.package == 'mmsimclr' or _describes_component(place, argument)


def _check_names_of_hooks(hooks: Mapping[str, Any]) -> None:
    """Refuse what must be meant for one of MMEngine's own hooks, and what is no hook."""
    for name, hook in hooks.items():
        resembles = difflib.get_close_matches(name, _STANDARD_HOOKS, n=1, cutoff=0.8)
        if name not in _STANDARD_HOOKS and resembles:
            raise_unknown(name, 'default_hooks', _STANDARD_HOOKS)
        if isinstance(hook, _PLAIN):
            raise ConfigError(f'default_hooks.{name} must be a dict with a type, got {hook!r}')


def _last_key(place: str) -> str:
    return place.rpartition('.')[2].partition('[')[0]


def _check_needs_no_type(node: Mapping[str, Any], place: str, argument: Argument) -> None:
    key, parent = _last_key(place), _last_key(place.rpartition('.')[0])
    is_component = _describes_component(place, argument) and (
        key not in _COMPONENTS_BY_NAME or place.endswith(']'))
    if is_component or (parent in _COMPONENTS_BY_NAME and argument.is_known):
        raise ConfigError(f'{place} lacks type: it must be the class of what is to be built, or its '
                          f'registered name; got {", ".join(map(str, node)) or "an empty dict"}')


def _check_paramwise(wrapper: Mapping[str, Any]) -> None:
    """Check the settings by parameter; other constructors than MMEngine's default may take any."""
    place = 'optim_wrapper.paramwise_cfg'
    paramwise, optimizer = wrapper.get('paramwise_cfg'), wrapper.get('optimizer')
    constructor = resolve(wrapper.get('constructor') or DefaultOptimWrapperConstructor,
                          'optim_wrapper.constructor')
    if not isinstance(paramwise, Mapping) or constructor not in (DefaultOptimWrapperConstructor,
                                                                 LARSOptimWrapperConstructor):
        return
    settings = {'lr_mult': Argument(float), 'decay_mult': Argument(float)}
    if isinstance(optimizer, Mapping) and optimizer.get('type') is not None:
        settings |= arguments_of(resolve(optimizer['type'], 'optim_wrapper.optimizer'))[0]
    _check_settings(paramwise, place, PARAMWISE_CFG)
    for name, custom in (paramwise.get('custom_keys') or {}).items():
        _check_argument(custom, f'{place}.custom_keys[{name!r}]', Argument(dict), frozenset())
        _check_settings(custom, f'{place}.custom_keys[{name!r}]', settings)


def _check_settings(node: Mapping[str, Any], place: str, accepted: Mapping[str, Argument]) -> None:
    for key, value in node.items():
        if key not in accepted:
            raise_unknown(key, place, accepted)
        _check_argument(value, f'{place}.{key}', accepted[key], frozenset())
