"""The datasets of a transfer benchmark: what they are, whether they are here, and how they are split."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsimclr.protocols.classification_metrics import METRICS, require_several_classes


@dataclass(frozen=True)
class TransferDataset:
    """One dataset of a transfer benchmark.

    Attributes:
        name: Its name, as published results call it.
        metric: A key of :data:`~mmsimclr.protocols.classification_metrics.METRICS`.
        train: Config of the training images.
        test: Config of the test images.
        val: Config of the official validation images, which are not among ``train``; None where there are
            none, and a share of ``train`` is held out.
        trainval: Config of both together; needed with ``val`` where the encoder is trained.
        held_out: That share, of each class, > 0 and < 1.
        root: Folder of the files; None where there are none.
        needs: What must be in it: paths, or patterns such as ``'batches-*'``, relative.
        source: Where to fetch it.
        note: What else is to be known of source or layout.

    Raises:
        ValueError: If the metric is unknown, or the share out of range.
    """

    name: str
    metric: str
    train: Mapping[str, Any]
    test: Mapping[str, Any]
    val: Mapping[str, Any] | None = None
    trainval: Mapping[str, Any] | None = None
    held_out: float = 0.2
    root: str | None = None
    needs: Sequence[str] = ()
    source: str = ''
    note: str = ''

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f'metric of {self.name} must be one of {", ".join(METRICS)}, got '
                             f'{self.metric!r}')
        if not 0 < self.held_out < 1:
            raise ValueError(f'held_out of {self.name} must be > 0 and < 1, got {self.held_out}')

    @property
    def slug(self) -> str:
        """The name in small letters and underscores, for files and metrics."""
        return re.sub(r'\W+', '_', self.name.lower())

    @property
    def missing(self) -> list[str]:
        """What the dataset needs and is not there, relative to ``root``."""
        if self.root is None:
            return []
        return [part for part in self.needs if not any(Path(self.root).glob(part))]

    def explain_missing(self) -> str:
        """Return from where to fetch the dataset, and in what layout."""
        return (f'{self.name}: no {", ".join(self.missing)} in {Path(self.root).absolute()}. Fetch it from '
                f'{self.source}; {self.root} must hold {", ".join(self.needs)}'
                + (f'. {self.note}' if self.note else ''))


def choose_datasets(tasks: Sequence[TransferDataset], names: str | Sequence[str] | None,
                    skip_missing: bool) -> tuple[list[TransferDataset], list[str]]:
    """Return the datasets to run, and why others are skipped.

    Args:
        tasks: All datasets.
        names: Names of those to run, in any order; all by default.
        skip_missing: Leave out those whose files are not there.

    Raises:
        ValueError: If there is no dataset of a name; the nearest is suggested.
        FileNotFoundError: If files are missing; the message says what to fetch, for all datasets at once.
            Also if ``skip_missing`` leaves none.
    """
    known = {task.name: task for task in tasks}
    names = list(known) if names is None else [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.3)
            raise ValueError(f'no dataset {name!r} in this benchmark'
                             + (f'; did you mean {near[0]!r}?' if near else '')
                             + f' (all: {", ".join(known)})')
    chosen = [known[name] for name in dict.fromkeys(names)]
    here = [task for task in chosen if not task.missing]
    reasons = [task.explain_missing() for task in chosen if task.missing]
    if reasons and (not skip_missing or not here):
        raise FileNotFoundError(
            '\n'.join([f'{len(reasons)} of {len(chosen)} datasets are not here:', *reasons])
            + ('' if skip_missing else '\nTo run the others: --cfg-options protocol.skip_missing=True, or '
                                       'name them, protocol.datasets=...'))
    return here, reasons


def hold_out(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split images into those to fit to and those to validate on, the same share of each class.

    Args:
        labels: Classes, int64 [N].
        share: Share to validate on, rounded for each class; a class of two or more images keeps at least
            one on either side, and a single image is fitted to.
        seed: Decides the split.

    Returns:
        Places of both, ascending int64.

    Raises:
        ValueError: If labels are not [N], or no class has two images.
    """
    if labels.ndim != 1:
        raise ValueError('images of several classes cannot be held out by class; give a val dataset')
    generator = np.random.default_rng(seed)
    validate = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(places))), len(places) - 1)
        validate.append(generator.permutation(places)[:count])
    validate = np.sort(np.concatenate(validate)) if validate else np.empty(0, np.int64)
    if not len(validate):
        raise ValueError('no class has two training images, so none can be held out for validation')
    return np.setdiff1d(np.arange(len(labels)), validate), validate


def count_classes(name: str, train_labels: np.ndarray, *other_labels: np.ndarray) -> int:
    """Return the number of classes, after checking that the parts agree.

    Args:
        name: Name of the dataset, for messages.
        train_labels: int64 [N] or [N, K].
        *other_labels: Of validation and test.

    Raises:
        ValueError: If labels are missing or negative, or a class is in another part and not in ``train``.
    """
    parts = [train_labels, *other_labels]
    if any(labels is None for labels in parts):
        raise ValueError(f'{name}: the images have no labels')
    if train_labels.ndim == 2:
        if len({labels.shape[1:] for labels in parts}) > 1:
            raise ValueError(f'{name}: parts differ in the number of classes: '
                             f'{[labels.shape[1:] for labels in parts]}')
        return train_labels.shape[1]
    known = np.unique(train_labels)
    if known[0] < 0:
        raise ValueError(f'{name}: labels must be >= 0, got {known[0]}')
    require_several_classes(known, f'{name} training')
    foreign = np.setdiff1d(np.concatenate(other_labels), known)
    if len(foreign):
        raise ValueError(f'{name}: classes {foreign.tolist()} are in validation or test and have no training '
                         'image')
    return int(known[-1]) + 1
