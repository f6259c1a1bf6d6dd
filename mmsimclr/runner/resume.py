"""Checks before a run is resumed: settings, data, schedules."""

import logging
import os
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop

from mmsimclr.config.errors import ConfigError
from mmsimclr.runner.loop import ResumableTrainLoop

# Parts of a schedule's state that are no settings; those of the second line are of ReduceOnPlateauLR.
MOVING = {'last_step', '_global_step', '_last_value', 'end', 'verbose',
          'best', 'num_bad_epochs', 'cooldown_counter'}
RESTARTS = ('TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT')


def num_restarts() -> int:
    """Return how often torchrun or Slurm have restarted this run, as the environment says."""
    return sum(int(os.environ.get(name) or 0) for name in RESTARTS)


def may_be_restarted() -> bool:
    """Whether torchrun or Slurm may start this run again without being told to resume it."""
    return int(os.environ.get('TORCHELASTIC_MAX_RESTARTS') or 0) > 0 or 'SLURM_JOB_ID' in os.environ


def run_settings(runner) -> dict[str, int]:
    """Return the numbers that the place inside an epoch depends on."""
    loader = runner.train_dataloader
    batch = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', 0)
    return dict(num_images=len(loader.dataset), steps_per_epoch=len(loader),
                global_batch=batch * runner.world_size, world_size=runner.world_size)


def settings_of(runner) -> dict[str, Any]:
    """Return the seed and the settings of optimizer and schedules, by their keys in a config."""
    settings = {}
    if runner._randomness_cfg.get('seed') is not None:
        settings['randomness.seed'] = runner.seed
    if isinstance(runner.optim_wrapper, OptimWrapper):
        for number, group in enumerate(runner.optim_wrapper.param_groups):
            suffix = f' (group {number})' if number else ''
            settings |= {f'optim_wrapper.optimizer.{key.removeprefix("initial_")}{suffix}': value
                         for key, value in group.items()
                         if key not in ('params', 'param_names') and f'initial_{key}' not in group}
    for number, scheduler in enumerate(schedules(runner)):
        settings |= {f'param_scheduler.{number}.{key}': value
                     for key, value in state_of(scheduler).items() if key not in MOVING}
    return settings


def check_settings(runner, configured: dict[str, Any], path: str) -> None:
    """Raise ConfigError if the settings of a checkpoint are not those ``configured`` before it was resumed.

    MMEngine lets the checkpoint's learning rate and schedule stand and says nothing.
    """
    resumed = settings_of(runner)
    # A setting that only one of them knows comes from another version of torch.
    different = [f'{key}: {resumed[key]} in the checkpoint, {value} in the config'
                 for key, value in configured.items() if key in resumed and not _equal(resumed[key], value)]
    if different:
        raise ConfigError(
            f'{path} is of a run with other settings, which a resumed run keeps:\n  ' + '\n  '.join(different)
            + '\nGive the config those of the checkpoint, or start a new run from its weights '
            f'(--cfg-options load_from={path})')


def check_data(runner, meta: dict, path: str) -> None:
    """Raise ConfigError if data or batch are others, or the loop cannot go on inside an epoch."""
    now, then = run_settings(runner), meta.get('run') or {}
    steps = now['steps_per_epoch']
    different = [f'{key} {then[key]} in the checkpoint, {now[key]} now'
                 for key in ('num_images', 'global_batch', 'steps_per_epoch')
                 if then.get(key, now[key]) != now[key]]
    by_epoch, inside = isinstance(runner.train_loop, EpochBasedTrainLoop), runner.iter - runner.epoch * steps
    if not different and by_epoch and not 0 <= inside <= steps:
        different = [f'iteration {runner.iter} after {runner.epoch} epochs in the checkpoint, {steps} steps '
                     'per epoch now']
    if different:
        raise ConfigError(
            f'{path} is of a run on other data or with another batch: {"; ".join(different)}. The iterations '
            'done would be other images: make them equal (batch_size is per process), or start a new run '
            f'from its weights (--cfg-options load_from={path})')
    if by_epoch and inside and not isinstance(runner.train_loop, ResumableTrainLoop):
        raise ConfigError(
            f'{path} was saved {inside} steps into an epoch of {steps}, and '
            f'{type(runner.train_loop).__name__} would begin that epoch again: derive the loop from '
            'mmsimclr.runner.ResumableTrainLoop, or resume from the end of an epoch (--resume FILE)')
    if then.get('world_size', now['world_size']) != now['world_size']:
        print_log(f'{path} was saved by {then["world_size"]} process(es), and there are {now["world_size"]}: '
                  'the run goes on with the same images, but not bit by bit', 'current', logging.WARNING)


def schedules(runner) -> list:
    """Return the built schedules of a runner."""
    schedulers = runner.param_schedulers or []
    if isinstance(schedulers, dict):
        schedulers = [each for group in schedulers.values() for each in group]
    return [each for each in schedulers if hasattr(each, 'state_dict')]


def state_of(schedule: Any) -> dict[str, Any]:
    """Return a schedule's state without its functions: a checkpoint that is safe to read holds none."""
    return {key: value for key, value in schedule.state_dict().items() if not callable(value)}


def extend(schedule: Any, end: float) -> None:
    """Have a resumed schedule go on to another end: that of a run which was made longer."""
    had_ended = schedule._global_step >= schedule.end
    schedule.end = end
    if had_ended and schedule._global_step < end:
        schedule._global_step -= 1
        schedule.step()                 # which it did not make when the shorter run ended


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)
