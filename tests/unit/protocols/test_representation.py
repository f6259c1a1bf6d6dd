"""The numbers behind the paper's pictures of a representation, against numpy and planted features."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_benchmark import shapes, tiny_benchmark
from torch import nn

from mmsimclr.errors import UserError
from mmsimclr.models import NonLinearNeck
from mmsimclr.protocols import Representation, read_result
from mmsimclr.protocols.representation import _cosines, _overlap

CROP = dict(type='RandomResizedCrop', size=16, scale=(0.3, 1.0))
VIEW = dict(type='SimCLRView', size=16, strength=1.0, blur=False, scale=(0.3, 1.0))


@pytest.fixture
def benchmark(tmp_path):
    """A benchmark of an encoder with a projection head of one square layer."""
    torch.manual_seed(3)
    made = tiny_benchmark(tmp_path / 'run')
    made.encoder.__dict__['projection_head'] = NonLinearNeck(32, 32, 32, num_layers=1).eval()
    return made


def test_the_series_are_those_of_the_encoder_and_reach_the_file(benchmark):
    result = Representation(shapes(110), VIEW, CROP, num_mapped=100).run(benchmark)
    weight = next(each for each in benchmark.encoder.projection_head.modules()
                  if isinstance(each, nn.Linear)).weight.detach().double().numpy()
    eigenvalues = np.sort(np.linalg.eigvalsh(weight @ weight.T))[::-1]
    np.testing.assert_allclose(result.series['eigenvalues'], eigenvalues, rtol=1e-3)
    assert result.metrics['large_eigenvalues_share'] == pytest.approx(
        (eigenvalues > 0.01 * eigenvalues[0]).mean())
    # Nothing was trained: before and after are the same encoder.
    assert result.series['positive_cosine_pooled_before'] == result.series['positive_cosine_pooled_after']
    assert result.metrics['histogram_overlap_crop'] > result.metrics['histogram_overlap_view'] + 0.05
    assert len(result.series['map_pooled_x']) == len(result.series['labels']) == 100
    assert all(sum(values) == pytest.approx(1, abs=1e-4) for name, values in result.series.items()
               if name.startswith(('pixels', 'positive', 'negative')))
    assert read_result(benchmark.work_dir / 'result.json').series == json.loads(json.dumps(result.series))


def test_cosines_are_of_own_and_of_other_images():
    first, second = np.array([[2.0, 0], [0, 3]]), np.array([[1.0, 0], [1, 1]])
    found = _cosines(first, second)
    assert found['positive'].tolist() == pytest.approx([1, 0.5 ** 0.5])
    assert sorted(found['negative'].tolist()) == pytest.approx([0, 0.5 ** 0.5])


def test_overlap_is_one_for_equal_histograms_and_zero_for_disjoint_ones():
    assert _overlap([0.5, 0.5, 0], [0.5, 0.5, 0]) == 1
    assert _overlap([1, 0, 0], [0, 0.5, 0.5]) == 0
    assert _overlap([0.5, 0.5, 0], [0, 0.5, 0.5]) == 0.5


@pytest.mark.parametrize('wrong', [dict(num_crops=1), dict(num_mapped=10)])
def test_too_few_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Representation(shapes(10), VIEW, CROP, **wrong)


def test_a_head_without_a_layer_has_no_spectrum(benchmark):
    benchmark.encoder.__dict__['projection_head'] = NonLinearNeck(32, 32, 32, num_layers=0).eval()
    with pytest.raises(UserError, match='num_layers=0'):
        Representation(shapes(110), VIEW, CROP, num_mapped=100).run(replace(benchmark))
