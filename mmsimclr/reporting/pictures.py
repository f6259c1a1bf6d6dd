"""Sheets of images: views of a pipeline, nearest neighbours of queries."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mmengine.dataset import BaseDataset, Compose
from numpy import ndarray

from mmsimclr.transforms import MultiView
from mmsimclr.transforms.load_for_crops import EncodedImage

RIGHT, WRONG = '#2a9d55', '#d1495b'


def original_and_views(dataset: BaseDataset, index: int) -> tuple[ndarray, list[ndarray]]:
    """Return an image as its views' pipeline receives it, and the views.

    Args:
        dataset: A dataset whose pipeline has a ``MultiView`` step.
        index: Which image.

    Returns:
        The image, uint8 [H, W, 3], RGB; and its views, each uint8 [h, w, 3].

    Raises:
        ValueError: If the pipeline has no ``MultiView`` step.
    """
    pipeline = dataset.pipeline
    steps = pipeline.transforms if isinstance(pipeline, Compose) else list(pipeline)
    results = dataset.get_data_info(index)
    for step in steps:
        if isinstance(step, MultiView):
            image = results['img']
            original = image.decode() if isinstance(image, EncodedImage) else np.array(image)
            return original, step(results)['img']
        results = step(results)
    raise ValueError(f'the pipeline of {type(dataset).__name__} has no MultiView step, so there are no '
                     'views to show')


def save_views_sheet(dataset: BaseDataset, path: str | Path, indices: Sequence[int],
                     num_draws: int = 4) -> Path:
    """Draw images beside several random draws of their views.

    Args:
        dataset: A dataset whose pipeline has a ``MultiView`` step.
        path: Picture to write.
        indices: Images to show, one a row.
        num_draws: Draws of the whole set of views per image, >= 1.

    Returns:
        The path.
    """
    rows = []
    for index in indices:
        views = []
        for _ in range(num_draws):
            original, drawn = original_and_views(dataset, index)
            views += drawn
        rows.append([original, *views])
    columns = max(map(len, rows))
    figure = Figure(figsize=(1.1 * columns + 0.2, 1.1 * len(rows) + 0.4))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, images in zip(axes, rows, strict=True):
        for axis in row:
            axis.set_axis_off()
        for axis, image in zip(row, images, strict=False):
            axis.imshow(image, interpolation='nearest' if image.shape[0] < 100 else None)
    axes[0][0].set_title('image', fontsize=10)
    if columns > 1:
        axes[0][1].set_title('random views', fontsize=10, loc='left')
    return _save(figure, path)


def save_neighbour_sheet(path: str | Path,
                         queries: Sequence[ndarray],
                         query_labels: Sequence[int],
                         blocks: dict[str, tuple[Sequence[Sequence[ndarray]], Sequence[Sequence[int]]]],
                         class_names: Sequence[str]) -> Path:
    """Draw query images and, for each of several encoders, their nearest neighbours.

    Args:
        path: Picture to write.
        queries: Query images, each uint8 [H, W, 3].
        query_labels: Their classes.
        blocks: For each encoder, by its title: for each query its neighbours' images and classes,
            nearest first.
        class_names: Name of each class.

    Returns:
        The path. Neighbours of the query's class have a green frame, others a red one.
    """
    widths = [len(images[0]) for images, _ in blocks.values()]
    columns = 1 + sum(widths) + len(widths)                  # an empty column before each block
    figure = Figure(figsize=(0.85 * columns, 0.92 * len(queries) + 0.7))
    ratios = [1.0] + [ratio for width in widths for ratio in (0.35, *[1.0] * width)]
    axes = figure.subplots(len(queries), columns, squeeze=False, gridspec_kw=dict(width_ratios=ratios))
    for axis in axes.flat:
        axis.set_axis_off()
    for row, (query, label) in enumerate(zip(queries, query_labels, strict=True)):
        axes[row][0].imshow(query, interpolation='nearest')
        axes[row][0].set_title(class_names[label], fontsize=8, pad=2)
        column = 1
        for title, (images, labels) in blocks.items():
            column += 1
            for offset, (image, neighbour) in enumerate(zip(images[row], labels[row], strict=True)):
                axis = axes[row][column + offset]
                axis.imshow(image, interpolation='nearest')
                axis.set_axis_on()
                axis.set_xticks([])
                axis.set_yticks([])
                for spine in axis.spines.values():
                    spine.set_color(RIGHT if neighbour == label else WRONG)
                    spine.set_linewidth(3)
            if row == 0:
                axes[0][column].set_title(title, fontsize=10, loc='left')
            column += len(images[row])
    return _save(figure, path)


def _save(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches='tight', facecolor='white')
    return path
