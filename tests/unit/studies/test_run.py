"""Running studies: kills, several workers, failures, results taken as done."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from mmsimclr.studies import load_study, read_records, run_study

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / 'configs'
TEXT = '''
study = dict(
    base={base!r},
    metric='probe.top_1_accuracy_percent',
    seeds={seeds},
    options={{
        'train_cfg.max_epochs': 2, 'train_dataloader.batch_size': 8, 'train_dataloader.num_workers': 0,
        'train_dataloader.dataset.num_images': 16, 'train_dataloader.dataset.image_size': 16,
        'train_dataloader.dataset.pipeline.0.transforms.0.size': 16,
        'model.backbone.base_channels': 4, 'model.neck.in_channels': 32, 'model.neck.hid_channels': 16,
        'model.neck.out_channels': 8, 'default_hooks.checkpoint.interval': 1,
        'custom_hooks': [dict(type='RunSummaryHook'), dict(type='FiniteLossHook')],
        {options}
    }},
    axes={{'temperature': {{
        'low': {{'model.head.temperature': 0.1}}, 'high': {{'model.head.temperature': {high}}}}}}},
    measure=[dict(name='probe', config={probe!r}, options={{
        'protocol.l2': [0.1], 'protocol.max_iterations': 5,
        'protocol.tasks.0.train.num_images': 40, 'protocol.tasks.0.train.image_size': 16,
        'protocol.tasks.0.test.num_images': 20, 'protocol.tasks.0.test.image_size': 16}})])
'''
pytestmark = pytest.mark.slow


def write_study(folder, seeds=1, high='0.5', options=''):
    path = folder / 'mine.py'
    path.write_text(TEXT.format(
        base=str(CONFIGS / 'simclr/simclr_resnet18-w16_1xb128-coslr-5e_shapes.py'), seeds=seeds, high=high,
        options=options, probe=str(CONFIGS / 'benchmarks/classification/logistic_shapes.py')))
    return path


def start(path, work_dir, *options):
    return subprocess.Popen(
        [sys.executable, str(ROOT / 'tools/study.py'), str(path), '--work-dir', str(work_dir), *options],
        cwd=work_dir.parent, env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL))   # which a background job ignores


def numbers(work_dir):
    """Return what must not depend on how often a study was killed."""
    return {(cell.at, cell.seed): {name: value for name, value in cell.metrics.items()
                                   if not name.endswith('_s')}
            for cell in read_records(work_dir / 'mine/cpu/study.json')}


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('undisturbed')
    process = start(write_study(folder, seeds=2), folder / 'work')
    output, _ = process.communicate(timeout=250)
    assert process.returncode == 0, output
    return folder


def test_a_study_ends_in_a_table_and_runs_nothing_twice(undisturbed):
    cells = numbers(undisturbed / 'work')
    assert len(cells) == 4 and all('probe.top_1_accuracy_percent' in each for each in cells.values())
    table = (undisturbed / 'work/mine/cpu/README.md').read_text()
    assert table.count('(2)') == 2                           # two rows with the mean of two seeds
    logs = [path.read_text() for path in (undisturbed / 'work/cells').glob('*/log.txt')]
    again = start(undisturbed / 'mine.py', undisturbed / 'work')
    again.communicate(timeout=100)
    assert again.returncode == 0 and numbers(undisturbed / 'work') == cells
    assert logs == [path.read_text() for path in (undisturbed / 'work/cells').glob('*/log.txt')]


def test_kills_at_random_moments_change_no_number(undisturbed, tmp_path):
    path, moments, kills = write_study(tmp_path, seeds=2), random.Random(0), 0
    number = int(os.environ.get('MMSIMCLR_TEST_KILLS', '2'))
    while kills < number:
        process = start(path, tmp_path / 'work')
        try:
            process.wait(timeout=moments.uniform(6, 16))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        else:
            if number > 2:                                   # it finished too early: again, from nothing
                assert numbers(tmp_path / 'work') == numbers(undisturbed / 'work')
                (tmp_path / 'work').rename(tmp_path / f'done{kills}')
                continue
            break
    process = start(path, tmp_path / 'work')
    output, _ = process.communicate(timeout=250)
    assert process.returncode == 0, output
    assert numbers(tmp_path / 'work') == numbers(undisturbed / 'work')


def test_two_workers_share_the_cells_and_run_none_twice(undisturbed, tmp_path):
    path = write_study(tmp_path, seeds=2)
    workers = [start(path, tmp_path / 'work') for _ in range(2)]
    for worker in workers:
        output, _ = worker.communicate(timeout=280)
        assert worker.returncode == 0, output
    assert numbers(tmp_path / 'work') == numbers(undisturbed / 'work')
    for log in (tmp_path / 'work/cells').glob('*/log.txt'):
        assert log.read_text().count('finished in') == 1, log.read_text()


def test_a_failed_cell_is_shown_with_its_reason_and_the_rest_goes_on(tmp_path):
    study = load_study(write_study(tmp_path, high='-1.0'))
    results, _ = run_study(study, tmp_path / 'work')
    by_level = {each.at[0]: each for each in results}
    assert by_level['low'].metrics and not by_level['low'].failure
    assert 'temperature' in by_level['high'].failure and '-1' in by_level['high'].failure
    # It is not run again, unless that is asked for.
    log = tmp_path / 'work/cells' / by_level['high'].name / 'log.txt'
    before = log.read_text()
    run_study(study, tmp_path / 'work')
    assert log.read_text() == before
    run_study(study, tmp_path / 'work', retry_failed=True)
    assert len(log.read_text()) > len(before)


def test_recorded_results_are_taken_as_done_and_one_changed_level_alone_is_run(undisturbed, tmp_path):
    known = undisturbed / 'work/mine/cpu/study.json'
    results, _ = run_study(load_study(write_study(tmp_path, seeds=2)), tmp_path / 'work', known)
    assert len(results) == 4 and not list((tmp_path / 'work').glob('cells/*'))
    changed = load_study(write_study(tmp_path, seeds=2, high='0.9'))
    results, _ = run_study(changed, tmp_path / 'work', known)
    ran = {path.name for path in (tmp_path / 'work/cells').iterdir()}
    assert ran == {each.name for each in results if each.at == ('high',)} and len(ran) == 2


def test_a_paused_study_stands_still_and_goes_on(tmp_path):
    work_dir, path = tmp_path / 'work', write_study(tmp_path)
    work_dir.mkdir()
    (work_dir / 'paused').touch()
    process = start(path, work_dir)
    assert 'paused' in process.stdout.readline()
    time.sleep(1)
    assert not list(work_dir.glob('cells/*/cell-*.json'))
    process.send_signal(signal.SIGUSR1)                      # the switch
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and len(list(work_dir.glob('cells/*/cell-*.json'))) == 2, output


def test_an_interrupted_study_says_that_it_goes_on_and_leaves_no_process(tmp_path):
    work_dir = tmp_path / 'work'
    process = start(write_study(tmp_path), work_dir)
    deadline = time.monotonic() + 200
    while not list(work_dir.glob('cells/*/log.txt')) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 130 and 'goes on' in output
    listed = subprocess.run(['pgrep', '-f', str(work_dir)], capture_output=True, text=True, check=False)
    assert not listed.stdout.strip()


def test_a_dry_run_lists_cells_with_an_estimate_from_those_that_ran(undisturbed):
    process = start(undisturbed / 'mine.py', undisturbed / 'work', '--dry-run')
    output, _ = process.communicate(timeout=200)
    assert '0 of 4 cells' in output and 's a cell' in output
    assert json.loads((undisturbed / 'work/mine/cpu/study.json').read_text())['cells'][0]['seconds'] > 0


@pytest.mark.skipif(not find_spec('submitit'), reason='needs submitit: pip install mmsimclr[studies]')
@pytest.mark.timeout(600)
def test_jobs_that_are_submitted_share_the_cells(undisturbed, tmp_path):
    path = write_study(tmp_path)
    submitted = start(path, tmp_path / 'work', '--submit', 'local', '--num-tasks', '2')
    output, _ = submitted.communicate(timeout=500)
    assert submitted.returncode == 0 and '2 jobs' in output, output
    start(path, tmp_path / 'work').communicate(timeout=100)
    expected = {key: value for key, value in numbers(undisturbed / 'work').items() if key[1] == 0}
    assert len(expected) == 2 and numbers(tmp_path / 'work') == expected
    starts = [log.read_text().count('epoch 1/2') for log in (tmp_path / 'work/cells').glob('*/log.txt')]
    assert starts == [1, 1]
