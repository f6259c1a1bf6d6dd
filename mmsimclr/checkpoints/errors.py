"""Errors of checkpoints, all of them ``CheckpointError``."""

from collections.abc import Iterable

from mmsimclr.errors import UserError


class CheckpointError(UserError, ValueError):
    """A checkpoint cannot be used; the message names it, says why, and what to do."""


class DamagedCheckpointError(CheckpointError):
    """The file is empty, cut off, not a checkpoint, not the one its name promises, or holds NaN."""


class UnsafeCheckpointError(CheckpointError):
    """Reading the file would run code; nothing of it was run."""


class LayoutError(CheckpointError):
    """No encoder was recognised in the file, or several that differ."""


class IncompleteEncoderError(CheckpointError):
    """The encoder in the file does not fill the backbone: tensors are missing, unexpected or mis-shaped."""


class UnsupportedEncoderError(CheckpointError):
    """The file holds an encoder, or a head, of a kind that is not built here."""


def listed(items: Iterable[object], at_most: int = 10, separator: str = ', ') -> str:
    """Return the first of many items for a message, and how many more there are."""
    items = list(map(str, items))
    more = f' and {len(items) - at_most} more' if len(items) > at_most else ''
    return separator.join(items[:at_most]) + more
