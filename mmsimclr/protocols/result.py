"""Results and predictions of a protocol, and their files."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from mmsimclr.environment import flags, hardware, versions
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.features import FeatureFiles
from mmsimclr.files import atomic_writer, check_fields, read_json, read_npz, shipped_root, write_json


@dataclass(frozen=True)
class Predictions:
    """Predictions for N images, in the order of their dataset.

    Attributes:
        labels: The truth: classes, int64 [N]; or for several classes an image, int64 [N, K] with 1 where
            the class is present, 0 where it is absent and -1 where the image does not count for it.
        predicted: Predicted classes, int64 [N]; or scores, float32 [N, K], for labels [N, K].
        images: Names of the images, str [N]; their numbers where they have no names.
    """

    labels: np.ndarray
    predicted: np.ndarray
    images: np.ndarray

    def __post_init__(self) -> None:
        if self.labels.shape != self.predicted.shape or len(self.labels) != len(self.images):
            raise InputError('labels, predicted and images must be of the same images, got shapes '
                             f'{self.labels.shape}, {self.predicted.shape} and {self.images.shape}')

    def write(self, folder: str | Path) -> Path:
        """Write ``predictions.npz`` into a folder, whole or not at all; return its path."""
        path = Path(folder) / 'predictions.npz'
        with atomic_writer(path) as file:
            np.savez_compressed(file, labels=self.labels, predicted=self.predicted, images=self.images)
        return path


def read_predictions(path: str | Path) -> Predictions:
    """Read what :meth:`Predictions.write` wrote; FileNotFoundError or ValueError if it is not there."""
    if not Path(path).is_file():
        raise MissingFileError(f'no predictions at {path}')
    arrays = read_npz(path, 'predictions')
    if arrays.keys() != {'labels', 'predicted', 'images'}:
        raise InputError(f'{path} holds no predictions: it has {", ".join(arrays) or "nothing"}')
    labels, predicted, images = (arrays[name] for name in ('labels', 'predicted', 'images'))
    if labels.dtype != np.int64 or labels.ndim not in (1, 2) or images.dtype.kind != 'U' or images.ndim != 1 \
            or predicted.dtype != (np.int64, np.float32)[labels.ndim - 1] or not np.isfinite(predicted).all():
        raise InputError(f'{path} holds no predictions: labels are {labels.dtype} {list(labels.shape)}, '
                         f'predicted {predicted.dtype} {list(predicted.shape)}, all finite, and images '
                         f'{images.dtype} {list(images.shape)}')
    try:
        return Predictions(labels, predicted, images)
    except InputError as error:
        raise InputError(f'{path} holds no predictions: {error}') from error


def names_below(root: str | None, paths: np.ndarray | None, num_images: int) -> np.ndarray:
    """Return images' paths below the root of their data, str [N]; their numbers where there are no files."""
    # Results on the same images can then be compared wherever the data lay.
    if paths is None:
        return np.arange(num_images).astype(str)
    prefix = os.path.join(root, '') if root else ''
    return np.array([str(path).removeprefix(prefix) for path in paths])


def feature_names(features: FeatureFiles) -> np.ndarray:
    """Return the names of the images that features are of, str [N], as :func:`names_below` makes them."""
    # The root too is that of the data when they were extracted, which may have lain elsewhere.
    return names_below(features.manifest['images'].get('root'), features.paths, len(features))


DRAWN = ', drawn'                               # end of a part's name in images_sha256: each seed has its own


@dataclass
class Result:
    """Metric values and all that is needed to know what they mean and to get them again."""

    protocol: str                                        # its name, e.g. 'knn'
    metrics: dict[str, float]                            # by name, which ends in the unit
    num_images: dict[str, int]                           # by part, such as train and test
    seed: int
    settings: dict = field(default_factory=dict)         # what decided the values: k, pooling, crop, ...
    checkpoint: str | None = None                        # as of portable_path; None for a random encoder
    checkpoint_sha256: str | None = None
    checkpoint_layout: str | None = None
    tensors_loaded: tuple[int, int] | None = None        # filled and expected ones of the encoder
    predictions: str | None = None                       # file of those for each image, beside the result
    predictions_sha256: str | None = None
    dataset: str | None = None                           # name of the data, as published results call it
    config: str | None = None
    command: str | None = None                           # what makes this result
    wall_time_s: float | None = None
    versions: dict = field(default_factory=versions)
    hardware: dict = field(default_factory=hardware)
    flags: dict = field(default_factory=flags)           # deterministic algorithms, threads, ...
    series: dict[str, list[float]] = field(default_factory=dict)    # numbers of pictures

    def __post_init__(self) -> None:
        if self.tensors_loaded is not None:
            self.tensors_loaded = tuple(self.tensors_loaded)             # JSON has lists only
        self.checkpoint = portable_path(self.checkpoint) if self.checkpoint else None
        if self.config:                     # of one that comes with the package, the place in it
            shipped, path = shipped_root() / 'configs', Path(self.config).absolute()
            self.config = path.relative_to(shipped.parent).as_posix() if path.is_relative_to(shipped) \
                else portable_path(path)

    def images_but(self, *parts: str) -> dict[str, str]:
        """Return the hashes of its images by part, without parts whose names end so."""
        images = self.settings.get('images_sha256') or {}
        return {part: sha256 for part, sha256 in images.items() if not part.endswith(parts)}

    def write(self, path: str | Path) -> Path:
        """Write the result as JSON, whole or not at all; return the path."""
        return write_json(path, asdict(self))


_TEXT, _NUMBER, _NONE = (str,), (int, float), (type(None),)
# Types of the fields in JSON, and what old results lack.
TYPES = dict(
    protocol=_TEXT, metrics=(dict,), num_images=(dict,), seed=(int,), settings=(dict,),
    **dict.fromkeys(('checkpoint', 'checkpoint_sha256', 'checkpoint_layout', 'predictions',
                     'predictions_sha256', 'dataset', 'config', 'command'), _TEXT + _NONE),
    tensors_loaded=(list, *_NONE), wall_time_s=_NUMBER + _NONE, versions=(dict,), hardware=(dict,),
    flags=(dict,), series=(dict,))
SETTINGS = dict(encoder_address=_TEXT + _NONE, images_sha256=(dict, *_NONE), parts=(dict, *_NONE),
                changed_on_resume=(list, *_NONE), alarms=(list, *_NONE))
DEFAULTS = {name: None if type(None) in types else {} for name, types in TYPES.items()}


def read_result(path: str | Path) -> Result:
    """Read a result written by :meth:`Result.write`; FileNotFoundError or ValueError if it is none."""
    kind = 'a result of mmsimclr'
    content = check_fields(read_json(path, kind), str(path), kind, dict(
        protocol=(str,), metrics=(dict,), num_images=(dict,), seed=(int,)))
    content = check_fields({**DEFAULTS, **content}, str(path), kind, TYPES)
    if unknown := sorted(content.keys() - TYPES.keys()):
        raise InputError(f'{path} is not {kind}: it has the unknown key {unknown[0]!r:.80}')
    for name, types in (('metrics', (int, float)), ('num_images', (int,))):
        check_fields(content[name], str(path), f'{kind}, in {name}', dict.fromkeys(content[name], types))
    settings = content['settings']
    check_fields({**dict.fromkeys(SETTINGS), **settings}, str(path), f'{kind}, in settings', SETTINGS)
    parts, resumes = settings.get('parts') or {}, settings.get('changed_on_resume') or ()
    check_fields(parts, str(path), f'{kind}, in parts', dict.fromkeys(parts, (str,)))
    for resume in resumes:
        for change in check_fields(resume, str(path), kind, dict(changes=(list,)))['changes']:
            check_fields(change, str(path), kind, dict(key=(str,)))
    loaded = content['tensors_loaded']
    if loaded is not None and [type(count) for count in loaded] != [int, int]:
        raise InputError(f'{path} is not {kind}: tensors_loaded must be two integers, got {loaded!r:.80}')
    return Result(**content)


def write_csv(path: str | Path, rows: Iterable[Sequence]) -> None:
    """Write a table, whole or not at all; paths that are no text keep their bytes."""
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows(rows)
    with atomic_writer(path) as file:
        file.write(text.getvalue().encode(errors='surrogateescape'))


def portable_path(path: str | Path) -> str:
    """Return a path relative to the current folder if it lies below it, else as it is."""
    path = Path(path).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
