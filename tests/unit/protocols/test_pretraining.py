"""Pre-training as a run that leaves a result, and a checkpoint."""

import json

import pytest
import torch
from mmengine.hooks import Hook
from tiny_run import log_of, tiny_config

from mmsimclr.errors import InputError
from mmsimclr.protocols import pretrain, read_result


@pytest.mark.parametrize('interval, save_last, by_epoch, leaves_one', [
    (-1, False, True, False), (2, False, True, False), (3, False, False, False),
    (1, False, True, True), (2, False, False, True), (-1, True, True, True)])
def test_a_run_that_would_leave_no_checkpoint_is_refused(tmp_path, interval, save_last, by_epoch, leaves_one):
    """It has one epoch of two steps."""
    config = tiny_config(tmp_path)
    config.default_hooks.checkpoint.update(interval=interval, save_last=save_last, by_epoch=by_epoch)
    if leaves_one:
        assert pretrain(config, 'x.py', '').checkpoint
    else:
        with pytest.raises(InputError, match='save_last=True'):
            pretrain(config, 'x.py', '')
    assert bool(list(tmp_path.glob('*.pth'))) == leaves_one


def config_of(work_dir, epochs=1, **checkpoint):
    config = tiny_config(work_dir, train_cfg=dict(by_epoch=True, max_epochs=epochs), param_scheduler=None)
    config.default_hooks.checkpoint.update(checkpoint)
    return config


def test_a_result_says_of_which_step_its_checkpoint_is_where_it_is_not_the_last(tmp_path):
    last = pretrain(config_of(tmp_path / 'last', 3), 'x.py', '')
    assert 'checkpoint_iterations' not in last.settings and last.settings['epochs'] == 3
    older = pretrain(config_of(tmp_path / 'older', 3, save_last=False, interval=2), 'x.py', '')
    meta = torch.load(older.checkpoint, weights_only=False)['meta']
    assert older.settings['checkpoint_iterations'] == meta['iter'] == 4 and older.settings['iterations'] == 6
    assert 'epoch_2.pth is of step 4, and the numbers are of 6' in log_of(tmp_path / 'older')


class KilledForPretrainingTest(Hook):
    """A run that ends before its first checkpoint."""

    def after_train_iter(self, *args, **kwargs):
        raise KeyboardInterrupt


def test_the_result_of_an_older_run_does_not_outlive_the_start_of_another(tmp_path):
    pretrain(config_of(tmp_path), 'x.py', '')
    assert (tmp_path / 'result.json').is_file()
    killed = config_of(tmp_path)
    killed.custom_hooks = [dict(type=KilledForPretrainingTest)]
    with pytest.raises(KeyboardInterrupt):
        pretrain(killed, 'x.py', '')
    assert not (tmp_path / 'result.json').exists()


@pytest.mark.parametrize('hooks', [[], [dict(type='RunSummaryHook')]], ids=str)
def test_a_resumed_run_has_no_time_whatever_its_hooks(hooks, tmp_path):
    whole = config_of(tmp_path)
    whole.custom_hooks = hooks
    result = pretrain(whole, 'x.py', '')
    assert result.wall_time_s > 0 and result.metrics['pretraining_s'] == result.wall_time_s
    again = config_of(tmp_path, 2)
    again.merge_from_dict(dict(custom_hooks=hooks, resume=True))
    resumed = pretrain(again, 'x.py', '')
    assert 'pretraining_s' not in resumed.metrics and resumed.wall_time_s is None
    assert resumed.settings['resumed_from_iteration'] == 2
    assert json.loads((tmp_path / 'result.json').read_text())['wall_time_s'] is None


def test_a_finished_run_that_is_started_again_keeps_its_result(tmp_path):
    def again(**changes):
        config = config_of(tmp_path)
        config.merge_from_dict(dict(resume=True, **changes))
        return pretrain(config, 'y.py', 'the same command')

    first = pretrain(config_of(tmp_path), 'x.py', '')
    before = (tmp_path / 'result.json').read_bytes()
    assert again() == first and (tmp_path / 'result.json').read_bytes() == before
    changed = again(allow_changed=['model.head'], **{'model.head.temperature': 0.9})
    assert 'changed_on_resume' in changed.settings and changed == read_result(tmp_path / 'result.json')
    (tmp_path / 'result.json').write_text('{"cut o')
    assert again().settings['resumed_from_iteration'] == 2
