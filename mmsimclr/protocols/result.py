"""What a protocol returns, and the file it is kept in."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mmsimclr.environment import flags, hardware, versions


@dataclass
class Result:
    """Metric values and all that is needed to know what they mean and to get them again.

    Attributes:
        protocol: Name of the protocol, e.g. ``'knn'``.
        metrics: Values by name; the name ends in the unit where there is one (``knn_accuracy_percent``).
        num_images: Counts of images by part, e.g. ``{'train': 10000, 'test': 2000}``.
        seed: The seed of the run.
        settings: What decided the values: k, temperature, pooling, crop, ...
        checkpoint: Path of the encoder's file, relative if it lies below the folder of the run; None for
            random initialisation.
        checkpoint_sha256: Its content's hash.
        checkpoint_layout: The layout it was recognised to have.
        tensors_loaded: (filled, expected) tensors of the encoder; None where nothing was loaded.
        predictions: File of the predictions for each image, beside the result; see
            :func:`write_predictions`.
        dataset: Name of the data, as published results call it.
        config: Path of the config.
        command: The command that makes this result.
        wall_time_s: Seconds it took.
        versions: Versions of what ran.
        hardware: What it ran on.
        flags: Whether only deterministic algorithms ran, number of threads, and the like; empty in results
            that are older than it.
    """

    protocol: str
    metrics: dict[str, float]
    num_images: dict[str, int]
    seed: int
    settings: dict = field(default_factory=dict)
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    checkpoint_layout: str | None = None
    tensors_loaded: tuple[int, int] | None = None
    predictions: str | None = None
    dataset: str | None = None
    config: str | None = None
    command: str | None = None
    wall_time_s: float | None = None
    versions: dict = field(default_factory=versions)
    hardware: dict = field(default_factory=hardware)
    flags: dict = field(default_factory=flags)

    def __post_init__(self) -> None:
        if self.tensors_loaded is not None:
            self.tensors_loaded = tuple(self.tensors_loaded)             # JSON has lists only
        self.checkpoint = portable_path(self.checkpoint) if self.checkpoint else None
        self.config = portable_path(self.config) if self.config else None

    def write(self, path: str | Path) -> Path:
        """Write the result as JSON, whole or not at all; return the path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f'.{path.name}.{os.getpid()}')
        partial.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + '\n', encoding='utf-8')
        partial.replace(path)
        return path


def read_result(path: str | Path) -> Result:
    """Read a result written by :meth:`Result.write`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a result; the message names the file.
    """
    text = Path(path).read_text(encoding='utf-8')
    try:
        return Result(**{'flags': {}, **json.loads(text)})
    except (TypeError, json.JSONDecodeError) as error:
        raise ValueError(f'{path} is not a result of mmsimclr: {error}') from error


def portable_path(path: str | Path) -> str:
    """Return a path relative to the current folder if it lies below it, else as it is."""
    path = Path(path).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest() if hasattr(hashlib, 'file_digest') \
            else hashlib.sha256(file.read()).hexdigest()
