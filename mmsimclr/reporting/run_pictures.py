"""Pictures of a finished run, in its work directory: curves, views, nearest neighbours."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmsimclr.errors import UserError
from mmsimclr.features import Embedder
from mmsimclr.features.thumbnails import thumbnail
from mmsimclr.registry import DATASETS
from mmsimclr.reporting.figures import (
    read_scalars,
    save_neighbour_sheet,
    save_training_curves,
    save_views_sheet,
)

NUM_ROWS, NUM_NEIGHBOURS, NUM_DRAWS = 8, 8, 4
MAX_BANK, SIDE_PX = 500, 96


def save_run_pictures(work_dir: str | Path, dataset: Mapping[str, Any]) -> list[Path]:
    """Draw ``curves.png``, ``views.png`` and ``neighbours.png`` of a run; return those that could be drawn.

    Neighbours are the nearest of up to :data:`MAX_BANK` training images. Of one that cannot be drawn, such as
    the views of a pipeline without ``MultiView``, the log says why.

    Args:
        work_dir: Where the run has left its log and its checkpoint.
        dataset: Config of the training images, with the pipeline that makes the views.
    """
    folder, images = Path(work_dir), DATASETS.build(dataset)
    rows = np.unique(np.linspace(0, len(images) - 1, NUM_ROWS).astype(int)).tolist()

    def neighbours(path: Path) -> Path:
        bank = np.unique(np.linspace(0, len(images) - 1, MAX_BANK).astype(int))
        items = [images.get_data_info(int(index)) for index in bank]
        pixels = [each.get('img_path', each.get('img')) for each in items]
        features = Embedder(folder, normalise=True)(pixels)
        shown = [thumbnail(item, SIDE_PX)[0] for item in items]
        queries = np.unique(np.linspace(0, len(bank) - 1, NUM_ROWS).astype(int))
        similarity = features[queries] @ features.T
        similarity[np.arange(len(queries)), queries] = -np.inf              # not its own
        nearest = np.argsort(-similarity, axis=1, kind='stable')[:, :min(NUM_NEIGHBOURS, len(bank) - 1)]
        return save_neighbour_sheet(path, [shown[query] for query in queries], [None] * len(queries), {
            'nearest neighbours': ([[shown[index] for index in row] for row in nearest],
                                   [[None] * len(row) for row in nearest])}, ())

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
