"""The canonical form of a config: what it asks to be computed, in plain values, whatever its dialect."""

import hashlib
import inspect
import json
import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from mmengine.config.lazy import LazyAttr, LazyObject

from mmsimclr.config.check import REGISTRIES, RUNNER_KEYS
from mmsimclr.errors import InputTypeError
from mmsimclr.registry import SCOPE

# Keys that cannot change what is computed, by the reason.
IRRELEVANT = tuple(key for keys in yaml.safe_load(
    Path(__file__).with_name('irrelevant.yml').read_text(encoding='utf-8')).values() for key in keys)
# Keys that say where data lie. They matter, unless the lists of the images are compared themselves.
LOCATIONS = ('*_dataloader.*data_root', '*_hooks.mmsimclr.OnlineKNNHook.*data_root')
# Keys that may steer a run, and yet are not in its hash, by whose beginning results of studies are found.
UNHASHED = ('*_hooks.mmsimclr.RepresentationHealthHook', 'gradients')
ABSENT = 'not set'
LONG = 64                                           # a list of more values stands as its hash
# Ends of the keys whose text names a component: `type`, `resize_type`, `constructor`.
_NAMING = ('type', 'constructor')
_HOOKS = ('default_hooks', 'custom_hooks')


class _Scope(NamedTuple):
    """What decides which component a text names."""

    name: str
    may_import: bool


def canonical(config: Mapping[str, Any], may_import: bool = True) -> dict[str, Any]:
    """Return a config's plain values by dotted key: text, numbers, booleans and None.

    Equal are a component's class, its registered name and its name of an older version; tuples and lists;
    a number and the same as float; a loop's class and ``by_epoch``; a key of None at the top level and its
    absence. Hooks stand under their types. Left out are variables of the file, ``auto_scale_lr`` where it is
    off, and what replaces unreadable images.

    Args:
        config: A config, or what its text assigns.
        may_import: Whether packages may be imported that are not yet, to find what a text names: not where a
            stranger wrote it.

    Raises:
        TypeError: If a value cannot be named: a lambda, a function or class inside of another, an object.
    """
    scope = _Scope(config.get('default_scope') or SCOPE, may_import)
    settings = {key: config.get(key) for key in RUNNER_KEYS}
    # As it was called in 0.1, whose results stand.
    settings['encoder'] = settings.pop('random_encoder') or config.get('encoder')
    if not (settings['auto_scale_lr'] or {}).get('enable'):
        settings['auto_scale_lr'] = None
    if 'by_epoch' in (loop := settings['train_cfg'] or {}) and 'type' not in loop:
        kind = 'EpochBasedTrainLoop' if loop['by_epoch'] else 'IterBasedTrainLoop'
        settings['train_cfg'] = {**{key: loop[key] for key in loop if key != 'by_epoch'}, 'type': kind}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)             # of names of 0.1
        for key in _HOOKS:
            settings[key] = _hooks_by_type(settings[key], scope) or None
        return {place: value for key in sorted(settings) if settings[key] is not None
                for place, value in _flat(settings[key], key, scope)}


def config_sha256(config: Mapping[str, Any], ignored: Sequence[str] = ()) -> str:
    """Return the SHA-256 of what a config asks to be computed; it is the same on every machine.

    Keys of ``IRRELEVANT`` and ``UNHASHED`` do not count, nor do those that match ``ignored``. ``load_from``
    counts, and paths of data as they are written.
    """
    relevant = {key: value for key, value in canonical(config).items()
                if not matches(key, (*IRRELEVANT, *UNHASHED, *ignored))}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True, allow_nan=False).encode()).hexdigest()


def differences(then: Mapping[str, Any], now: Mapping[str, Any], ignored: Sequence[str] = ()
                ) -> list[tuple[str, Any, Any]]:
    """Return the keys in which two canonical forms ask for different things, with both values, in order.

    A value is ``'not set'`` where a form has none. Keys of ``IRRELEVANT`` are passed over, and those that
    match a pattern of ``ignored``.
    """
    return [(key, then.get(key, ABSENT), now.get(key, ABSENT)) for key in sorted({*then, *now})
            if json.dumps(then.get(key, ABSENT)) != json.dumps(now.get(key, ABSENT))
            and not matches(key, (*IRRELEVANT, *ignored))]


def matches(key: str, patterns: Sequence[str]) -> bool:
    """Whether a dotted key, or one it lies below, matches a pattern."""
    return any(fnmatchcase(key, pattern) or fnmatchcase(key, f'{pattern}.*') for pattern in patterns)


def name_of(component: Any) -> str:
    """Return the dotted name of a class or function; of one of ours without its module, which may change."""
    module, name = getattr(component, '__module__', None) or 'builtins', component.__qualname__
    if '<' in name:
        raise InputTypeError(f'{name} of {module} cannot be told from others of that name: define it at the '
                             'top level of a module')
    package = module.partition('.')[0]
    return f'{package}.{name}' if package in (SCOPE, 'mmengine') else f'{module}.{name}'


def _hooks_by_type(hooks: Any, scope: _Scope) -> dict[str, Any]:
    """Return hooks by the names of their types; numbered where one comes twice."""
    named: dict[str, Any] = {}
    for name, hook in hooks.items() if isinstance(hooks, Mapping) else enumerate(hooks or ()):
        if hook is None:                                    # switched off, as if it were not named
            continue
        kind = hook.get('type') if isinstance(hook, Mapping) else None
        kind = str(name) if kind is None else _plain(kind, scope, names=True)
        same = sum(each.partition('#')[0] == kind for each in named)
        named[f'{kind}#{same + 1}' if same else kind] = hook
    return named


def _flat(node: Any, place: str, scope: _Scope) -> Iterator[tuple[str, Any]]:
    """Yield the plain values below a part of a config, with their places."""
    if isinstance(node, np.ndarray | np.generic):
        node = node.tolist()
    if isinstance(node, Mapping):
        if 'dataset' in node and _plain(node.get('type'), scope, names=True) == f'{SCOPE}.ReplaceUnreadable':
            yield from _flat(node['dataset'], place, scope)
            return
        children = list(node.items())
    elif isinstance(node, list | tuple):
        children = list(enumerate(node))
        if len(node) > LONG and all(isinstance(each, str | int | float) for each in node):
            text = json.dumps([_plain(each, scope) for each in node])
            yield place, f'{len(node)} values with SHA-256 {hashlib.sha256(text.encode()).hexdigest()}'
            return
    else:
        # What a short name of a norm or an activation means depends on the packages that were imported.
        parent, _, key = place.rpartition('.')
        is_layer = '.' in parent and parent.endswith('_cfg')
        names = key.endswith(_NAMING) and (not is_layer or '.' in str(node))
        try:
            yield place, _plain(node, scope, names)
        except InputTypeError as error:
            raise InputTypeError(f'{place}: {error}') from error
        return
    if not children:
        yield place, '{}' if isinstance(node, Mapping) else '[]'
    for name, child in children:
        is_plain = str(name).isidentifier() or isinstance(name, int) or place in _HOOKS
        yield from _flat(child, f'{place}.{name}' if is_plain else f'{place}[{name!r}]', scope)


def _plain(value: Any, scope: _Scope, names: bool = False) -> str | int | float | bool | None:
    """Return a value that JSON can hold; a text that ``names`` a component as the component's name."""
    if isinstance(value, LazyAttr | LazyObject):
        value = value.build()
    if isinstance(value, str):
        return _resolved(str(value), scope) if names else str(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if not math.isfinite(value):
            return str(float(value))
        return int(value) if value == int(value) else float(value)
    if isinstance(value, PathLike | torch.dtype):
        return str(value)
    if inspect.isclass(value) or inspect.isroutine(value):
        return name_of(value)
    raise InputTypeError(f'a config holds plain values, classes and functions, got {value!r}')


def _resolved(name: str, scope: _Scope) -> str:
    """Return the name of the component that a text names in a config of a scope; else the text."""
    # As MMEngine builds: a bare name is first looked up in the config's own scope.
    for text in (*([f'{scope.name}.{name}'] if scope.name != SCOPE and '.' not in name else ()), name):
        if '.' in text and not scope.may_import and text.partition('.')[0] not in sys.modules:
            continue
        for registry in REGISTRIES:
            found = registry.get(text)
            if inspect.isclass(found) or inspect.isroutine(found):
                return name_of(found)
    return name
