"""The label-free protocol: measures of the very features, and none that does not exist."""

import math

import numpy as np
import pytest
from tiny_benchmark import shapes, tiny_benchmark

from mmsimclr.protocols import Health
from mmsimclr.protocols.transform_prediction import TransformedImages


def test_the_metrics_are_those_of_the_features_of_each_image(tmp_path):
    benchmark = tiny_benchmark(tmp_path)
    result = Health(shapes(30)).run(benchmark)
    rows = np.array(benchmark.features(shapes(30)).stages['pooled'])
    # RankMe by hand: the exponential of the entropy of the singular values' shares.
    shares = np.linalg.svd(rows.astype(np.float64), compute_uv=False)
    shares = shares / shares.sum() + 1e-7
    by_hand = math.exp(-(shares * np.log(shares)).sum())
    assert result.metrics['pooled_rankme'] == pytest.approx(by_hand, rel=1e-4)
    assert result.num_images == {'images': 30} and result.settings['stages'] == ['pooled']


def test_a_measure_that_does_not_exist_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr('mmsimclr.protocols.health.health',
                        lambda rows, views: dict(rankme=1.0, alpha_req=math.nan))
    result = Health(shapes(10)).run(tiny_benchmark(tmp_path))
    assert result.metrics == {'pooled_rankme': 1.0} and (tmp_path / 'result.json').is_file()


def test_views_give_alignment_and_lidar_of_evenly_spaced_images(tmp_path):
    view = dict(type='SimCLRView', size=16, strength=1.0, blur=False, scale=(0.5, 1.0))
    benchmark = tiny_benchmark(tmp_path)
    measured = Health(shapes(30), view=view, num_views=3, num_view_images=4)
    found = measured.run(benchmark).metrics
    views = measured._views(benchmark)['pooled'].astype(np.float64)
    assert views.shape == (4, 3, 32)
    unit = views / np.linalg.norm(views, axis=2, keepdims=True)
    pairs = [np.sum((unit[:, i] - unit[:, j]) ** 2, axis=1) for i in range(3) for j in range(3) if i != j]
    assert found['pooled_alignment'] == pytest.approx(np.mean(pairs), rel=1e-4)
    assert 1 < found['pooled_lidar'] <= 3                    # at most one less than there are images
    assert 'pooled_lidar' not in Health(shapes(30)).run(benchmark).metrics


def test_transformed_images_are_evenly_spaced(tmp_path):
    step = dict(type='RandomHorizontalFlip', prob=0.0)
    few = TransformedImages(shapes(30), dict(view=(1.0, step)), 0, 16, 16, num_images=4)
    every = TransformedImages(shapes(30), dict(view=(1.0, step)), 0, 16, 16)
    assert len(few) == 4 and len(every) == 30
    for place, index in enumerate((0, 9, 19, 29)):
        np.testing.assert_array_equal(few.get_data_info(place)['img'], every.get_data_info(index)['img'])
