"""Pre-training as a run that leaves a result."""

import time
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmsimclr import distributed
from mmsimclr.config import ConfigError
from mmsimclr.engine.hooks.held_out import recorded
from mmsimclr.files import file_digest, leased, read_if_whole
from mmsimclr.protocols.result import Result, read_result
from mmsimclr.runner import build_runner, working_in


def pretrain(config: Config, config_path: str | Path, command: str) -> Result:
    """Train to the end, write ``result.json`` into the work directory, and return it.

    It has the last loss and, if the config has an ``OnlineKNNHook``, the accuracy before the first step and
    after the last. What hooks measured meanwhile is in its series, by name, each beside the iterations after
    which it was measured; alarms are in its settings. ``config_path`` and ``command`` say how to repeat it.

    Raises:
        HeldError: If another run works in the work directory.
    """
    distributed.start_as(config)
    with working_in(config.work_dir, 'pre-training'):
        runner = build_runner(config)
        hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
        if hooks and not any(hook.save_last or hook.save_best or 0 < hook.interval <= (
                runner.max_epochs if hook.by_epoch else runner.max_iters) for hook in hooks):
            raise ConfigError('the run would leave no checkpoint: default_hooks.checkpoint must have '
                              f'save_last=True or a shorter interval, got {config.default_hooks.checkpoint}')
        started = time.perf_counter()
        runner.train()
        result = _result(runner, time.perf_counter() - started, config_path, command)
        if distributed.rank() == 0:
            path = Path(runner.work_dir) / 'result.json'
            made_none = result.settings.get('resumed_from_iteration') == runner.iter
            before = read_if_whole(read_result, path) if made_none else None
            if before and before.checkpoint_sha256 == result.checkpoint_sha256 and (
                    'changed_on_resume' not in result.settings):
                return before                                    # which knows the time that it took
            with leased(runner.work_dir, 'pre-training'):        # unless another run has taken over meanwhile
                result.write(path)
            runner.logger.info(f'finished in {time.perf_counter() - started:.0f} s: {path}')
        return result


def _result(runner: Runner, wall_time_s: float, config_path: str | Path, command: str) -> Result:
    info = runner.message_hub.runtime_info
    metrics = {f'{name}_percent': float(info[name])
               for name in ('knn_accuracy_at_start', 'knn_accuracy') if name in info}
    for name, value in (recorded(runner) or [{}])[-1].items():
        if name.startswith('health/'):
            metrics[name.replace('/', '_')] = value
    scalars = runner.message_hub.log_scalars
    metrics['loss_nats'] = float(runner.message_hub.get_scalar('train/loss').mean(50))
    for name, unit, scale in (('accuracy', 'percent', 100.0), ('entropy', 'nats', 1.0)):
        if (scalar := f'train/contrastive_{name}') in scalars:
            metrics[f'contrastive_{name}_{unit}'] = scale * float(scalars[scalar].mean(50))
    resumed_from = info.get('started_at_iteration', 0)
    if not resumed_from:
        metrics['pretraining_s'] = wall_time_s
    checkpoint = info.get('last_ckpt')
    if checkpoint is not None and not Path(checkpoint).is_file():
        checkpoint = None
    saved_at = info.get('last_ckpt_iteration', runner.iter)
    if checkpoint and saved_at != runner.iter:
        runner.logger.warning(f'{checkpoint} is of step {saved_at}, and the numbers are of {runner.iter}')
    loader, ranks = runner.train_dataloader, distributed.world_size()
    return Result(
        protocol='pretraining', metrics=metrics, seed=runner.seed,
        num_images=dict(train=len(loader.dataset), **num_unreadable(runner), **info.get('knn_images', {}),
                        **(dict(health=info['health_images']) if info.get('health_images') else {})),
        settings=dict(
            max_epochs=runner.max_epochs, epochs=runner.epoch, iterations=runner.iter, ranks=ranks,
            **(dict(checkpoint_iterations=saved_at) if checkpoint and saved_at != runner.iter else {}),
            global_batch=loader.batch_size * ranks,
            **(dict(resumed_from_iteration=resumed_from) if resumed_from else {}),
            **history(runner), **info.get('knn_settings', {}),
            **(dict(alarms=info['alarms']) if info.get('alarms') else {})),
        series=series_of(recorded(runner)),
        checkpoint=str(checkpoint) if checkpoint else None,
        checkpoint_sha256=file_digest(checkpoint) if checkpoint and distributed.rank() == 0 else None,
        config=str(config_path), command=command, wall_time_s=metrics.get('pretraining_s'))


def series_of(evaluations: list[dict]) -> dict[str, list[float]]:
    """Return the figures that hooks recorded by name, and under ``NAME at iteration`` when."""
    series: dict[str, list[float]] = {}
    for figures in evaluations:
        for name in figures.keys() - {'iteration', 'epoch'}:
            series.setdefault(name, []).append(figures[name])
            series.setdefault(f'{name} at iteration', []).append(figures['iteration'])
    return dict(sorted(series.items()))


def num_unreadable(runner: Runner) -> dict[str, int]:
    """Return how many training images were replaced, and how many clipped, where they are counted."""
    places = runner.message_hub.runtime_info.get('unreadable_images')
    clipped = runner.message_hub.runtime_info.get('clipped_images')
    return {**({} if places is None else dict(train_unreadable=len(places))),
            **({} if clipped is None else dict(train_clipped=clipped))}


def history(runner: Runner) -> dict[str, Any]:
    """Return the weights that a run started from and the changes taken when it was resumed, if any."""
    info = runner.message_hub.runtime_info
    return {name: info[name] for name in ('started_from', 'changed_on_resume') if name in info}
