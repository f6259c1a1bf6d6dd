"""Figures of studies: heat maps, bars, pictures of a representation; readable at 800 pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mmsimclr.errors import InputError

#: Okabe and Ito's colours, which the colour-blind tell apart (Wong 2011, Nature Methods 8, 441), without
#: their yellow, which is hardly seen on white.
COLORS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#000000')
WIDTH_IN, DPI = 8.0, 110
PANELS = 'measured here', 'published'                        # with axes of their own: the settings differ
# Text of an SVG stays text, and equal figures are equal files.
_SVG = {'svg.fonttype': 'none', 'svg.hashsalt': 'mmsimclr'}


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
        axis.spines[['top', 'right']].set_visible(False)
    handles = {name: handle for axis in axes for handle, name in zip(
        *axis.get_legend_handles_labels(), strict=True)}
    if len(handles) > 1:
        figure.legend(handles.values(), handles, loc='outside lower center', ncols=min(5, len(handles)),
                      frameon=False, fontsize=9)
    return figure


def representation(series: Mapping[str, Sequence[float]], eigenvalues: Mapping[str, Sequence[float]],
                   title: str) -> Figure:
    """Draw the series of :class:`mmsimclr.protocols.Representation`, and spectra by name.

    Maps of h and g(h), cosines of pairs, pixels of crops of one image, and eigenvalues of W Wᵀ.

    Source:
        The forms of Chen et al. 2020, figures 6, 10 and 11.
    """
    figure = Figure(figsize=(WIDTH_IN, 11.5), layout='constrained')
    figure.suptitle(title, fontsize=12)
    maps, cosines, pixels, spectra = figure.subfigures(4, 1, height_ratios=(4, 2.4, 2.6, 2.6))
    for axis, stage, name in zip(maps.subplots(1, 2), ('pooled', 'projection'), ('h', 'g(h)'), strict=True):
        axis.scatter(series[f'map_{stage}_x'], series[f'map_{stage}_y'], c=series['labels'], s=9,
                     cmap='tab10')
        axis.set(title=f't-SNE of {name}, coloured by class', xticks=[], yticks=[])
    names = {'pooled_before': 'h, before training', 'pooled_after': 'h', 'projection_after': 'g(h)'}
    for axis, (key, name) in zip(cosines.subplots(1, 3), names.items(), strict=True):
        for kind, color in zip(('positive', 'negative'), COLORS, strict=False):
            _steps(axis, series[f'{kind}_cosine_{key}'], (-1, 1), color, f'{kind} pairs')
        axis.set(title=f'cosines of {name}', yticks=[])
    axis.legend(frameon=False, fontsize=8, loc='upper left')
    rows = pixels.subplots(2, 4, sharex=True, sharey='row')
    for (step, name), row in zip({'crop': 'crops', 'view': 'crops with colour'}.items(), rows, strict=True):
        for number, axis in enumerate(row):
            _steps(axis, series[f'pixels_{step}_{number}'], (0, 255), COLORS[2], None)
            axis.set(yticks=[])
        row[0].set_ylabel(name, fontsize=8)
    pixels.suptitle('pixels of four crops of one image', fontsize=10)
    axis = spectra.subplots()
    for (name, values), color in zip(eigenvalues.items(), COLORS, strict=False):
        axis.semilogy(np.arange(1, len(values) + 1), values, color=color, label=name)
    axis.set(title='eigenvalues of W Wᵀ of the first layer of the head', xlabel='number')
    axis.legend(frameon=False, fontsize=8)
    for axis in figure.get_axes():
        axis.title.set_fontsize(10)
        axis.spines[['top', 'right']].set_visible(False)
        axis.tick_params(labelsize=8)
    return figure


def _steps(axis: Axes, shares: Sequence[float], span: tuple[float, float], color: str, name: str | None
           ) -> None:
    axis.stairs(shares, np.linspace(*span, len(shares) + 1), fill=True, alpha=0.55, color=color, label=name)


def _panels(number: int, height_in: float, title: str) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(WIDTH_IN, height_in), layout='constrained')
    figure.suptitle(title, fontsize=12)
    axes = figure.subplots(1, number, squeeze=False)[0]
    if number > 1:
        for axis, name in zip(axes, PANELS, strict=True):
            axis.set_title(name, fontsize=10)
    return figure, axes


def _same_lengths(name: str, got: tuple[int, ...], of: str, wanted: tuple[int, ...]) -> None:
    if got != wanted:
        raise InputError(f'{name} must have the shape {list(wanted)} of {of}, got {list(got)}')
