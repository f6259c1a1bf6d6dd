"""Early stopping and the best checkpoint, by what hooks measure in a run without validation."""

import pytest
import torch
from mmengine.hooks import Hook
from tiny_run import tiny_runner

from mmsimclr.engine.hooks.held_out import record, recorded
from mmsimclr.errors import InputError
from mmsimclr.registry import HOOKS

SCHEDULE = [dict(type='WarmupCosineLR', warmup=1, total=6, convert_to_iter_based=True)]


@HOOKS.register_module()
class FiguresForStoppingTest(Hook):
    """Record given figures, one after each epoch; None where nothing is measured."""

    priority = 'LOW'
    measures = ('figure_top', 'other')

    def __init__(self, figures: list[float | None]) -> None:
        self.figures = figures

    def before_train(self, runner) -> None:
        if runner.iter == 0:
            record(runner, {'figure_top': 1e6, 'other': 0.0})            # of random weights: never the best

    def after_train_epoch(self, runner) -> None:
        if (figure := self.figures[runner.epoch]) is not None:
            record(runner, {'figure_top': figure})


def run(work_dir, figures, patience=None, epochs=6, resume=False, **checkpoint):
    stopping = [dict(type='EarlyStoppingHook', monitor='figure_top', patience=patience, min_delta=0.5)]
    runner = tiny_runner(
        work_dir, train_cfg=dict(by_epoch=True, max_epochs=epochs), param_scheduler=SCHEDULE, resume=resume,
        custom_hooks=[dict(type='FiguresForStoppingTest', figures=figures), *(stopping if patience else [])],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', **{'interval': 1, **checkpoint})))
    runner.train()
    return runner


def test_patience_counts_evaluations_without_gain_and_the_last_epoch_is_saved(tmp_path):
    runner = run(tmp_path, [1.0, 2.0, None, 2.1, 2.2, 9.9], patience=2, interval=10)
    assert runner.epoch == 5
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_5.pth']


def test_a_run_that_saves_by_iterations_saves_the_last_one_too_when_it_stops(tmp_path):
    runner = run(tmp_path, [2.0, 1.0, 1.0, 9.9, 9.9, 9.9], patience=2, interval=4, by_epoch=False)
    assert (runner.epoch, runner.iter) == (3, 6)
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_6.pth')
    assert torch.load(tmp_path / 'iter_6.pth', weights_only=False)['meta']['iter'] == 6
    again = run(tmp_path, [2.0, 1.0, 1.0, 9.9, 9.9, 9.9], patience=2, interval=4, by_epoch=False, resume=True)
    assert again.iter == 6


def test_what_is_measured_now_and_then_is_measured_where_a_run_stops(tmp_path):
    images = dict(type='Shapes', num_images=20, image_size=16, pipeline=[dict(type='PackImage')])
    runner = tiny_runner(
        tmp_path, train_cfg=dict(by_epoch=True, max_epochs=6), param_scheduler=SCHEDULE, custom_hooks=[
            dict(type='FiguresForStoppingTest', figures=[2.0, 1.0, 1.0, 9.9]),
            dict(type='OnlineKNNHook', bank=images, queries=images, interval=2),
            dict(type='RepresentationHealthHook', held_out=dict(num_images=16), num_images=16, interval=2),
            dict(type='EarlyStoppingHook', monitor='figure_top', patience=2)])
    runner.train()
    measured = {name: [each['iteration'] for each in recorded(runner) if name in each]
                for name in ('knn_accuracy', 'health/pooled_rankme')}
    assert runner.iter == 6 and measured == {'knn_accuracy': [0, 4, 6], 'health/pooled_rankme': [0, 4, 6]}


def test_without_the_hook_or_with_gains_a_run_goes_on(tmp_path):
    assert run(tmp_path / 'off', [1.0] * 6).epoch == 6
    assert run(tmp_path / 'gains', [float(number) for number in range(6)], patience=1).epoch == 6


def test_a_resumed_run_counts_on_and_one_that_had_stopped_stays_stopped(tmp_path):
    figures = [5.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    part = run(tmp_path, figures, patience=3, epochs=3)
    assert part.epoch == 3
    resumed = run(tmp_path, figures, patience=3, resume=True)
    assert resumed.epoch == 4
    again = run(tmp_path, figures, patience=3, resume=True)
    assert (again.epoch, again.iter) == (4, 8)


def test_the_best_checkpoint_is_that_of_the_epoch_with_the_best_figure(tmp_path):
    runner = run(tmp_path, [1.0, 3.0, None, 2.0, 4.0, 0.0], save_best='figure_top')
    best, = tmp_path.glob('best_*.pth')
    assert best.name == 'best_figure_top_epoch_5.pth'
    one, other = (torch.load(path, weights_only=False) for path in (best, tmp_path / 'epoch_5.pth'))
    assert all(torch.equal(value, other['state_dict'][name]) for name, value in one['state_dict'].items())
    assert one['meta']['epoch'] == 5
    assert [each.get('figure_top') for each in recorded(runner)] == [1e6, 1.0, 3.0, 2.0, 4.0, 0.0]
    assert runner.message_hub.get_info('best_score') == 4.0
    assert len(list(tmp_path.glob('best_*.json'))) == 1


def test_the_last_epoch_can_be_the_best_and_a_resumed_run_knows_the_best_before(tmp_path):
    figures = [2.0, 1.0, 1.5, 3.0, 1.0, 1.0]
    run(tmp_path, figures, epochs=2, save_best='figure_top')
    assert [path.name for path in tmp_path.glob('best_*.pth')] == ['best_figure_top_epoch_1.pth']
    run(tmp_path, figures, epochs=4, resume=True, save_best='figure_top')
    assert [path.name for path in tmp_path.glob('best_*.pth')] == ['best_figure_top_epoch_4.pth']


@pytest.mark.parametrize('name', ['save_best', 'monitor'])
def test_a_name_that_nothing_measures_is_refused_before_the_first_step(tmp_path, name):
    hooks, checkpoint = [dict(type='FiguresForStoppingTest', figures=[1.0] * 6)], dict(type='CheckpointHook')
    if name == 'monitor':
        hooks.append(dict(type='EarlyStoppingHook', monitor='figure_pot', rule='greater'))
    else:
        checkpoint.update(save_best='figure_pot', rule='greater')
    runner = tiny_runner(tmp_path, custom_hooks=hooks, default_hooks=dict(checkpoint=checkpoint))
    with pytest.raises(ValueError, match=rf"{name}.*figure_pot.*did you mean 'figure_top'"):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize(('kind', 'name'), [
    ('EarlyStoppingHook', 'monitor'), ('AtomicCheckpointHook', 'save_best')])
def test_a_figure_without_a_direction_needs_a_rule(kind, name):
    with pytest.raises(InputError, match=r"health/pooled_alignment.*rule='less'"):
        HOOKS.build({'type': kind, name: 'health/pooled_alignment'})
    assert HOOKS.build({'type': kind, name: 'health/pooled_alignment', 'rule': 'less'})


@pytest.mark.parametrize('name', ['health/pooled_rankme', 'health/projection_lidar', 'knn_accuracy',
                                  'health/contrastive_loss'])
def test_what_is_better_is_known_for_figures_with_a_direction(name):
    for kind in ('EarlyStoppingHook', 'AtomicCheckpointHook'):
        hook = HOOKS.build(dict(type=kind, **{'monitor' if 'Early' in kind else 'save_best': name}))
        assert ([hook.rule] if 'Early' in kind else hook.rules) == ['less' if 'loss' in name else 'greater']
