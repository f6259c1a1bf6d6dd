"""Learning-rate scaling and schedule against lists printed by the official code."""

import json

import numpy as np
import pytest

from mmsimclr.engine import scaled_lr, warmup_cosine_lr


@pytest.fixture(scope='module')
def cases(reference_file):
    return json.loads(reference_file('lr_schedule.json').read_text())['cases']


@pytest.mark.parametrize('number', range(12))
def test_every_step_equals_the_official_rate(number, cases, reference_file):
    case = cases[number]
    stored = np.load(reference_file('lr_schedule.npz'))
    base = scaled_lr(case['learning_rate'], case['train_batch_size'],
                     case['learning_rate_scaling'])
    got = [warmup_cosine_lr(int(step), base, case['warmup_steps'], case['total_steps'])
           for step in stored[f'{case["key"]}/steps']]
    # The official code computes in float32, whose cosine is good to about 1e-7 of the peak.
    np.testing.assert_allclose(got, stored[f'{case["key"]}/lr'], rtol=2e-6, atol=3e-7 * base)


def test_no_case_is_left_out(cases):
    assert len(cases) == 12
    assert {case['learning_rate_scaling'] for case in cases} == {'linear', 'sqrt'}
    assert {case['warmup_epochs'] for case in cases} == {0, 10}


def test_scaling_rules():
    # Chen et al. 2020, B.1: 0.3 x B/256 or 0.075 x sqrt(B), both 4.8 at 4096.
    assert scaled_lr(0.3, 4096, 'linear') == pytest.approx(4.8)
    assert scaled_lr(0.075, 4096, 'sqrt') == pytest.approx(4.8)
    assert scaled_lr(0.075, 1024, 'sqrt') == pytest.approx(2.4)
    assert scaled_lr(0.3, 4096, 'none') == 0.3
