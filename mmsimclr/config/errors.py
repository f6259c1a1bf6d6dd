"""Errors raised while a config is read and checked."""

from collections.abc import Iterable

from mmsimclr.errors import InputError, did_you_mean


class ConfigError(InputError):
    """A config has a key that nothing reads, lacks one, or names something that does not exist."""


def raise_unknown(name: str, place: str, accepted: Iterable[str], what: str = 'key') -> None:
    """Raise ConfigError for a name that is not accepted at a place, with the nearest accepted one."""
    accepted = sorted(map(str, accepted))
    where = f' in {place}' if place else ' at the top level of the config'
    hint = did_you_mean(name, accepted)
    if not hint and len(accepted) <= 40:
        hint = f'; accepted: {", ".join(accepted)}'
    raise ConfigError(f'unknown {what} {name!r}{where}{hint}')
