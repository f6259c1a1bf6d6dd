"""Refuse unknown keys and unknown types in a config, and suggest the nearest known one."""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.hooks import CheckpointHook, Hook
from mmengine.optim import BaseOptimWrapper, DefaultOptimWrapperConstructor, OptimWrapper, _ParamScheduler
from mmengine.registry import Registry
from mmengine.runner import LogProcessor, Runner
from mmengine.visualization import Visualizer
from torch.utils.data import DataLoader

from mmsimclr import registry as ours
from mmsimclr.engine import LARSOptimWrapperConstructor

REGISTRIES: tuple[Registry, ...] = tuple(
    value for value in vars(ours).values() if isinstance(value, Registry))

_LOADER_KEYS = {*inspect.signature(DataLoader.__init__).parameters, 'num_batch_per_epoch'} - {'self'}
_LOOP_KEYS = {'by_epoch', 'max_epochs', 'max_iters', 'val_begin', 'val_interval', 'dynamic_intervals'}
# Sections that MMEngine reads without a type of their own.
SECTIONS: dict[str, set[str]] = {
    'train_dataloader': _LOADER_KEYS, 'val_dataloader': _LOADER_KEYS, 'test_dataloader': _LOADER_KEYS,
    'train_cfg': _LOOP_KEYS, 'val_cfg': {'fp16'}, 'test_cfg': {'fp16'},
    'randomness': {'seed', 'diff_rank_seed', 'deterministic'},
    'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    'env_cfg.mp_cfg': {'mp_start_method', 'opencv_num_threads'},
    'env_cfg.dist_cfg': {'backend', 'timeout'},
    'auto_scale_lr': {'enable', 'base_batch_size', 'rule'},
}
RUNNER_KEYS = {
    *inspect.signature(Runner.__init__).parameters, 'runner_type', 'custom_imports', 'sync_bn', 'compile',
    'find_unused_parameters', 'activation_checkpointing', 'efficient_conv_bn_eval',
    # Of a benchmark: how the encoder is measured, what it is if it is to be random, and on which data.
    'protocol', 'encoder', 'dataset_name',
} - {'self', 'cfg'}
# What MMEngine builds from a dict without a type.
_DEFAULT_TYPES = {'optim_wrapper': OptimWrapper, 'log_processor': LogProcessor, 'visualizer': Visualizer}
# Extra keys that MMEngine's builders take out of a component's dict before they build it, by base class.
_BUILDER_KEYS = {
    Hook: {'priority'},
    _ParamScheduler: {'convert_to_iter_based', 'epoch_length'},
    BaseOptimWrapper: {'constructor', 'paramwise_cfg', 'optimizer', 'clip_grad'},
}
# MMEngine's own hooks, which a config may change without naming their types.
_STANDARD_HOOKS = {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'}
# What DefaultOptimWrapperConstructor reads; it ignores the rest in silence.
_PARAMWISE_KEYS = {
    'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult',
    'dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate',
}
# Dicts below these keys belong to the component that takes them.
_OPAQUE_SUFFIXES = ('norm_cfg', 'act_cfg', 'conv_cfg', 'init_cfg', 'paramwise_cfg', 'metainfo')


class ConfigError(ValueError):
    """A config that says something nothing would read, or names something that does not exist."""


def check_config(config: Mapping[str, Any]) -> None:
    """Check every key and every type name of a whole config.

    A top-level name that MMEngine does not read is accepted if it is a plain value, a part that occurs
    elsewhere in the config (configs build on such variables), or a hook, dataset or transform that a
    base offers and the leaf leaves, or if it begins with an underscore.

    Args:
        config: The loaded config, types as classes or as strings.

    Raises:
        ConfigError: At the first unknown key or type, with its place and the nearest known name.
    """
    known = {key: value for key, value in config.items() if key in RUNNER_KEYS}
    for key, value in config.items():
        if key in RUNNER_KEYS:
            _check_node(value, key, SECTIONS.get(key))
        elif not key.startswith('_'):
            _check_variable(key, value, known)


def _check_variable(key: str, value: Any, known: Mapping[str, Any]) -> None:
    if callable(value) or inspect.ismodule(value):        # what the config imported
        return
    used = any(_equal(value, node) for node in _nodes(known.values()))
    resembles_known = bool(difflib.get_close_matches(key, RUNNER_KEYS, n=1, cutoff=0.8))
    if isinstance(value, Mapping):
        refused = not used and (resembles_known or not _is_part_on_offer(value))
    elif isinstance(value, list | tuple):
        refused = resembles_known and not used
    else:
        refused = resembles_known
    if refused:
        raise_unknown(key, '', RUNNER_KEYS)


def _is_part_on_offer(node: Mapping) -> bool:
    """Whether a dict describes a hook, a dataset or a transform: a base may offer it and a leaf leave it."""
    kind = node.get('type')
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', None)
    return name is not None and any(
        registry.get(name) is not None and (kind == name or registry.get(name) is kind)
        for registry in (ours.HOOKS, ours.DATASETS, ours.TRANSFORMS))


def _equal(left: Any, right: Any) -> bool:
    try:
        return bool(left == right)
    except (RuntimeError, TypeError, ValueError):        # arrays and the like
        return left is right


def _nodes(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        yield value
        if isinstance(value, Mapping):
            yield from _nodes(value.values())
        elif isinstance(value, list | tuple):
            yield from _nodes(value)


def find_places(name: str, value: Any, node: Any, place: str = '') -> list[str]:
    """Return where in a config a variable went: entries of its name, and parts equal to it if a dict."""
    items = node.items() if isinstance(node, Mapping) else \
        enumerate(node) if isinstance(node, list | tuple) else ()
    found = []
    for key, child in items:
        child_place = f'{place}.{key}'.lstrip('.')
        if (key == name or isinstance(value, Mapping)) and _equal(child, value):
            found.append(child_place)
        else:
            found += find_places(name, value, child, child_place)
    return found


def _check_node(node: Any, place: str, section_keys: set[str] | None = None) -> None:
    if isinstance(node, list | tuple):
        for index, item in enumerate(node):
            _check_node(item, f'{place}[{index}]')
        return
    if not isinstance(node, Mapping):
        return
    accepted = section_keys
    component = _resolve(node['type'], place) if node.get('type') is not None else _DEFAULT_TYPES.get(place)
    if component is not None:
        parameters = _parameters(component)
        if parameters is not None:
            accepted = {'type', '_scope_', *(section_keys or ()), *_builder_keys(component), *parameters}
        if place == 'optim_wrapper':
            _check_paramwise(node, f'{place}.paramwise_cfg')
    for key, value in node.items():
        if accepted is not None and key not in accepted:
            raise_unknown(key, place, accepted)
        if place == 'default_hooks' and isinstance(value, Mapping) and 'type' not in value:
            _refuse_others({key: value}, place, _STANDARD_HOOKS)
        if not str(key).endswith(_OPAQUE_SUFFIXES):
            _check_node(value, f'{place}.{key}', SECTIONS.get(f'{place}.{key}'))


def _resolve(name: Any, place: str) -> Any:
    """Return the component a type stands for."""
    if not isinstance(name, str):
        return name
    for registry in REGISTRIES:
        component = registry.get(name)
        if component is not None:
            return component
    scope = name.rpartition('.')[0]
    names = set()
    for registry in REGISTRIES:
        parent = registry.parent
        if scope and parent:
            sibling = parent.children.get(scope)
            names |= {f'{scope}.{known}' for known in (sibling.module_dict if sibling else ())}
        elif not scope:
            names |= {*registry.module_dict, *(parent.module_dict if parent else ())}
    raise_unknown(name, f'{place}.type', names, what='type')


def _builder_keys(component: Any) -> set[str]:
    return {key for base, keys in _BUILDER_KEYS.items()
            if inspect.isclass(component) and issubclass(component, base) for key in keys}


def _check_paramwise(wrapper: Mapping[str, Any], place: str) -> None:
    """Check the settings by parameter; other constructors than MMEngine's default may take any."""
    constructor = wrapper.get('constructor') or DefaultOptimWrapperConstructor
    paramwise, optimizer = wrapper.get('paramwise_cfg'), wrapper.get('optimizer')
    constructor = _resolve(constructor, 'optim_wrapper.constructor')
    if not paramwise or constructor not in (DefaultOptimWrapperConstructor, LARSOptimWrapperConstructor):
        return
    _refuse_others(paramwise, place, _PARAMWISE_KEYS)
    settings = {'lr_mult', 'decay_mult'}
    if isinstance(optimizer, Mapping) and optimizer.get('type') is not None:
        settings |= _parameters(_resolve(optimizer['type'], 'optim_wrapper.optimizer')) or set()
    for name, custom in paramwise.get('custom_keys', {}).items():
        _refuse_others(custom, f'{place}.custom_keys[{name!r}]', settings)


def _refuse_others(node: Mapping[str, Any], place: str, accepted: set[str]) -> None:
    for key in node:
        if key not in accepted:
            raise_unknown(key, place, accepted)


def _parameters(component: Any) -> set[str] | None:
    """Return the names of the arguments a component takes; None if it takes any."""
    if not inspect.isclass(component):
        try:
            parameters = inspect.signature(component).parameters
        except (TypeError, ValueError):
            return None
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return None
        return set(parameters)
    names: set[str] = set()
    takes_any = False
    for cls in component.__mro__:
        if cls is object:
            return None if takes_any else names - {'self'}
        if '__init__' not in vars(cls) and 'build_iter_from_epoch' not in vars(cls):
            continue
        for method in ('build_iter_from_epoch', '__init__'):
            if method in vars(cls):
                parameters = inspect.signature(getattr(cls, method)).parameters
                names |= {p.name for p in parameters.values() if p.kind not in (p.VAR_KEYWORD,
                                                                                p.VAR_POSITIONAL)}
        if '__init__' in vars(cls):
            # CheckpointHook hands its **kwargs to a call that takes no more of them.
            takes_any = cls is not CheckpointHook and any(
                p.kind is p.VAR_KEYWORD for p in inspect.signature(cls.__init__).parameters.values())
            if not takes_any:
                break
    return names - {'self'}


def raise_unknown(name: str, place: str, accepted: Iterable[str], what: str = 'key') -> None:
    """Raise ConfigError for a name that is not accepted at a place, with the nearest accepted one."""
    accepted = sorted(map(str, accepted))
    near = difflib.get_close_matches(str(name), accepted, n=1, cutoff=0.5)
    where = f' in {place}' if place else ' at the top level of the config'
    hint = ''
    if near:
        hint = f'; did you mean {near[0]!r}?'
    elif len(accepted) <= 40:
        hint = f'; accepted: {", ".join(accepted)}'
    raise ConfigError(f'unknown {what} {name!r}{where}{hint}')
