"""The label-free protocol: measures of the very features, and none that does not exist."""

import math

import numpy as np
import pytest
from tiny_benchmark import shapes, tiny_benchmark

from mmsimclr.protocols import Health


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
    monkeypatch.setattr('mmsimclr.protocols.health.health', lambda rows: dict(rankme=1.0, alpha_req=math.nan))
    result = Health(shapes(10)).run(tiny_benchmark(tmp_path))
    assert result.metrics == {'pooled_rankme': 1.0} and (tmp_path / 'result.json').is_file()
