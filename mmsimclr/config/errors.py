"""What a config is refused with."""

import difflib
from collections.abc import Iterable

from mmsimclr.errors import InputError


class ConfigError(InputError):
    """A config that says something nothing would read, or names something that does not exist."""


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
