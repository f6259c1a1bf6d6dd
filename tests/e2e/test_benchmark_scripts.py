"""Each measurement runs to its end at a tiny size, whichever peers are installed, and says what they were."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from processes import ROOT, run_tool

BENCHMARKS = ROOT / 'benchmarks'
PEERS = {'views': ('mmpretrain', 'lightly'), 'nt_xent': ('mmpretrain', 'lightly'), 'lars': ('mmpretrain',),
         'step': ('mmpretrain',), 'knn': ('faiss',), 'gradient_cache': (), 'svm': (),
         'logistic_regression': (), 'gpu_step': ('mmpretrain',)}


def rows_of(path: Path) -> dict:
    rows = json.loads(path.read_text())['rows']
    return next(iter(rows.values())) if path.stem == 'views' else rows


@pytest.mark.parametrize('name', PEERS)
def test_a_measurement_names_the_peers_that_are_installed(name, tmp_path):
    out = tmp_path / f'{name}.json'
    status, output = run_tool(tmp_path / 'log', str(BENCHMARKS / f'{name}.py'), '--quick', '--out', out,
                              PYTHONPATH=str(BENCHMARKS), timeout_s=250)
    assert status == 0, output
    rows = rows_of(out)
    for peer in PEERS[name]:
        assert (peer in rows) == bool(find_spec(peer))
        if name == 'gpu_step':
            assert (f'{peer}, AMP and channels-last' in rows) == (peer in rows)
    first = next(iter(rows.values()))
    assert len(rows) > 1 and 1.0 in (first.get('times_ours'), first.get('times_plain'))


def test_a_step_says_what_share_of_a_convolutions_rate_it_reaches(tmp_path):
    out = tmp_path / 'step.json'
    status, output = run_tool(tmp_path / 'log', str(BENCHMARKS / 'step.py'), '--quick', '--out', out,
                              PYTHONPATH=str(BENCHMARKS))
    assert status == 0, output
    record = json.loads(out.read_text())
    assert 'convolution in bfloat16' not in record['rows']
    share = record['gflop_per_s_of_ours'] / record['gflop_per_s_of_a_convolution']
    assert record['share_of_a_convolution'] == pytest.approx(share) and share > 0
    assert f'convolution reaches: {share:.0%}' in output
    # ResNet-18's 0.556 G multiply-adds at 32 pixels, of which nearly all go with the width squared; 8 views.
    seconds = record['images'] / record['rows']['ours']['images_per_s']
    flop = 1e9 * record['gflop_per_s_of_ours'] * seconds
    assert flop == pytest.approx(6 * 0.556e9 * 8 * (4 / 64) ** 2, rel=0.3)


def test_equal_time_trains_each_for_its_budget_and_evaluates_all_alike(tmp_path):
    out, loop = tmp_path / 'equal_time.json', "sthalles/SimCLR's loop, in its favour"
    status, output = run_tool(
        tmp_path / 'log', str(BENCHMARKS / 'equal_time.py'), '--quick', '--budget', 30, '--rows', 'ours',
        loop, '--out', out, '--picture', tmp_path / 'curve.png', PYTHONPATH=f'{BENCHMARKS}:{ROOT}',
        timeout_s=280)
    assert status == 0, output
    record = json.loads(out.read_text())
    assert list(record['rows']) == ['ours', loop] and record['best_peer'] == loop
    curves = json.loads((tmp_path / 'curves/equal_time.json').read_text())
    for name, row in record['rows'].items():
        assert 0 <= row['knn_percent'] <= 100 and row['images'] > 0 and row['seeds'] == 1
        run, = curves['rows'][name]['runs']
        assert run['curve'][-1]['minutes'] == 0.5 and run['curve'][-1]['images'] == row['images']
        assert row['linear_percent'] == run['curve'][-1]['linear_percent']
    assert (tmp_path / 'curve.png').stat().st_size > 1000


def test_the_bytes_of_a_rank_are_those_of_the_formula(tmp_path):
    out = tmp_path / 'weak_scaling.json'
    subprocess.run([sys.executable, str(BENCHMARKS / 'weak_scaling.py'), '--quick', '--out', str(out)],
                   check=True, timeout=240, capture_output=True)
    rows = rows_of(out)
    assert set(rows) == {'1', '2'} and not rows['1']['bytes']
    # Received from the other rank: 2n projections of 128 floats, and 2n log-sum-exps of one, for n = 8.
    projections, sums = 2 * 8 * 128 * 4, 2 * 8 * 4
    batch_size = 8                                              # one int64, to be compared
    assert rows['2']['bytes']['all_gather'] == projections + sums + batch_size


def test_the_share_of_health_is_that_of_its_hook_in_each_run(tmp_path):
    out = tmp_path / 'health.json'
    status, output = run_tool(tmp_path / 'log', str(BENCHMARKS / 'health.py'), '--quick', '--out', out,
                              PYTHONPATH=f'{BENCHMARKS}:{ROOT}')
    assert status == 0, output
    measured = json.loads(out.read_text())
    row, = measured['rows'].values()
    assert measured['share_percent'] == row['share_percent'] == pytest.approx(
        100 * row['hook_s'] / row['all_else_s'])
    assert row['share_percent'] > 20             # so small a run has little but its evaluations
