"""Checks before a run is resumed: that it is the same run, and can go on where it stopped."""

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop

from mmsimclr.checkpoints import CheckpointError, find_checkpoint
from mmsimclr.checkpoints.config_text import read_config_text
from mmsimclr.config.canonical import canonical, differences
from mmsimclr.datasets import with_same_samples
from mmsimclr.distributed import elastic_ranks
from mmsimclr.errors import ConfigError, UserError
from mmsimclr.files import file_digest
from mmsimclr.runner.loop import ResumableTrainLoop

# Parts of a schedule's state that are no settings; those of the second line are of ReduceOnPlateauLR.
MOVING = {'last_step', '_global_step', '_last_value', 'end', 'verbose',
          'best', 'num_bad_epochs', 'cooldown_counter'}
# Keys that do not say which run it is.
ELSEWHERE = (
    'load_from',                                        # the checkpoint itself, or weights: started_from
    'train_cfg.max_epochs', 'train_cfg.max_iters',      # check_place; a schedule that they decide is compared
    'train_dataloader.batch_size',                      # of a process; the global batch is compared
    'protocol',                                         # what it does to the training is in the other keys
)
# What a resumed run keeps of its checkpoint, whatever the config says, so that no change can be taken.
KEPT = ('optim_wrapper.optimizer', 'optim_wrapper.paramwise_cfg', 'optim_wrapper.constructor',
        'param_scheduler', 'randomness.seed', 'num_images', 'global_batch', 'steps_per_epoch')
# Of WarmupCosineLR; another may be asked for by one who makes the run longer.
LENGTH = re.compile(r'param_scheduler\.\d+\.total_steps')
# Keys that say where the images of a part lie: they may change if the hashes of its images stay.
PLACES = dict(train=('train_dataloader.*data_root', 'train_dataloader.*.names'),
              test=('test_dataloader.*data_root', 'test_evaluator.ann_file'),
              knn_bank=('*_hooks.mmsimclr.OnlineKNNHook.bank.*data_root',),
              knn_queries=('*_hooks.mmsimclr.OnlineKNNHook.queries.*data_root',))
RESTART_SHARE = 0.1
RESTARTS = ('TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT')


def num_restarts() -> int:
    """Return how often torchrun or Slurm have restarted this run, as the environment says.

    An elastic run counts as restarted: torchrun does not count the starts after a machine came or went.
    """
    return sum(int(os.environ.get(name) or 0) for name in RESTARTS) + bool(elastic_ranks())


def may_be_restarted() -> bool:
    """Whether torchrun or Slurm may start this run again without being told to resume it."""
    return int(os.environ.get('TORCHELASTIC_MAX_RESTARTS') or 0) > 0 or 'SLURM_JOB_ID' in os.environ


def run_settings(runner) -> dict[str, int]:
    """Return the numbers that the place inside an epoch depends on."""
    loader = runner.train_dataloader
    batch = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', 0)
    return dict(num_images=len(loader.dataset), steps_per_epoch=len(loader),
                global_batch=batch * runner.world_size, world_size=runner.world_size)


def described(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says of its run: as it is stored there, or as older versions' config does.

    Besides the canonical config these are the images and the batch, and the settings of the built schedules.
    """
    meta = tree['meta']
    stored = meta.get('identity')
    if stored is None:
        with suppress(AttributeError, TypeError, ValueError):           # of a text that is no config
            stored = canonical(read_config_text(meta.get('cfg')), may_import=False)
    stored = with_schedules(stored or {}, schedule_settings(tree.get('param_schedulers') or ()))
    if stored.get('randomness.seed') is None:
        stored['randomness.seed'] = meta.get('seed')                    # which was drawn
    return {**{key: value for key, value in (meta.get('run') or {}).items() if key != 'world_size'}, **stored}


def check_same_run(then: Mapping[str, Any], now: Mapping[str, Any], place: object,
                   allowed: Sequence[str] = (), ignored: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Refuse to go on with what belongs to another run, encoder or data; both are identities, keys dotted.

    Keys match ``ignored`` as patterns, and ``allowed`` as they are or with all below them.
    Return the changes that were allowed, ``key``, ``then`` and ``now`` of each; raise ConfigError at others.
    """
    found = [dict(key=key, then=before, now=after) for key, before, after in differences(then, now, ignored)]
    refused = [each for each in found
               if not _is_below(each['key'], allowed) or _is_below(each['key'], KEPT)]
    if refused:
        raise ConfigError(
            f'{place} is of a run with other settings, encoder or data:\n  ' + '\n  '.join(
                f'{each["key"]}: {each["then"]} in the checkpoint, {each["now"]} in the config'
                for each in refused)
            + '\nMake them equal, or start a new run, from its weights if you like (--cfg-options '
            f'load_from={place}). A change on purpose is taken with --allow-changed KEY, and the result says '
            'so; optimizer, schedule, seed and batch are always those of the checkpoint')
    return found


def _is_below(key: str, places: Sequence[str]) -> bool:
    return any(key == place or key.startswith((f'{place}.', f'{place}[')) for place in places)


def compare_runs(runner, tree: Mapping[str, Any], path: str, schedules_now: Mapping[str, Any]
                 ) -> list[dict[str, Any]]:
    """Compare a runner with a checkpoint by :func:`check_same_run`; return the changes that were allowed."""
    hub = tree.get('message_hub')
    if not isinstance(hub, Mapping) or not all(
            isinstance(hub.get(part), Mapping) for part in ('log_scalars', 'runtime_info', 'resumed_keys')):
        raise CheckpointError(f'{path} cannot be resumed: its message_hub is not that of a run. Start a new '
                              f'run from its weights (--cfg-options load_from={path})')
    then, now = described(tree), with_schedules(runner.identity, schedules_now)
    if not any(key.startswith('model.') for key in then):
        then, now = {**then, 'config': 'not in the checkpoint'}, {key: now[key] for key in then if key in now}
    now |= {key: value for key, value in run_settings(runner).items() if key in then}
    if now.get('randomness.seed') is None:
        now['randomness.seed'] = then['randomness.seed']
    ranks = {runner.world_size, (tree['meta'].get('run') or {}).get('world_size', runner.world_size)}
    ignored = [*ELSEWHERE, *(('sync_bn',) if ranks == {1} else ())]
    if 'identity' not in tree['meta']:
        ignored.append('data')                                          # which nothing says
    else:
        then = {key: value for key, value in then.items() if value is not None or not key.startswith('data.')}
        now = with_same_samples(now, then)
        ignored += [place for part, places in PLACES.items() if f'data.{part}' in now and all(
            then.get(key) == now.get(key) for key in (f'data.{part}', f'data.{part}.sample'))
            for place in places]
        if runner.weights is not None:
            then['started_from'], now['started_from'] = _weights(tree, runner.weights)
    longer = [dict(key=key, then=then[key], now=now[key], longer=runner.longer) for key in then
              if LENGTH.fullmatch(key) and then[key] < now.get(key, 0) == runner.max_iters]
    # A schedule that was restarted has other settings than its config, but for its end.
    ignored += [each['key'] for each in longer] + [
        key.replace('restarted_at', '*') for key in then if key.endswith('.restarted_at')
        and runner.longer == 'restart' and then[key.replace('restarted_at', 'total_steps')] == now.get(
            key.replace('restarted_at', 'total_steps'))]
    return check_same_run(then, now, path, runner.allowed_changes, ignored) + longer


def _weights(tree: Mapping[str, Any], given: str) -> tuple[str | None, str]:
    """Return the hashes of the weights that a run began with and those given; without a file, the names."""
    source = tree['message_hub']['runtime_info'].get('started_from')
    source = source if isinstance(source, Mapping) else {}
    try:
        return source.get('sha256'), file_digest(find_checkpoint(given))
    except (UserError, OSError):
        is_same = tree['meta']['identity'].get('load_from') == str(given)         # a folder, say
        return str(given) if is_same else source.get('checkpoint'), str(given)


def lengthen(schedule: Any, total: int | None, longer: str, step: int) -> None:
    """Have a resumed WarmupCosineLR end later, at ``total`` steps, from ``step`` on.

    'stretch': its rate is from here on that of a run which was that long from the start, and so may rise.
    'restart': a cosine from :data:`RESTART_SHARE` of the peak down to 0 over the steps that are left.
    """
    if not total or total <= getattr(schedule, 'total_steps', total):
        return
    if longer == 'restart':
        schedule.restarted_at = schedule.warmup_steps = step
        schedule.base_values = [RESTART_SHARE * value for value in schedule.base_values]
    schedule.total_steps = total
    for group, rate in zip(schedule.optimizer.param_groups, schedule._get_value(), strict=True):
        group['lr'] = rate


def check_place(runner, meta: Mapping[str, Any], path: str) -> None:
    """Raise ConfigError if the run is over, or the loop cannot go on at the place inside an epoch."""
    steps, then = len(runner.train_dataloader), meta.get('run') or {}
    by_epoch, inside = isinstance(runner.train_loop, EpochBasedTrainLoop), runner.iter - runner.epoch * steps
    if by_epoch and not 0 <= inside <= steps:
        raise ConfigError(
            f'{path} is of a run on other data or with another batch: iteration {runner.iter} after '
            f'{runner.epoch} epochs in the checkpoint, {steps} steps per epoch now. The iterations done '
            'would be other images: make them equal (batch_size is per process), or start a new run from its '
            f'weights (--cfg-options load_from={path})')
    if runner.iter > runner.max_iters:
        asked = f'max_epochs={runner.max_epochs}' if by_epoch else f'max_iters={runner.max_iters}'
        raise ConfigError(f'{path} is of a run that has made {runner.iter} steps, and train_cfg.{asked} '
                          f'asks for {runner.max_iters}: ask for as many at least')
    if by_epoch and inside and not isinstance(runner.train_loop, ResumableTrainLoop):
        raise ConfigError(
            f'{path} was saved {inside} steps into an epoch of {steps}, and '
            f'{type(runner.train_loop).__name__} would begin that epoch again: derive the loop from '
            'mmsimclr.runner.ResumableTrainLoop, or resume from the end of an epoch (--resume FILE)')
    if then.get('world_size', runner.world_size) != runner.world_size:
        norms = '' if runner.cfg.get('sync_bn') else ', and batch norms see the images of one process'
        print_log(f'{path} was saved by {then["world_size"]} process(es), and there are {runner.world_size}: '
                  'weights, optimizer, schedule and the images and views of each step are kept; states of '
                  f'random generators are not, sums are rounded otherwise{norms}', 'current', logging.WARNING)


def schedules(runner) -> list:
    """Return the built schedules of a runner."""
    return [each for each in runner.param_schedulers or () if hasattr(each, 'state_dict')]


def schedule_settings(states: Sequence | Mapping) -> dict[str, Any]:
    """Return the settings in the states of schedules, by the keys that a config would give them."""
    states = [each for group in states.values() for each in group] if isinstance(states, Mapping) else states
    return {f'param_scheduler.{number}.{key}': json.loads(json.dumps(value, default=str))
            for number, state in enumerate(states) for key, value in state.items()
            if key not in MOVING and not callable(value)}


def with_schedules(identity: Mapping[str, Any], built: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity with the settings of the built schedules, if there are any, for those of the config.

    Texts are kept, since a schedule may have turned them into functions, which no checkpoint has.
    """
    stays = {key: value for key, value in identity.items() if not built
             or not key.startswith('param_scheduler.') or isinstance(value, str)}
    return {**stays, **built}


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

