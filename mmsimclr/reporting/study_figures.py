"""Figures of studies: heat maps, bars, curves, histograms, spectra and maps of embeddings.

Each function returns a matplotlib figure, readable at 800 pixels; :func:`save_figure` writes it as PNG and
SVG. Published numbers have a panel of their own, beside ours, with axes of its own: the settings differ.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from mmsimclr.errors import InputError

#: Okabe and Ito's colours, which the colour-blind tell apart (Wong 2011, Nature Methods 8, 441), without
#: their yellow, which is hardly seen on white.
COLORS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#000000')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')
WIDTH_IN, DPI = 8.0, 110
PANELS = 'measured here', 'published'
# Text of an SVG stays text, and equal figures are equal files.
_SVG = {'svg.fonttype': 'none', 'svg.hashsalt': 'mmsimclr'}

Band = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike]


def save_figure(figure: Figure, path: str | Path) -> list[Path]:
    """Write a figure as PNG and as SVG, with these suffixes in place of ``path``'s; return the paths."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    paths = [path.with_suffix(suffix) for suffix in ('.png', '.svg')]
    with matplotlib.rc_context(_SVG):
        figure.savefig(paths[0], dpi=DPI, facecolor='white')
        figure.savefig(paths[1], facecolor='white', metadata={'Date': None})
    return paths


def heat_map(values: ArrayLike, rows: Sequence[str], columns: Sequence[str], title: str,
             published: ArrayLike | None = None, row_label: str = 'first transformation',
             column_label: str = 'second transformation') -> Figure:
    """Draw a table of numbers, [R, C], as colours with the means of its rows; NaN is an empty cell.

    Source:
        The form of Chen et al. 2020, figure 5.
    """
    panels = [np.asarray(part, float) for part in (values, published) if part is not None]
    for panel in panels:
        _same_lengths('values', panel.shape, 'rows and columns', (len(rows), len(columns)))
    height_in = min(WIDTH_IN / len(panels), 6) * len(rows) / (len(columns) + 3) + 1.4
    figure, axes = _panels(len(panels), height_in, title)
    for axis, panel in zip(axes, panels, strict=True):
        counts = np.isfinite(panel).sum(axis=1)
        means = np.where(counts, np.nansum(panel, axis=1) / np.maximum(counts, 1), np.nan)
        finite = panel[np.isfinite(panel)]
        low, high = (finite.min(), finite.max()) if len(finite) else (0, 1)
        # The means stand apart, behind an empty half of a column.
        for block, left in ((panel, 0), (means[:, None], len(columns) + 0.5)):
            axis.imshow(block, cmap='viridis', vmin=low, vmax=high, aspect='auto',
                        extent=(left - 0.5, left + block.shape[1] - 0.5, len(rows) - 0.5, -0.5))
            for row, column in zip(*np.nonzero(np.isfinite(block)), strict=True):
                value = block[row, column]
                dark = (value - low) < 0.6 * (high - low)
                axis.text(left + column, row, f'{value:.1f}', ha='center', va='center',
                          fontsize=10 if len(panels) == 1 else 7.5, color='white' if dark else 'black')
        axis.set(xlim=(-0.5, len(columns) + 1), ylim=(len(rows) - 0.5, -0.5), yticks=range(len(rows)),
                 xlabel=column_label, ylabel=row_label, xticks=[*range(len(columns)), len(columns) + 0.5])
        axis.set_yticklabels(rows)
        axis.set_xticklabels([*columns, 'mean'], rotation=45, ha='right', rotation_mode='anchor')
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    return figure


def bars(series: Mapping[str, ArrayLike], labels: Sequence[str], title: str, ylabel: str,
         errors: Mapping[str, ArrayLike] | None = None,
         published: Mapping[str, ArrayLike] | None = None) -> Figure:
    """Draw bars in groups, one group for each label, one bar in it for each series [len(labels)].

    ``errors`` are half lengths of error bars, by series, such as the deviation over seeds.
    """
    parts = [(series, errors or {})] + ([(published, {})] if published else [])
    figure, axes = _panels(len(parts), 3.6, title)
    names = list(dict.fromkeys(name for part, _ in parts for name in part))
    for axis, (part, deviations) in zip(axes, parts, strict=True):
        width = 0.8 / len(part)
        narrow = WIDTH_IN / len(parts) / len(labels) * width < 0.45
        for place, (name, heights) in enumerate(part.items()):
            heights = np.asarray(heights, float)
            _same_lengths(f'series {name!r}', heights.shape, 'labels', (len(labels),))
            left = np.arange(len(labels)) - 0.4 + (place + 0.5) * width
            axis.bar(left, heights, 0.92 * width, label=name, color=COLORS[names.index(name) % len(COLORS)],
                     yerr=deviations.get(name), error_kw=dict(elinewidth=1.2, capsize=3))
            for x, height in zip(left, heights, strict=True):
                if np.isfinite(height):
                    axis.annotate(f'{height:.1f}', (x, 0), xytext=(0, 4), textcoords='offset points',
                                  ha='center', fontsize=8, rotation=90 if narrow else 0,
                                  bbox=dict(boxstyle='round,pad=0.15', facecolor='white', alpha=0.85, lw=0))
        axis.set(ylabel=ylabel, xticks=range(len(labels)))
        turned = max(map(len, labels)) * len(labels) * len(parts) > 60
        axis.set_xticklabels(labels, rotation=30 if turned else 0, ha='right' if turned else 'center',
                             rotation_mode='anchor' if turned else 'default')
        axis.grid(axis='y', alpha=0.25)
    _finish(figure, axes)
    return figure


def curves(series: Mapping[str, Band], title: str, xlabel: str, ylabel: str, log_x: bool = False,
           published: Mapping[str, Band] | None = None) -> Figure:
    """Draw lines through (x, y) by name; a third array is the half width of a band around them."""
    parts = [series] + ([published] if published else [])
    figure, axes = _panels(len(parts), 3.6, title)
    names = list(dict.fromkeys(name for part in parts for name in part))
    for axis, part in zip(axes, parts, strict=True):
        for name, band in part.items():
            x, y, *width = (np.asarray(values, float) for values in band)
            _same_lengths(f'y of {name!r}', y.shape, 'x', x.shape)
            place = names.index(name)
            style = dict(color=COLORS[place % len(COLORS)])
            axis.plot(x, y, label=name, marker=MARKERS[place % len(MARKERS)] if len(x) <= 20 else None,
                      linestyle=('-', '--', ':')[place // len(COLORS) % 3], markersize=5, **style)
            if width:
                axis.fill_between(x, y - width[0], y + width[0], alpha=0.18, linewidth=0, **style)
        if log_x:
            axis.set_xscale('log', base=2)
            ticks = sorted({float(value) for band in part.values() for value in band[0]})
            if len(ticks) <= 12:
                axis.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
        axis.set(xlabel=xlabel, ylabel=ylabel)
        axis.grid(alpha=0.25)
    _finish(figure, axes)
    return figure


def histograms(grid: Sequence[Sequence[Mapping[str, ArrayLike]]], title: str, xlabel: str,
               column_titles: Sequence[str] = (), row_titles: Sequence[str] = (), num_bins: int = 50,
               span: tuple[float, float] | None = None) -> Figure:
    """Draw a grid of histograms with the same axes, as shares of the values.

    Each cell has values by name, which are drawn over each other: pixels of one crop, or the cosines of
    positive and of negative pairs.

    Source:
        The form of Chen et al. 2020, figure 6.
    """
    if len({len(row) for row in grid}) != 1 or not grid[0]:
        raise InputError(f'grid must be rows of the same number of cells, got {[len(row) for row in grid]}')
    cells = [{name: np.asarray(values, float).ravel() for name, values in cell.items()}
             for row in grid for cell in row]
    if span is None:
        everything = np.concatenate([values for cell in cells for values in cell.values()])
        span = float(everything.min()), float(everything.max())
    figure = Figure(figsize=(WIDTH_IN, max(2.6, 1.35 * len(grid)) + 0.8), layout='constrained')
    figure.suptitle(title, fontsize=12)
    axes = figure.subplots(len(grid), len(grid[0]), sharex=True, sharey=True, squeeze=False)
    names = list(dict.fromkeys(name for cell in cells for name in cell))
    for axis, cell in zip(axes.flat, cells, strict=True):
        for name, values in cell.items():
            color = COLORS[names.index(name) % len(COLORS)]
            style = dict(bins=num_bins, range=span, weights=np.full(len(values), 1 / max(1, len(values))))
            axis.hist(values, color=color, alpha=0.35 if len(cell) > 1 else 0.85, label=name, **style)
            if len(cell) > 1:
                axis.hist(values, color=color, histtype='step', linewidth=1.4, **style)
        axis.spines[['top', 'right']].set_visible(False)
        axis.set_xlim(span)
        axis.xaxis.set_major_locator(MaxNLocator(3 if len(grid[0]) > 3 else 6))
        axis.tick_params(labelsize=8)
    for axis, text in zip(axes[0], column_titles, strict=False):
        axis.set_title(text, fontsize=9 if len(grid[0]) <= 6 else 7)
    for axis, text in zip(axes[:, 0], row_titles, strict=False):
        axis.set_ylabel(text)
    figure.supxlabel(xlabel, fontsize=10)
    figure.supylabel('share of the values', fontsize=10)
    most = max(range(len(cells)), key=lambda place: len(cells[place]))
    if len(cells[most]) > 1:
        axes.flat[most].legend(frameon=False, fontsize=9)
    return figure


def spectrum(weights: Mapping[str, ArrayLike], title: str) -> Figure:
    """Draw the eigenvalues of W Wᵀ, largest first, on a logarithmic scale, for matrices W [D, C] by name.

    Source:
        The form of Chen et al. 2020, figure 10.
    """
    figure, (axis,) = _panels(1, 3.8, title)
    lowest = np.inf
    for place, (name, matrix) in enumerate(weights.items()):
        eigenvalues = np.linalg.svd(np.asarray(matrix, float), compute_uv=False) ** 2
        # What is lost in the digits of float32, in which weights are kept, is no eigenvalue to be shown.
        shown = eigenvalues > eigenvalues[0] * len(eigenvalues) * np.finfo(np.float32).eps ** 2
        lowest = min(lowest, eigenvalues[shown].min())
        axis.plot(np.arange(1, len(eigenvalues) + 1)[shown], eigenvalues[shown], label=name,
                  color=COLORS[place % len(COLORS)], linestyle=('-', '--', ':')[place % 3])
    axis.set(xlabel='number', ylabel='eigenvalue of W Wᵀ', yscale='log', ylim=(lowest / 2, None))
    axis.grid(alpha=0.25)
    _finish(figure, [axis])
    return figure


def embedding_map(points: Mapping[str, ArrayLike], labels: ArrayLike, class_names: Sequence[str],
                  title: str) -> Figure:
    """Draw images as points in the plane, [N, 2] by panel, in the colours and marks of their classes [N].

    Source:
        The form of Chen et al. 2020, figure 11, whose points are t-SNE's.
    """
    labels = np.asarray(labels)
    figure, axes = _panels(len(points), 1.0 * WIDTH_IN / len(points) + 0.9, title, list(points))
    for axis, places in zip(axes, points.values(), strict=True):
        places = np.asarray(places, float)
        _same_lengths('points', places.shape, 'labels and 2', (len(labels), 2))
        for number, name in enumerate(class_names):
            rows = labels == number
            axis.scatter(*places[rows].T, s=max(4, min(18, 9000 / len(labels))), label=name, linewidths=0,
                         color=COLORS[number % len(COLORS)], alpha=0.75,
                         marker=MARKERS[number % len(MARKERS)])
        axis.set(xticks=[], yticks=[], aspect='equal', adjustable='datalim')
    _legend(figure, axes, markerscale=1.8)
    return figure


def _panels(number: int, height_in: float, title: str, names: Sequence[str] = PANELS
            ) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(WIDTH_IN, height_in), layout='constrained')
    figure.suptitle(title, fontsize=12)
    axes = figure.subplots(1, number, squeeze=False)[0]
    for axis, name in zip(axes, names, strict=False):
        if number > 1 or names is not PANELS:
            axis.set_title(name, fontsize=10)
    return figure, axes


def _finish(figure: Figure, axes: Sequence[Axes]) -> None:
    for axis in axes:
        axis.spines[['top', 'right']].set_visible(False)
    _legend(figure, axes)


def _legend(figure: Figure, axes: Sequence[Axes], **style: float) -> None:
    """Put a legend of all panels below them, where there is more than one name."""
    handles = {name: handle for axis in axes for handle, name in zip(
        *axis.get_legend_handles_labels(), strict=True)}
    if len(handles) > 1:
        figure.legend(handles.values(), handles, loc='outside lower center', ncols=min(5, len(handles)),
                      frameon=False, fontsize=9, **style)


def _same_lengths(name: str, got: tuple[int, ...], of: str, wanted: tuple[int, ...]) -> None:
    if got != wanted:
        raise InputError(f'{name} must have the shape {list(wanted)} of {of}, got {list(got)}')
