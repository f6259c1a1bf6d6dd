"""Figures of a run: training curves, views, nearest neighbours."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mmengine.dataset import BaseDataset, Compose
from mmengine.logging import MessageHub, print_log
from numpy import ndarray

from mmsimclr.errors import InputError, MissingFileError, UserError
from mmsimclr.evaluation.atlas import neighbours as neighbours_of_each
from mmsimclr.evaluation.shape_bias import Decisions, category_classes
from mmsimclr.features import Embedder
from mmsimclr.features.thumbnails import thumbnail
from mmsimclr.files import check_fields, parse_json, read_text
from mmsimclr.registry import DATASETS
from mmsimclr.transforms import MultiView, as_rgb, shown_limits

MAX_LOG_BYTES = 1_000_000_000
RIGHT, WRONG = '#2a9d55', '#d1495b'                          # frames of neighbours


def read_scalars(work_dir: str | Path) -> list[dict]:
    """Return the scalars of a work directory's newest run, as logged; FileNotFoundError if there are none.

    Of a resumed run each part has a log: an earlier one counts up to the step that the next begins with.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        raise MissingFileError(f'no */vis_data/scalars.json in {work_dir}: no run has logged there yet')
    entries: list[dict] = []
    for file in files:
        lines = read_text(file, kind := 'a log of scalars', MAX_LOG_BYTES).splitlines()
        # A loss may be NaN; a line that a killed run cut off is no line.
        found = [check_fields(parse_json(line, str(file), kind, finite=False), str(file), kind, {})
                 for line in lines if line.endswith('}')]
        first = min((step for each in found if isinstance(step := each.get('step'), int)), default=np.inf)
        entries = [each for each in entries
                   if isinstance(each.get('step'), int) and each['step'] < first] + found
    return entries


def points_of(scalars: list[dict], name: str, factor: float = 1.0) -> list[tuple[int, float]]:
    """Return steps and values, times a factor, of a scalar, where it is finite."""
    return [(entry['step'], factor * entry[name]) for entry in scalars
            if isinstance(entry.get(name), float) and isinstance(entry.get('step'), int)
            and math.isfinite(entry[name])]


def save_training_curves(scalars: list[dict], path: str | Path) -> Path:
    """Draw loss, contrastive and online k-NN accuracy of :func:`read_scalars`, and return the path.

    Raises:
        ValueError: If the scalars hold no loss.
    """
    losses, knn = points_of(scalars, 'loss'), points_of(scalars, 'knn_accuracy')
    accuracy = points_of(scalars, 'contrastive_accuracy', 100)
    if not losses:
        raise InputError('the scalars hold no loss: was this a pre-training run?')

    figure = Figure(figsize=(8, 3.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    left.plot(*zip(*losses, strict=True), color='#1f5fa8')
    left.set(xlabel='iteration', ylabel='NT-Xent loss (nats)')
    for points, label, style in ((accuracy, 'contrastive', dict(color='#e08e2b')),
                                 (knn, 'online k-NN', dict(color='#2a9d55', marker='o'))):
        if points:
            right.plot(*zip(*points, strict=True), label=label, **style)
    right.set(xlabel='iteration', ylabel='accuracy (%)', ylim=(0, 100))
    if accuracy or knn:
        right.legend(frameon=False)
    for axis in (left, right):
        axis.grid(alpha=0.25)
        axis.spines[['top', 'right']].set_visible(False)
    return _save(figure, path)


def original_and_views(dataset: BaseDataset, index: int) -> tuple[ndarray, list[ndarray]]:
    """Return an image as its ``MultiView`` step receives it, [H, W, C]; and the views.

    Raises:
        ValueError: If the pipeline has no ``MultiView`` step.
    """
    pipeline = getattr(dataset, 'dataset', dataset).pipeline             # also of ReplaceUnreadable
    steps = pipeline.transforms if isinstance(pipeline, Compose) else list(pipeline)
    results = dataset.get_data_info(index)
    for step in steps:
        if isinstance(step, MultiView):
            image = results['img']
            original = image.decode() if hasattr(image, 'decode') else np.array(image)
            return original, step(results)['img']
        results = step(results)
    raise InputError(f'the pipeline of {type(dataset).__name__} has no MultiView step, so there are no '
                     'views to show')


def image_and_draws(dataset: BaseDataset, index: int, num_draws: int) -> list[ndarray]:
    """Return an image and, behind it, the views of several draws, as :func:`original_and_views` does."""
    draws = [original_and_views(dataset, index) for _ in range(num_draws)]
    return [draws[0][0], *(view for _, views in draws for view in views)]


def save_views_sheet(dataset: BaseDataset, path: str | Path, indices: Sequence[int], num_draws: int = 4,
                     bands: Sequence[int] | None = None, colormap: str | None = None) -> Path:
    """Draw images beside several random draws of their views; return the path.

    Args:
        dataset: A dataset whose pipeline has a ``MultiView`` step.
        path: Picture to write.
        indices: Images to show, one a row.
        num_draws: Draws of the whole set of views per image, >= 1.
        bands: Of :func:`~mmsimclr.transforms.as_rgb`. Other images than 8-bit RGB, and their views, are shown
            with the contrast of the image.
        colormap: Of the same.
    """
    queries, views = [], []
    for index in indices:
        images = image_and_draws(dataset, index, num_draws)
        image, *drawn = (as_rgb(each, bands, colormap, shown_limits(images[0])) for each in images)
        queries.append(image)
        views.append(drawn)
    return save_neighbour_sheet(path, queries, {'random views': views}, ['image', *[''] * len(queries)])


def save_neighbour_sheet(path: str | Path, queries: Sequence[ndarray],
                         blocks: Mapping[str, Sequence[Sequence[ndarray]]], names: Sequence[str] = (),
                         right: Mapping[str, Sequence[Sequence[bool]]] | None = None) -> Path:
    """Draw query images and, for each of several encoders, their nearest neighbours; return the path.

    Args:
        path: Picture to write.
        queries: Query images, each uint8 [H, W, 3].
        blocks: By each encoder's title, the images of each query's neighbours, nearest first.
        names: What stands above each query.
        right: By title, whether a neighbour is of the query's class: then its frame is green, else red.
    """
    ratios = [1.0]                                           # an empty column goes before each block
    for images in blocks.values():
        ratios += [0.35, *[1.0] * len(images[0])]
    figure = Figure(figsize=(len(ratios), 1.05 * len(queries) + 0.5))
    axes = figure.subplots(len(queries), len(ratios), squeeze=False, gridspec_kw=dict(width_ratios=ratios))
    for axis in axes.flat:
        axis.set_axis_off()
    for row, query in enumerate(queries):
        _show(axes[row][0], query)
        if names:
            axes[row][0].set_title(names[row], fontsize=8, pad=2)
        column = 1
        for title, images in blocks.items():
            column += 1
            for offset, image in enumerate(images[row]):
                axis = axes[row][column + offset]
                _show(axis, image)
                if right:
                    axis.set_axis_on()
                    axis.set(xticks=[], yticks=[])
                    axis.spines[:].set(color=RIGHT if right[title][row][offset] else WRONG, linewidth=3)
            if row == 0:
                axes[0][column].set_title(title, fontsize=10, loc='left')
            column += len(images[row])
    return _save(figure, path)


def _show(axis: Axes, image: ndarray) -> None:
    axis.imshow(image, interpolation='nearest' if image.shape[0] < 100 else None)


def save_shape_bias_figure(path: str | Path, observers: Sequence[Decisions]) -> Path:
    """Draw each observer's shape bias, a dot for each shape and a line for all stimuli; return the path.

    The shapes are in the order of the last observer's bias. Source: Geirhos et al. 2019, Figure 4.
    """
    last = observers[-1].by_category()
    order = sorted(category_classes(), key=lambda name: -last.get(name, 0))
    figure = Figure(figsize=(6, 5), layout='constrained')
    axis = figure.subplots()
    for number, observer in enumerate(observers):
        dots = observer.by_category()
        axis.scatter([1 - dots[name] / 100 for name in dots], [order.index(name) for name in dots],
                     label=observer.observer, color=f'C{number}', zorder=3, clip_on=False)
        axis.axvline(1 - observer.bias().percent / 100, color=f'C{number}')
    axis.set(xlim=(0, 1), xlabel="share of 'texture' decisions", yticks=range(len(order)), yticklabels=order)
    axis.secondary_xaxis('top', functions=(lambda x: 1 - x,) * 2).set_xlabel("share of 'shape' decisions")
    axis.grid(axis='y', linestyle=':')
    figure.legend(loc='outside lower center', ncols=2, frameon=False)
    return _save(figure, path)


def _save(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches='tight', facecolor='white')
    return path


NUM_ROWS, NUM_NEIGHBOURS, NUM_DRAWS = 8, 8, 4
MAX_BANK, SIDE_PX = 500, 96


def save_run_pictures(work_dir: str | Path, dataset: Mapping[str, Any]) -> list[Path]:
    """Draw ``curves.png``, ``views.png`` and ``neighbours.png`` of a run; return those that could be drawn.

    Neighbours are the nearest of up to :data:`MAX_BANK` training images, without those that the run that has
    just ended could not read. Of what cannot be drawn, such as views without ``MultiView``, the log says why.

    Args:
        work_dir: Where the run has left its log and its checkpoint.
        dataset: Config of the training images, with the pipeline that makes the views.
    """
    folder, images = Path(work_dir), DATASETS.build(dataset)
    ok = np.setdiff1d(range(len(images)), MessageHub.get_current_instance().get_info('unreadable_images', []))
    rows, bank = (ok[np.unique(np.linspace(0, len(ok) - 1, count).astype(int))].tolist()
                  for count in (NUM_ROWS, MAX_BANK))

    def neighbours(path: Path) -> Path:
        items = [images.get_data_info(index) for index in bank]
        pixels = [each.get('img_path', each.get('img')) for each in items]
        _, nearest = neighbours_of_each(Embedder(folder)(pixels), NUM_NEIGHBOURS)
        shown = [thumbnail(item, SIDE_PX)[0] for item in items]
        queries = np.unique(np.linspace(0, len(bank) - 1, NUM_ROWS).astype(int))
        return save_neighbour_sheet(path, [shown[query] for query in queries], {
            'nearest neighbours': [[shown[index] for index in row] for row in nearest[queries]]})

    pictures = {
        'curves.png': lambda path: save_training_curves(read_scalars(folder), path),
        'views.png': lambda path: save_views_sheet(images, path, rows, NUM_DRAWS),
        'neighbours.png': neighbours}
    saved = []
    for name, draw in pictures.items():
        try:
            saved.append(draw(folder / name))
        except (UserError, OSError) as error:
            print_log(f'{name} is not drawn: {error}', 'current', logging.WARNING)
    return saved
