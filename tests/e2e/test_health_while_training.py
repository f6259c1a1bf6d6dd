"""Health while training as a user sees it: log, curves, result, best checkpoint, early stopping."""

import json

import pytest
from processes import run_tool

EARLY = "[{'type': 'EarlyStoppingHook', 'monitor': 'health/pooled_rankme', 'min_delta': 1e9, 'patience': 2}]"


@pytest.fixture(scope='module')
def finished(tmp_path_factory, quickstart_config, tiny):
    """Train by the quick start's config, with what is off by default switched on."""
    folder = tmp_path_factory.mktemp('health')
    config = folder / 'configs' / 'mine' / 'leaf.py'
    config.parent.mkdir(parents=True)
    (folder / 'configs' / '_base_').symlink_to(quickstart_config.parents[1] / '_base_')
    config.write_text(quickstart_config.read_text()
                      + f'custom_hooks.extend({EARLY})\n'
                      + "default_hooks.checkpoint.update(save_best='health/pooled_rankme')\n")
    status, log = run_tool(folder / 'log', 'train.py', config, '--work-dir', folder / 'run',
                           *tiny(6, custom_hooks__3__interval=1))
    assert status == 0, log
    return folder / 'run', log


def test_the_log_has_a_line_of_each_evaluation(finished):
    _, log = finished
    lines = [line for line in log.splitlines() if 'RankMe of h' in line]
    assert [line.partition(': RankMe')[0].split()[-1] for line in lines] == ['start', '1', '2', '3']


def test_the_run_stops_when_patience_ends_and_the_result_has_the_series(finished):
    work_dir, _ = finished
    result = json.loads((work_dir / 'result.json').read_text())
    assert result['settings']['iterations'] == 15                       # three of six epochs of five steps
    assert result['checkpoint'].endswith('epoch_3.pth')
    assert result['num_images']['health'] == 16
    series = result['series']
    assert series['health/pooled_rankme at iteration'] == [0, 5, 10, 15]
    assert len(series['health/projection_lidar']) == 4
    assert result['metrics']['health_pooled_rankme'] == series['health/pooled_rankme'][-1]
    assert series['knn_accuracy'][-1] == result['metrics']['knn_accuracy_percent']


def test_the_best_checkpoint_is_of_the_epoch_with_the_highest_rank(finished):
    work_dir, _ = finished
    ranks = json.loads((work_dir / 'result.json').read_text())['series']['health/pooled_rankme'][1:]
    best, = work_dir.glob('best_*.pth')
    assert best.name == f'best_health_pooled_rankme_epoch_{1 + ranks.index(max(ranks))}.pth'


def test_tensorboard_shows_the_curves_where_it_is_installed(finished):
    reader = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    work_dir, _ = finished
    folder, = work_dir.glob('*/vis_data')
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    ranks = json.loads((work_dir / 'result.json').read_text())['series']['health/pooled_rankme']
    shown = events.Scalars('health/pooled_rankme')
    assert [(each.step, each.value) for each in shown] == [
        (step, pytest.approx(rank)) for step, rank in zip((0, 5, 10, 15), ranks, strict=True)]
    assert 'loss' in events.Tags()['scalars']
