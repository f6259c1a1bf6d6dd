"""Every way in which one key of a config can be dropped or misspelled."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmsimclr.config import check_config


def plain(node: Any) -> Any:
    """Return a loaded config as dicts and lists, its types as classes."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.items()}
    return [plain(value) for value in node] if isinstance(node, list | tuple) else node


def mutations(config: dict | list, place: str = '') -> Iterator[tuple[str, str]]:
    """Drop and misspell one key of a config after another, in place, and undo it when the next is asked for.

    Yields:
        'drop' or 'misspell', and the key, dotted.
    """
    for key, value in list(config.items() if isinstance(config, dict) else enumerate(config)):
        here = f'{place}.{key}'.lstrip('.')
        if isinstance(config, dict):
            del config[key]
            yield 'drop', here
            config[f'{key}x'] = value
            yield 'misspell', here
            del config[f'{key}x']
            config[key] = value
        if isinstance(value, dict | list):
            yield from mutations(value, here)


def answers(config: dict) -> Iterator[tuple[str, str, Exception | None]]:
    """Yield each mutation of a config with what the check raised at it."""
    check_config(config)
    for kind, place in mutations(config):
        try:
            check_config(config)
        except Exception as error:
            yield kind, place, error
        else:
            yield kind, place, None
