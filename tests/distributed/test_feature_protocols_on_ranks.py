"""Protocols on features: several processes measure what one does, and write one result."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from processes import run_ranks

from mmsimclr.protocols import KNN, SVM, Benchmark, EncoderSource, LowShotSVM, read_predictions, read_result


def shapes(num_images: int, split: str) -> dict:
    return dict(type='Shapes', num_images=num_images, image_size=16, split=split)


PARTS = dict(train=shapes(61, 'train'), test=shapes(37, 'test'))
PROTOCOLS = {
    'knn': lambda: KNN(**PARTS, k=(3, 20)),
    'svm': lambda: SVM(**PARTS, costs=(1.0, 20.0), stages=('layer2', 'layer4'), num_processes=1),
    'low-shot': lambda: LowShotSVM(**PARTS, k=(1, 3), negatives_per_positive=9, num_samples=3,
                                   costs=(1.0, 20.0), stages=('layer4',), num_processes=1)}


def measure(name: str, folder: Path) -> dict:
    """Run a protocol with what ranks there are; return its metrics as this rank has them."""
    folder.mkdir(parents=True, exist_ok=True)
    source = EncoderSource(None, settings=dict(depth=18, base_channels=4, stem='cifar'))
    benchmark = Benchmark(source, Config(), folder, folder / 'features', device='cpu')
    return PROTOCOLS[name]().run(benchmark).metrics


@pytest.mark.parametrize('name', PROTOCOLS)
def test_ranks_measure_what_one_process_does(name, tmp_path):
    alone = measure(name, tmp_path / 'alone')
    on_ranks = run_ranks(measure, 2, name, tmp_path / 'ranks', folder=tmp_path / 'rendezvous')
    assert on_ranks[0] == on_ranks[1] == read_result(tmp_path / 'ranks' / 'result.json').metrics
    assert on_ranks[0] == pytest.approx(alone, abs=1e-6)
    kept, of_ranks = (read_predictions(tmp_path / place / 'predictions.npz') for place in ('alone', 'ranks'))
    assert np.array_equal(kept.labels, of_ranks.labels)
    np.testing.assert_allclose(kept.predicted, of_ranks.predicted, rtol=1e-5, atol=1e-6)
