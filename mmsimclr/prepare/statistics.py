"""Statistics of the images below a folder, in one pass: channels, types, sizes, values of each channel."""

import hashlib
import json
import math
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy import ndarray

from mmsimclr.datasets import UnlabeledImageFolder
from mmsimclr.environment import num_usable_cores
from mmsimclr.errors import InputError
from mmsimclr.files import atomic_writer, parse_json, read_npz
from mmsimclr.transforms import ImageReadError, read_raster

PERCENTS = (0.1, 1, 50, 99, 99.9)
BINS = 1 << 16
CHUNK = 16                                  # images that a process reads at a time
SAVE_S = 10.0
EXAMPLES = 5                                # of sizes, and of images that cannot be read
_SIGN, _OTHERS = np.uint32(1 << 31), np.uint32((1 << 31) - 1)


@dataclass
class ChannelValues:
    """What is known of the values of images of one number of channels and one type."""

    dtype: str
    example: str                            # an image of them
    num_images: int
    num_values: int                         # of a channel
    mean: ndarray                           # [C], as the next three
    squares: ndarray                        # sum of the squared differences from the mean
    lowest: ndarray
    highest: ndarray
    histogram: ndarray                      # int64 [C, BINS], see bins_of

    @classmethod
    def of_image(cls, values: ndarray, name: str) -> 'ChannelValues':
        """Return what an image, [H, W, C], says by itself."""
        rows = values.reshape(-1, values.shape[2]).T                      # [C, H · W]
        mean = rows.mean(axis=1, dtype=np.float64)
        squares = np.array([np.square(row - centre).sum() for row, centre in zip(rows, mean, strict=True)])
        histogram = np.stack([np.bincount(bins_of(row), minlength=BINS) for row in rows])
        return cls(values.dtype.name, name, 1, rows.shape[1], mean, squares, rows.min(axis=1).astype(float),
                   rows.max(axis=1).astype(float), histogram)

    def add(self, other: 'ChannelValues') -> None:
        """Take in what others say, as if all had been seen together.

        Source:
            Chan, Golub and LeVeque 1979, Updating formulae and a pairwise algorithm, equation 2.1.
        """
        total, apart = self.num_values + other.num_values, other.mean - self.mean
        self.squares = self.squares + other.squares + apart**2 * self.num_values * other.num_values / total
        self.mean = self.mean + apart * other.num_values / total
        self.lowest = np.minimum(self.lowest, other.lowest)
        self.highest = np.maximum(self.highest, other.highest)
        self.histogram = self.histogram + other.histogram
        self.num_values, self.num_images = total, self.num_images + other.num_images

    @property
    def deviation(self) -> ndarray:
        """Standard deviation of each channel."""
        return np.sqrt(self.squares / self.num_values)

    def percentiles(self) -> ndarray:
        """Return the values below which ``PERCENTS`` of a channel lie, [P, C]; of floats within 0.4 %."""
        below = self.histogram.cumsum(axis=1)
        found = [[np.searchsorted(row, max(1, math.ceil(percent / 100 * row[-1]))) for row in below]
                 for percent in PERCENTS]
        return np.clip(values_of(np.array(found), self.dtype), self.lowest, self.highest)


def bins_of(values: ndarray) -> ndarray:
    """Return the bins of values, int64 in [0, 65536), in their order: of integers one for each.

    Of float32 those are the upper 16 bits of the number, turned around where it is negative.
    """
    if values.dtype.kind in 'iu':
        return values.astype(np.int64) - np.iinfo(values.dtype).min
    bits = np.ascontiguousarray(values + np.float32(0)).view(np.uint32)          # no -0
    return (np.where(bits & _SIGN, ~bits, bits | _SIGN) >> np.uint32(16)).astype(np.int64)


def values_of(bins: ndarray, dtype: str) -> ndarray:
    """Return the values of bins, float64; of float32 the middle ones."""
    if np.dtype(dtype).kind in 'iu':
        return bins + float(np.iinfo(dtype).min)
    ordered = (bins.astype(np.uint32) << np.uint32(16)) | np.uint32(1 << 15)
    bits = np.where(ordered & _SIGN, ordered & _OTHERS, ~ordered).astype(np.uint32)
    with np.errstate(invalid='ignore'):                     # bins of NaN
        return bits.view(np.float32).astype(float)


@dataclass
class FolderStatistics:
    """What is known of a folder: values by number of channels and type, sizes, and what cannot be read."""

    groups: dict[tuple[int, str], ChannelValues] = field(default_factory=dict)
    sizes: dict[tuple[int, int], tuple[int, str]] = field(default_factory=dict)    # number and an example
    unreadable: list[str] = field(default_factory=list)                            # reasons, with the names

    def add(self, other: 'FolderStatistics') -> None:
        """Take in what is known of other images."""
        for kind, values in other.groups.items():
            self.groups[kind].add(values) if kind in self.groups else self.groups.update({kind: values})
        for size, (count, example) in other.sizes.items():
            known, first = self.sizes.get(size, (0, example))
            self.sizes[size] = known + count, first
        self.unreadable += other.unreadable

    def of_most(self) -> ChannelValues:
        """Return the values of the kind that most images are of; raise InputError if none could be read."""
        if not self.groups:
            raise InputError(f'none of the {len(self.unreadable)} images can be read: {self.unreadable[0]}')
        return max(self.groups.values(), key=lambda values: values.num_images)


def folder_statistics(folder: str | Path, out: str | Path, workers: int | None = None,
                      progress: Callable[[int, int], None] = lambda done, total: None) -> FolderStatistics:
    """Read every image below a folder, on all cores, and return what there is.

    An interrupted pass goes on from where it was, or at most ``SAVE_S`` seconds before, by the file
    ``OUT.partial.npz``, if the folder still has the same images.

    Args:
        folder: The folder, of any depth.
        out: Path of the results, without an ending.
        workers: Processes; by default one for each core.
        progress: Called with (images done, images in all).
    """
    images = UnlabeledImageFolder(str(folder))
    paths = [images.get_data_info(index)['img_path'] for index in range(len(images))]
    listed = hashlib.sha256('\0'.join(paths).encode(errors='surrogateescape')).hexdigest()
    partial = Path(f'{out}.partial.npz')
    partial.parent.mkdir(parents=True, exist_ok=True)
    found, done = _read_partial(partial, listed)
    chunks = [paths[start:start + CHUNK] for start in range(done, len(paths), CHUNK)]
    saved, whole = time.monotonic(), True
    try:
        for part in _results(chunks, min(workers or num_usable_cores(), len(chunks))):
            progress(done, len(paths))
            whole = False                                   # or Ctrl-C would leave a part of it in
            found.add(part)
            done, whole = min(done + CHUNK, len(paths)), True
            if time.monotonic() - saved >= SAVE_S:
                _write_partial(partial, found, done, listed)
                saved = time.monotonic()
    except BaseException:
        if whole:
            _write_partial(partial, found, done, listed)
        raise
    progress(done, len(paths))
    partial.unlink(missing_ok=True)
    return found


def _results(chunks: list[list[str]], workers: int) -> Iterator[FolderStatistics]:
    if workers <= 1:
        yield from map(_of_files, chunks)
        return
    with ProcessPoolExecutor(workers, get_context('fork')) as pool:           # as loaders do
        yield from pool.map(_of_files, chunks)


def _of_files(paths: Sequence[str]) -> FolderStatistics:
    found = FolderStatistics()
    for path in paths:
        try:
            values = read_raster(path).values
        except ImageReadError as error:
            found.unreadable.append(str(error))
            continue
        kind = values.shape[2], values.dtype.name
        one = ChannelValues.of_image(values, path)
        found.add(FolderStatistics({kind: one}, {values.shape[:2]: (1, path)}))
    return found


def _write_partial(path: Path, found: FolderStatistics, done: int, listed: str) -> None:
    known = dict(listed=listed, done=done, unreadable=found.unreadable, groups=len(found.groups),
                 sizes=[[*size, *facts] for size, facts in found.sizes.items()])
    arrays = {f'{place} {name}': value for place, values in enumerate(found.groups.values())
              for name, value in vars(values).items()}
    with atomic_writer(path) as file:
        np.savez(file, known=np.array(json.dumps(known)), **arrays)


def _read_partial(path: Path, listed: str) -> tuple[FolderStatistics, int]:
    """Return what an interrupted pass over the same images has found, and after how many; or nothing."""
    arrays = read_npz(path, 'statistics of a folder') if path.exists() else {}
    known = parse_json(str(arrays['known']), str(path), 'statistics of a folder') if arrays else {}
    found = FolderStatistics()
    if known.get('listed') != listed:
        return found, 0
    found.sizes = {(height, width): (count, name) for height, width, count, name in known['sizes']}
    found.unreadable = known['unreadable']
    for place in range(known['groups']):
        parts = {name: arrays[f'{place} {name}'] for name in ChannelValues.__dataclass_fields__}
        values = ChannelValues(**{name: part if part.ndim else part.item() for name, part in parts.items()})
        found.groups[len(values.mean), values.dtype] = values
    return found, known['done']


def suggested_settings(values: ChannelValues) -> dict[str, Any]:
    """Return the variables of a config for images of such values, by name.

    The range is that of 8 bits, or else from the lowest 0.1th percentile of a channel to the highest 99.9th.
    Mean and deviation are of the values clipped to it, on the scale of 0 to 255; of floats within 0.4 %.
    """
    low, high = 0, 255
    if values.dtype != 'uint8':
        lowest, *_, highest = values.percentiles()
        number, digits = (float, '.4g') if values.dtype == 'float32' else (int, '.0f')
        low, high = (number(format(end, digits)) for end in (lowest.min(), highest.max()))
    high = high if low < high else low + 1
    levels = np.nan_to_num((values_of(np.arange(BINS), values.dtype) - low) / (high - low)).clip(0, 1) * 255
    mean = values.histogram @ levels / values.num_values
    squares = (values.histogram * (levels - mean[:, None])**2).sum(axis=1)
    deviation = np.maximum(np.sqrt(squares / values.num_values), 1.0)
    return dict(channels=len(mean), value_range=(low, high), dtype=values.dtype,
                mean=mean.round(2).tolist(), std=deviation.round(2).tolist())


def report_lines(found: FolderStatistics) -> list[str]:
    """Return what a folder holds, what is mixed in it, and the lines for a config, for people."""
    most = found.of_most()
    kinds = sorted(found.groups.values(), key=lambda values: -values.num_images)
    lines = [f'{values.num_images:,} images of {len(values.mean)} channels of {values.dtype}, such as '
             f'{values.example}' for values in kinds]
    if len(kinds) > 1:
        lines.append('MIXED: an encoder takes images of one number of channels and one type; move the others '
                     'away. What follows is of the first line')
    sizes = sorted(found.sizes.items(), key=lambda item: -item[1][0])
    lines += [f'{count:,} images of {width} x {height} pixels, such as {example}'
              for (height, width), (count, example) in sizes[:EXAMPLES]]
    if len(sizes) > EXAMPLES:
        (low, narrow), *_, (high, wide) = sorted(found.sizes, key=math.prod)
        lines.append(f'and {len(sizes) - EXAMPLES:,} other sizes, from {narrow} x {low} to {wide} x {high}')
    if found.unreadable:
        lines += [f'{len(found.unreadable):,} images cannot be read, such as:', *found.unreadable[:EXAMPLES]]
    lines += ['', 'channel ' + ''.join(f'{name:>11}' for name in (
        'lowest', *(f'{percent:g}%' for percent in PERCENTS), 'highest', 'mean', 'deviation'))]
    columns = np.stack([most.lowest, *most.percentiles(), most.highest, most.mean, most.deviation], axis=1)
    lines += [f'{place:7} ' + ''.join(f'{value:11.5g}' for value in row) for place, row in enumerate(columns)]
    settings = suggested_settings(most)
    return [*lines, '', 'for the top of simclr_resnet18-w32_1xb128-coslr-120e_multiband.py (photographs need '
            'none of it: ..._folder.py):', *(f'{name} = {value!r}' for name, value in settings.items()),
            '', 'or on the command line:',
            shlex.join(f'{name}={value}'.replace(' ', '') for name, value in settings.items())]


def save_histogram(values: ChannelValues, path: str | Path, bars: int = 200) -> Path:
    """Draw the histogram of each channel, without the rarest values, as PNG; return the path."""
    low, *_, high = values.percentiles()
    edges = np.linspace(low.min(), max(high.max(), low.min() + 1e-6), bars + 1)
    if values.dtype != 'float32' and edges[-1] - edges[0] < bars:                    # one for each integer
        edges = np.arange(edges[0] - 0.5, edges[-1] + 1)
    places = values_of(np.arange(BINS), values.dtype)
    inside = np.isfinite(places)
    ends = np.convolve(np.pad(places[inside], 1, 'reflect', reflect_type='odd'), (0.5, 0.5), 'valid')
    figure = Figure(figsize=(8, 4), layout='constrained')
    axis, colours = figure.subplots(), colormaps['turbo'](np.linspace(0.05, 0.95, len(values.mean)))
    for channel, counts in enumerate(values.histogram):
        heights = np.diff(np.interp(edges, ends, np.append(0, counts[inside].cumsum())))
        axis.stairs(heights / values.num_values, edges, label=f'{channel}', color=colours[channel])
    axis.set(xlabel=f'value ({values.dtype})', ylabel='share of the pixels')
    axis.legend(title='channel', frameon=False, ncols=1 + len(values.mean) // 10, fontsize=8)
    axis.spines[['top', 'right']].set_visible(False)
    figure.savefig(path, dpi=110, format='png')
    return Path(path)
