"""An older checkpoint goes when the new one is safe, and not before."""

import json
import os
import shutil

import pytest
from mmengine.hooks import Hook
from tiny_run import tiny_runner

from mmsimclr.engine.hooks.held_out import record
from mmsimclr.engine.hooks.preemption import INTERRUPTED
from mmsimclr.errors import InputError
from mmsimclr.registry import HOOKS
from mmsimclr.runner import SaveError, checkpointing, newest_checkpoint, save_whole


def runner(work_dir, kept: int = 1, epochs: int = 2, **changes):
    hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=kept))
    return tiny_runner(work_dir, train_cfg=dict(by_epoch=True, max_epochs=epochs), default_hooks=hooks,
                       **changes)


def checkpoints(work_dir) -> list[str]:
    return sorted(path.name for path in work_dir.glob('*.pth*'))


@pytest.mark.parametrize('failing', [2, 3, 4])
def test_a_save_that_fails_leaves_the_only_checkpoint_there_is(failing, tmp_path, monkeypatch):
    def save(tree, path, run_id):
        if tree['meta']['iter'] == failing:
            raise SaveError(f'{path} could not be written (No space left on device)')
        save_whole(tree, path, run_id)

    monkeypatch.setattr(checkpointing, 'save_whole', save)
    with pytest.raises(SaveError, match='No space left'):
        runner(tmp_path).train()
    kept = f'iter_{failing - 1}.pth'
    assert checkpoints(tmp_path) == [kept, f'{kept}.json']
    assert newest_checkpoint(tmp_path).path == tmp_path / kept
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / kept)


def test_what_a_signal_saved_stays_until_the_next_checkpoint_is_whole(tmp_path, monkeypatch):
    (tmp_path / INTERRUPTED).write_text('of an earlier run')
    seen = []

    def save(tree, path, run_id):
        seen.append((tmp_path / INTERRUPTED).exists())
        save_whole(tree, path, run_id)

    monkeypatch.setattr(checkpointing, 'save_whole', save)
    runner(tmp_path).train()
    assert seen[0] and not (tmp_path / INTERRUPTED).exists()


@pytest.mark.parametrize('kept', [1, 2, -1])
def test_so_many_are_kept_with_their_manifests_and_last_checkpoint_names_the_newest(kept, tmp_path):
    runner(tmp_path, kept).train()
    iterations = range(1, 5) if kept < 0 else range(5 - kept, 5)
    assert checkpoints(tmp_path) == sorted(
        name for number in iterations for name in (f'iter_{number}.pth', f'iter_{number}.pth.json'))
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_4.pth')
    assert json.loads((tmp_path / 'iter_4.pth.json').read_text())['iteration'] == 4


def test_a_resumed_run_completes_the_deletion_that_the_killed_one_did_not_live_to_see(tmp_path, monkeypatch):
    remove = os.remove

    def die(path, *args, **kwargs):
        if str(path).endswith('iter_2.pth'):
            raise KeyboardInterrupt
        return remove(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, 'remove', die)
        with pytest.raises(KeyboardInterrupt):
            runner(tmp_path).train()
    assert 'iter_2.pth' in checkpoints(tmp_path) and 'iter_3.pth' in checkpoints(tmp_path)
    runner(tmp_path, resume=True, experiment_name='resumed').train()
    assert checkpoints(tmp_path) == ['iter_4.pth', 'iter_4.pth.json']


def test_a_folder_with_the_name_of_an_interrupted_run_stops_no_save(tmp_path):
    (tmp_path / INTERRUPTED).mkdir()
    (tmp_path / INTERRUPTED / 'kept').touch()
    runner(tmp_path).train()
    assert (tmp_path / INTERRUPTED / 'kept').exists() and (tmp_path / 'iter_4.pth').exists()


@pytest.mark.parametrize('elsewhere', [
    dict(out_dir='disk'), dict(filename_tmpl='{}.pt'), dict(backend_args=dict(backend='petrel'))], ids=str)
def test_another_place_than_in_the_work_directory_is_refused(elsewhere, tmp_path):
    hooks = dict(checkpoint=dict(type='CheckpointHook', **elsewhere))
    with pytest.raises(InputError, match=f'takes no {next(iter(elsewhere))}: .*--work-dir'):
        tiny_runner(tmp_path, default_hooks=hooks)


@HOOKS.register_module()
class RisingFiguresForBestTest(Hook):
    """Two figures; the first is better after each epoch, the other is best after the first."""

    priority = 'LOW'
    measures = ('rising_top', 'falling_top')

    def after_train_epoch(self, runner):
        record(runner, dict(rising_top=float(runner.epoch), falling_top=-float(runner.epoch)))


@pytest.mark.parametrize('names', ['rising_top', ['rising_top', 'falling_top']], ids=str)
@pytest.mark.parametrize('fails', [True, False])
def test_the_best_checkpoint_goes_when_the_better_one_is_whole(names, fails, tmp_path, monkeypatch):
    def save(tree, path, run_id):
        there = [each.name for each in tmp_path.glob('best_rising*.pth')]
        if fails and path.name == 'best_rising_top_epoch_2.pth':
            raise SaveError(f'{path} could not be written (No space left on device)')
        save_whole(tree, path, run_id)
        seen.append((path.name, there))

    seen, first, second = [], 'best_rising_top_epoch_1.pth', 'best_rising_top_epoch_2.pth'
    monkeypatch.setattr(checkpointing, 'save_whole', save)
    kept = dict(type='CheckpointHook', interval=1, save_best=names, rule='greater')
    hooks = dict(default_hooks=dict(checkpoint=kept), custom_hooks=[dict(type='RisingFiguresForBestTest')])
    training = tiny_runner(tmp_path, train_cfg=dict(by_epoch=True, max_epochs=2), **hooks)
    if fails:
        with pytest.raises(SaveError, match='No space left'):
            training.train()
    else:
        training.train()
        assert (second, [first]) in seen
    left = {first if fails else second} | ({'best_falling_top_epoch_1.pth'} if len(names) == 2 else set())
    assert {path.name for path in tmp_path.glob('best_*.pth')} == left
    assert {path.name for path in tmp_path.glob('best_*.json')} == {f'{name}.json' for name in left}


def test_a_copy_of_a_folder_that_goes_on_leaves_the_best_checkpoint_of_the_first(tmp_path):
    kept = dict(type='CheckpointHook', interval=1, save_best='rising_top', rule='greater')
    hooks = dict(default_hooks=dict(checkpoint=kept), custom_hooks=[dict(type='RisingFiguresForBestTest')])
    first, copied = tmp_path / 'first', tmp_path / 'copied'
    tiny_runner(first, train_cfg=dict(by_epoch=True, max_epochs=1), **hooks).train()
    before = checkpoints(first)
    shutil.copytree(first, copied)
    tiny_runner(copied, train_cfg=dict(by_epoch=True, max_epochs=2), resume=True, experiment_name='copied',
                **hooks).train()
    assert checkpoints(first) == before and 'best_rising_top_epoch_1.pth.json' in before
    assert [path.name for path in copied.glob('best_*.pth')] == ['best_rising_top_epoch_2.pth']


def test_the_run_is_named_before_its_first_checkpoint_is_there(tmp_path, monkeypatch):
    """Else --resume would take the older run's checkpoint after a kill between the two."""
    tiny_runner(tmp_path).train()
    before = (tmp_path / 'run_id').read_text()

    def die(tree, path, run_id):
        save_whole(tree, path, run_id)
        raise KeyboardInterrupt

    (tmp_path / 'epoch_1.pth').rename(tmp_path / 'epoch_9.pth')
    (tmp_path / 'epoch_1.pth.json').rename(tmp_path / 'epoch_9.pth.json')
    monkeypatch.setattr(checkpointing, 'save_whole', die)
    with pytest.raises(KeyboardInterrupt):
        tiny_runner(tmp_path, experiment_name='new').train()
    assert newest_checkpoint(tmp_path).path == tmp_path / 'epoch_1.pth'
    assert (tmp_path / 'run_id').read_text() != before
