"""Pictures of a finished run: nearest neighbours are those of a plain search, and an image is not its own."""

import copy

import cv2
import numpy as np
from tiny_run import tiny_config, tiny_runner

from mmsimclr.features import Embedder
from mmsimclr.registry import DATASETS
from mmsimclr.reporting import figures
from mmsimclr.reporting.figures import original_and_views, save_run_pictures


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


def test_images_that_the_run_could_not_read_are_in_no_picture(tmp_path):
    (tmp_path / 'images').mkdir()
    for number in range(20):
        path = tmp_path / 'images' / f'{number:02}.png'
        cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8))
        if number in (0, 7):
            path.write_bytes(path.read_bytes()[:60])
    loader = tiny_config(tmp_path / 'run').train_dataloader
    loader.batch_size = 10                                               # all are seen
    loader.dataset = dict(type='UnlabeledImageFolder', data_root=str(tmp_path / 'images'),
                          pipeline=[dict(type='LoadImage'), *loader.dataset.pipeline])
    dataset = copy.deepcopy(loader.dataset)                              # before it is adapted
    runner = tiny_runner(tmp_path / 'run', train_dataloader=loader, bad_images=dict(max_fraction=0.2))
    runner.train()
    saved = save_run_pictures(tmp_path / 'run', dataset)
    assert [path.name for path in saved] == ['curves.png', 'views.png', 'neighbours.png']
    # The dataset of the run's own config replaces unreadable images, and has views as well.
    image, views = original_and_views(runner.train_dataloader.dataset, 3)
    assert image.shape == (16, 16, 3) and len(views) == 2
