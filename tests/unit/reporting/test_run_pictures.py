"""Pictures of a finished run: nearest neighbours are those of a plain search, and an image is not its own."""

import cv2
import numpy as np
from tiny_run import tiny_runner

from mmsimclr.features import Embedder
from mmsimclr.registry import DATASETS
from mmsimclr.reporting import figures
from mmsimclr.reporting.figures import save_run_pictures


def test_neighbours_are_the_nearest_others(tmp_path, monkeypatch):
    runner = tiny_runner(tmp_path)
    described = dict(type='Shapes', num_images=16, image_size=16, pipeline=[])
    runner.train()
    drawn = {}
    monkeypatch.setattr(figures, 'save_neighbour_sheet', lambda path, queries, blocks: (
        drawn.update(queries=queries, rows=blocks['nearest neighbours']), path)[1])
    saved = save_run_pictures(tmp_path, described)
    # The pipeline makes no views, so there is no sheet of them.
    assert [path.name for path in saved] == ['curves.png', 'neighbours.png']
    images = DATASETS.build(described)
    pixels = [images.get_data_info(index)['img'] for index in range(16)]
    features = Embedder(tmp_path)(pixels)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    shown = [cv2.resize(each, (96, 96)) for each in pixels]

    def number(picture):
        return int(np.argmin([np.abs(each.astype(float) - picture).mean() for each in shown]))

    assert len(drawn['queries']) == len(drawn['rows']) == 8
    for query, row in zip(drawn['queries'], drawn['rows'], strict=True):
        first = number(query)
        expected = sorted((other for other in range(16) if other != first),
                          key=lambda other: -features[first] @ features[other])[:8]
        assert [number(each) for each in row] == expected
