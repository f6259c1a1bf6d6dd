"""Errors that a user can cause and mend, which the command line turns into one line."""

import difflib
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import TypeVar

Value = TypeVar('Value')


class UserError(Exception):
    """Base of the errors whose message tells the user what was wrong, what is accepted and what to do."""

    @property
    def explanation(self) -> str:
        """The message alone, also of an error in a process that loads images.

        Torch raises such an error again in the main process. Its message is then the traceback of the loader
        process, which ends in ``CLASS: MESSAGE``.
        """
        kind = type(self)
        return str(self).rpartition(f'\n{kind.__module__}.{kind.__qualname__}: ')[2].strip()


class InputError(UserError, ValueError):
    """A value of an argument, an option or a file is not accepted."""


class InputTypeError(UserError, TypeError):
    """A value is of a type that is not accepted."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that is needed is not there."""


class ExistingFileError(UserError, FileExistsError):
    """A file or folder is in the way and would be overwritten."""


class MachineError(UserError, RuntimeError):
    """This machine, or what is installed on it, cannot do what was asked for."""


@contextmanager
def needing(extra: str, use: str) -> Iterator[None]:
    """Turn a failed import in the block into a MachineError that names the extra to install for this use."""
    try:
        yield
    except ImportError as error:
        raise MachineError(f"{use} needs {error.name or error}: pip install 'mmsimclr[{extra}]'") from error


def nearest_name(name: object, accepted: Iterable[object], cutoff: float = 0.5) -> str | None:
    """Return the accepted name most similar to a misspelt one, or None if none is."""
    close = difflib.get_close_matches(str(name), [str(each) for each in accepted], n=1, cutoff=cutoff)
    return close[0] if close else None


def did_you_mean(name: object, accepted: Iterable[object], cutoff: float = 0.5) -> str:
    """Return ``'; did you mean NAME?'`` for a message, or an empty string if no accepted name is similar."""
    near = nearest_name(name, accepted, cutoff)
    return f'; did you mean {near!r}?' if near is not None else ''


def check_choice(value: Value, name: str, accepted: Iterable[Value]) -> Value:
    """Return the value of an argument if it is one of those accepted."""
    accepted = list(accepted)
    if value not in accepted:
        hint = did_you_mean(value, accepted, 0.4) if isinstance(value, str) else ''
        raise InputError(f'{name} must be one of {", ".join(map(repr, accepted))}, got {value!r}{hint}')
    return value


def check_int(value: int, name: str, low: int = 1, high: float = math.inf) -> int:
    """Return the value of an argument if it is an integer in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:
        accepted = f'>= {low}' if high == math.inf else f'in [{low}, {high}]'
        raise InputError(f'{name} must be an integer {accepted}, got {value!r}')
    return int(value)


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
