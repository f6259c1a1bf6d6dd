"""What the types in a config stand for."""

from typing import Any

from mmengine.registry import TASK_UTILS, Registry

from mmsimclr import registry as ours
from mmsimclr.config.errors import ConfigError, raise_unknown

REGISTRIES: tuple[Registry, ...] = (
    *(value for value in vars(ours).values() if isinstance(value, Registry)), TASK_UTILS)     # mmdet's


def resolve(name: Any, place: str, is_optional: bool = False) -> Any:
    """Return the component that a type stands for.

    Args:
        name: A class or a registered name.
        place: Where it is in the config.
        is_optional: Whether an unknown name is None rather than an error.

    Raises:
        ConfigError: If it is neither, or the name is unknown; it suggests the nearest.
    """
    if callable(name):
        return name
    if not isinstance(name, str):
        raise ConfigError(f'{place}.type must be a class or its registered name, got {name!r}')
    for registry in REGISTRIES:
        component = registry.get(name)
        if component is not None:
            return component
    if is_optional:
        return None
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
