"""A config file's own variables: names at its top level that nothing reads but the file itself."""

import difflib
import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from mmsimclr import registry as ours
from mmsimclr.config.errors import raise_unknown


def check_variable(key: str, value: Any, known: Mapping[str, Any], runner_keys: Collection[str]) -> None:
    """Refuse a variable that was surely meant to be read.

    Args:
        key: Its name.
        value: Its value.
        known: The part of the config that is read.
        runner_keys: Names of all that is read.

    Raises:
        ConfigError: If it is a dict that occurs nowhere in what is read and is no part on offer, or its name
            resembles one that is read.
    """
    if callable(value) or inspect.ismodule(value):        # what the config imported
        return
    used = any(_equal(value, node) for node in _nodes(known.values()))
    resembles_known = bool(difflib.get_close_matches(key, runner_keys, n=1, cutoff=0.8))
    if isinstance(value, Mapping):
        refused = not used and (resembles_known or not _is_part_on_offer(value))
    elif isinstance(value, list | tuple):
        refused = resembles_known and not used
    else:
        refused = resembles_known
    if refused:
        raise_unknown(key, '', runner_keys)


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
