"""Images with clipped values are counted over an epoch, told once, and kept."""

from types import SimpleNamespace

import torch

from mmsimclr.engine import ClippedImagesHook


def fake_runner(**known):
    hub = SimpleNamespace(runtime_info=dict(known))
    hub.update_info = lambda name, value: hub.runtime_info.update({name: value})
    told = []
    return SimpleNamespace(message_hub=hub, logger=SimpleNamespace(info=told.append)), told


def run_epoch(hook, runner, *shares):
    hook.before_train_epoch(runner)
    for batch in shares:
        clipped = torch.tensor(batch, dtype=torch.float64)
        hook.after_train_iter(runner, 0, dict(data_samples=dict(clipped=clipped)))
    hook.after_train_epoch(runner)


def test_images_are_counted_told_once_and_kept():
    runner, told = fake_runner()
    hook = ClippedImagesHook()
    run_epoch(hook, runner, [0.0, 0.5, 0.0], [0.1, 0.0, 0.0])
    assert runner.message_hub.runtime_info['clipped_images'] == 2
    assert len(told) == 1 and '2 of 6 training images' in told[0] and '10 % of all' in told[0]
    run_epoch(hook, runner, [0.0, 0.0], [0.2, 0.2])
    assert runner.message_hub.runtime_info['clipped_images'] == 2 and len(told) == 1


def test_nothing_is_said_of_images_that_are_not_counted():
    runner, told = fake_runner()
    hook = ClippedImagesHook()
    hook.before_train_epoch(runner)
    hook.after_train_iter(runner, 0, dict(inputs=[], data_samples={}))
    hook.after_train_iter(runner, 0, None)
    hook.after_train_epoch(runner)
    assert not told and 'clipped_images' not in runner.message_hub.runtime_info
