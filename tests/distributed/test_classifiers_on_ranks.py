"""Two gloo processes train and evaluate a classifier as one does."""

import numpy as np
import probe_tasks
import pytest
import torch
from processes import run_ranks
from tiny_probe import save_encoder

from mmsimclr.protocols import read_predictions


def test_ranks_count_each_image_once_and_agree_with_one_process(tmp_path):
    one, = run_ranks(probe_tasks.evaluate_on_ranks, 1, str(tmp_path), folder=tmp_path / 'one')
    two = run_ranks(probe_tasks.evaluate_on_ranks, 2, str(tmp_path), folder=tmp_path / 'two')
    assert sum(rank['own'] for rank in two) == 22 == one['own'] + 1, 'the ranks padded'
    for rank in two:
        assert len(rank['labels']) == 21
        assert np.array_equal(rank['labels'], one['labels'])
        # Also with the statistics of rank 0, although rank 1 had others.
        assert np.array_equal(rank['ranked'], one['ranked'])


@pytest.mark.parametrize('protocol', ['LinearEvaluation', 'LinearPerLayer'])
def test_a_probe_on_two_ranks_equals_that_of_one_process(protocol, tmp_path):
    checkpoint = str(save_encoder(tmp_path))
    one, = run_ranks(probe_tasks.train_on_ranks, 1, str(tmp_path / 'run_1'), checkpoint, 8, protocol,
                     folder=tmp_path / 'one')
    two = run_ranks(probe_tasks.train_on_ranks, 2, str(tmp_path / 'run_2'), checkpoint, 4, protocol,
                    folder=tmp_path / 'two')
    assert two[0]['settings']['ranks'] == 2 and two[0]['settings']['global_batch'] == 8
    assert two[0]['settings']['steps'] == one['settings']['steps'] == 10
    for rank in two:
        assert rank['metrics'] == one['metrics']
    for name, weight in one['heads'].items():
        assert torch.allclose(two[0]['heads'][name], weight, atol=1e-5), name
    left, right = (read_predictions(tmp_path / f'run_{n}' / 'predictions.npz') for n in (1, 2))
    assert np.array_equal(left.predicted, right.predicted) and len(right.labels) == 21
