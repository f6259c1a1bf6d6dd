"""Refuse unknown keys and unknown types in a config, and suggest the nearest known one."""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmsimclr import registry as ours

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
    'auto_scale_lr': {'enable', 'base_batch_size', 'rule'},
}
RUNNER_KEYS = {
    *inspect.signature(Runner.__init__).parameters, 'runner_type', 'custom_imports', 'sync_bn', 'compile',
    'find_unused_parameters', 'activation_checkpointing', 'efficient_conv_bn_eval',
} - {'self', 'cfg'}
# Extra keys that MMEngine's builders take out of a component's dict before they build it.
_BUILDER_KEYS = {
    ours.HOOKS: {'priority'},
    ours.PARAM_SCHEDULERS: {'convert_to_iter_based', 'epoch_length'},
    ours.OPTIM_WRAPPERS: {'constructor', 'paramwise_cfg', 'optimizer', 'clip_grad'},
}
# Dicts below these keys belong to the component that takes them.
_OPAQUE_SUFFIXES = ('norm_cfg', 'act_cfg', 'conv_cfg', 'init_cfg', 'paramwise_cfg', 'metainfo')


class ConfigError(ValueError):
    """A config that says something nothing would read, or names something that does not exist."""


def check_config(config: Mapping[str, Any]) -> None:
    """Check every key and every type name of a whole config.

    A top-level name that MMEngine does not read is accepted if it is a plain value or a part that
    occurs elsewhere in the config (configs build on such variables), or begins with an underscore.

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
        refused = not used
    elif isinstance(value, list | tuple):
        refused = resembles_known and not used
    else:
        refused = resembles_known
    if refused:
        raise_unknown(key, '', RUNNER_KEYS)


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


def _check_node(node: Any, place: str, section_keys: set[str] | None = None) -> None:
    if isinstance(node, list | tuple):
        for index, item in enumerate(node):
            _check_node(item, f'{place}[{index}]')
        return
    if not isinstance(node, Mapping):
        return
    accepted = section_keys
    if node.get('type') is not None:
        component, home = _resolve(node['type'], place)
        if section_keys is not None or component is not None:
            accepted = (section_keys or set()) | {'type', '_scope_'} | _BUILDER_KEYS.get(home, set())
            parameters = _parameters(component) if component is not None else None
            accepted = None if parameters is None else accepted | parameters
    elif place == 'optim_wrapper':
        component = ours.OPTIM_WRAPPERS.get('OptimWrapper')
        accepted = _BUILDER_KEYS[ours.OPTIM_WRAPPERS] | _parameters(component)
    for key, value in node.items():
        if accepted is not None and key not in accepted:
            raise_unknown(key, place, accepted)
        if not str(key).endswith(_OPAQUE_SUFFIXES):
            _check_node(value, f'{place}.{key}')


def _resolve(name: Any, place: str) -> tuple[Any, Registry | None]:
    """Return the component a type stands for and the registry it is in."""
    if not isinstance(name, str):
        module = getattr(name, '__name__', None)
        home = next((registry for registry in REGISTRIES if module and registry.get(module) is name), None)
        return name, home
    for registry in REGISTRIES:
        component = registry.get(name)
        if component is not None:
            return component, registry
    names = {known for registry in REGISTRIES for known in registry.module_dict}
    raise_unknown(name, f'{place}.type', names, what='type')
    return None, None


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
    for cls in component.__mro__:
        if '__init__' not in vars(cls) and 'build_iter_from_epoch' not in vars(cls):
            continue
        for method in ('build_iter_from_epoch', '__init__'):
            if method in vars(cls):
                parameters = inspect.signature(getattr(cls, method)).parameters
                names |= {p.name for p in parameters.values() if p.kind not in (p.VAR_KEYWORD,
                                                                                p.VAR_POSITIONAL)}
        if cls is object:
            return None                                   # **kwargs all the way: anything goes
        if '__init__' in vars(cls) and not any(
                p.kind is p.VAR_KEYWORD for p in inspect.signature(cls.__init__).parameters.values()):
            break
    return names - {'self'}


def raise_unknown(name: str, place: str, accepted: Iterable[str], what: str = 'key') -> None:
    """Raise ConfigError for a name that is not accepted at a place, with the nearest accepted one."""
    accepted = sorted(map(str, accepted))
    near = difflib.get_close_matches(str(name), accepted, n=1, cutoff=0.5)
    where = f' in {place}' if place else ' at the top level of the config'
    hint = f'; did you mean {near[0]!r}?' if near else ''
    listing = f' Accepted: {", ".join(accepted)}.' if len(accepted) <= 40 else ''
    raise ConfigError(f'unknown {what} {name!r}{where}{hint}{listing}')
