import math

import pytest
import torch
from mmengine.hooks import Hook
from tiny_run import tiny_config, tiny_runner

from mmsimclr.engine import FiniteLossHook
from mmsimclr.models import NTXentLoss
from mmsimclr.registry import HOOKS, MODELS
from mmsimclr.runner import build_runner


@MODELS.register_module()
class BreakingLossForHookTest(NTXentLoss):
    """NT-Xent, not finite from call number ``at`` on; its gradient, and so the weights, stay finite."""

    def __init__(self, at: int, value: float):
        super().__init__()
        self.at, self.value, self.calls = at, value, 0

    def forward(self, view_1, view_2, temperature):
        self.calls += 1
        loss = super().forward(view_1, view_2, temperature)
        return loss + (self.value if self.calls >= self.at else 0.0)


@HOOKS.register_module()
class DamageWeightsForHookTest(Hook):
    """Overwrite a weight after an iteration whose loss was finite."""

    priority = 'NORMAL'

    def __init__(self, after: int):
        self.after = after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.after:
            with torch.no_grad():
                runner.model.neck.fc0.weight[0, 0] = math.nan


def breaking(work_dir, at: int, value: float = math.nan, interval: int = 1, **changes):
    config = tiny_config(work_dir, custom_hooks=[dict(type='FiniteLossHook', interval=interval)],
                         train_cfg=dict(by_epoch=True, max_epochs=4), **changes)
    config.model.head.loss = dict(type='BreakingLossForHookTest', at=at, value=value)
    return build_runner(config)


def checkpoints(work_dir) -> list[str]:
    return sorted(path.name for path in work_dir.glob('*.pth'))


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_the_run_stops_at_the_iteration_and_names_it(tmp_path, value):
    with pytest.raises(FloatingPointError, match=r'not finite at iteration 1: .*No checkpoint was written'):
        breaking(tmp_path, at=1, value=value).train()
    assert checkpoints(tmp_path) == []


@pytest.mark.parametrize('interval', [1, 2, 100])
def test_the_last_good_checkpoint_is_kept_and_named(tmp_path, interval):
    # Iterations 3 and 4 make epoch 2; max_keep_ckpts=1 would have deleted epoch 1's checkpoint.
    runner = breaking(tmp_path, at=3, interval=interval)
    with pytest.raises(FloatingPointError, match=r'at iteration 3: .*last good checkpoint is .*epoch_1\.pth'):
        runner.train()
    assert checkpoints(tmp_path) == ['epoch_1.pth']
    assert runner.iter == (2 if interval == 1 else 3 if interval == 2 else 4)


@pytest.mark.parametrize('interval', [1, 100])
def test_checkpoints_by_iteration_are_guarded_too(tmp_path, interval):
    hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=1))
    with pytest.raises(FloatingPointError, match=r'iteration 2: .*last good checkpoint is .*iter_1\.pth'):
        breaking(tmp_path, at=2, interval=interval, default_hooks=hooks).train()
    assert checkpoints(tmp_path) == ['iter_1.pth']


@pytest.mark.parametrize('by_epoch', [True, False])
def test_weights_damaged_by_the_last_update_are_not_saved(tmp_path, by_epoch):
    interval = 1 if by_epoch else 2
    runner = tiny_runner(
        tmp_path, train_cfg=dict(by_epoch=True, max_epochs=3),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=by_epoch, interval=interval,
                                           max_keep_ckpts=1)),
        custom_hooks=[dict(type='FiniteLossHook'), dict(type='DamageWeightsForHookTest', after=4)])
    good = 'epoch_1.pth' if by_epoch else 'iter_2.pth'
    message = rf'neck\.fc0\.weight is not finite after iteration 4: .*{good}'
    with pytest.raises(FloatingPointError, match=message):
        runner.train()
    assert checkpoints(tmp_path) == [good]


def test_the_online_knn_of_a_diverged_encoder_does_not_hide_the_reason(tmp_path):
    shapes = dict(type='Shapes', num_images=16, image_size=16, pipeline=[dict(type='PackImage')])
    runner = tiny_runner(tmp_path, custom_hooks=[
        dict(type='OnlineKNNHook', bank=shapes, queries=shapes, interval=1),
        dict(type='FiniteLossHook', interval=100), dict(type='DamageWeightsForHookTest', after=1)])
    with pytest.raises(FloatingPointError, match='the loss is not finite at iteration 2'):
        runner.train()


def test_a_finite_run_is_left_alone(tmp_path):
    tiny_runner(tmp_path, custom_hooks=[dict(type='FiniteLossHook', interval=3)]).train()
    assert checkpoints(tmp_path) == ['epoch_1.pth']


@pytest.mark.parametrize('interval', [0, -1])
def test_interval_below_one_is_refused(interval):
    with pytest.raises(ValueError, match='interval must be >= 1'):
        FiniteLossHook(interval)
