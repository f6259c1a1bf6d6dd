"""Writing rows of features so that an interruption loses only what was not committed."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

PENDING, DONE, UNREADABLE = 0, 1, 2
PROGRESS = 'progress'
REASONS = 'unreadable'


class RowWriter:
    """Writes the rows of one process into files it may share with others; nothing counts before a commit.

    Ordinary writes, not a memory map: they keep the process small, and on network file systems leave the
    neighbouring rows of other machines alone.

    Args:
        folder: Has ``<stage>.npy``, [N, C], for each stage, and ``progress``, a byte for each of N images.
        stages: Names of the stages.
        rank: Number of the process.
    """

    def __init__(self, folder: Path, stages: Iterable[str], rank: int) -> None:
        self._paths = {stage: folder / f'{stage}.npy' for stage in stages}
        self._arrays = {stage: np.load(path, mmap_mode='r') for stage, path in self._paths.items()}
        self._folder, self._rank = folder, rank
        self._written: list[tuple[int, np.ndarray]] = []

    def __enter__(self) -> 'RowWriter':
        """Open the files."""
        self._files = {stage: path.open('r+b') for stage, path in self._paths.items()}
        self._progress = open(self._folder / PROGRESS, 'r+b')
        self._reasons = open(self._folder / f'{REASONS}-{self._rank}', 'a', encoding='utf-8')
        self._reasons.write('\n')                   # ends a line that an interruption cut off
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files; what was not committed does not count."""
        for file in (*self._files.values(), self._progress, self._reasons):
            file.close()

    def write(self, start: int, features: Mapping[str, np.ndarray], reasons: Mapping[int, str]) -> None:
        """Write the rows of a run of images.

        Args:
            start: Number of the first image.
            features: [n, C] by stage, of the readable images of the run.
            reasons: Why the others cannot be read, by place in the run.
        """
        num_rows = len(next(iter(features.values()))) + len(reasons)
        states = np.full(num_rows, DONE, np.uint8)
        states[list(reasons)] = UNREADABLE
        for stage, file in self._files.items():
            array = self._arrays[stage]
            rows = np.zeros((num_rows, array.shape[1]), array.dtype)
            rows[states == DONE] = features[stage]
            file.seek(array.offset + start * array.strides[0])
            file.write(rows.data)
        for place, reason in reasons.items():
            self._reasons.write(json.dumps(dict(image=start + place, reason=reason)) + '\n')
        self._written.append((start, states))

    def commit(self) -> None:
        """Flush the rows to the disk, then record that they are there."""
        for file in (*self._files.values(), self._reasons):
            file.flush()
            os.fsync(file.fileno())
        for start, states in self._written:
            self._progress.seek(start)
            self._progress.write(states.data)
        self._progress.flush()
        os.fsync(self._progress.fileno())
        self._written.clear()


def read_progress(folder: Path) -> np.ndarray:
    """Return what is known of each image: ``PENDING``, ``DONE`` or ``UNREADABLE``, uint8 [N]."""
    return np.fromfile(folder / PROGRESS, np.uint8)


def read_reasons(folder: Path) -> dict[int, str]:
    """Return why images cannot be read, by number, of all processes."""
    entries = []
    for file in sorted(folder.glob(f'{REASONS}-*')):
        for line in file.read_text(encoding='utf-8').splitlines():
            try:
                entries.append(json.loads(line))
            except json.JSONDecodeError:            # cut off, so never committed; or empty
                continue
    return {entry['image']: entry['reason'] for entry in entries}
