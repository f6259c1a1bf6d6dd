"""Health while training: the share of a run's time that its hook takes, at the interval of the config.

    python benchmarks/health.py --out benchmarks/results/health.json

Whole runs of the quick start's config, without the online k-NN, which has its own price. The hook's calls are
timed inside of each run, so both parts of a ratio are of the same run: on a machine that others share, two
whole runs differ by more than the hook takes. `--config` and `--epochs` measure another config.
"""

import argparse
import shutil
import statistics
import tempfile
import time

import torch
from measure import parse, write

from mmsimclr.config import load_config
from mmsimclr.engine import OnlineKNNHook, RepresentationHealthHook
from mmsimclr.runner import build_runner

CONFIG = 'simclr_resnet18-w16_1xb128-coslr-5e_shapes'


def now() -> float:
    """Return the time in seconds, when the device has done what it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class TimedHook(RepresentationHealthHook):
    """The hook, with the seconds that it took."""

    seconds = 0.0

    def before_train(self, runner) -> None:
        self._timed(super().before_train, runner)

    def after_train_epoch(self, runner) -> None:
        self._timed(super().after_train_epoch, runner)

    def _timed(self, call, runner) -> None:
        started = now()
        call(runner)
        self.seconds += now() - started


def train(args: argparse.Namespace) -> tuple[float, float]:
    """Train once; return the seconds of the hook and of all else."""
    folder = tempfile.mkdtemp()
    options = {'train_cfg.max_epochs': args.epochs} if args.epochs else {}
    if args.images:
        options['train_dataloader.dataset.num_images'] = args.images
    config = load_config(args.config, options, folder)
    config.custom_hooks = [
        {**hook, 'type': TimedHook} if hook.type is RepresentationHealthHook else hook
        for hook in config.custom_hooks if hook.type is not OnlineKNNHook]
    config.log_level = 'ERROR'
    runner = build_runner(config)
    hook, = (hook for hook in runner.hooks if isinstance(hook, TimedHook))
    started = now()
    runner.train()
    seconds = now() - started
    shutil.rmtree(folder)
    return hook.seconds, seconds - hook.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', default=CONFIG, help='name or file of a config (default: %(default)s)')
    parser.add_argument('--epochs', type=int, help="epochs of a run (default: the config's)")
    parser.add_argument('--images', type=int, help="training images (default: the config's)")
    parser.add_argument('--rounds', type=int, default=3, help='runs (default: %(default)s)')
    args = parse(parser, quick=dict(epochs=2, images=256, rounds=1))
    rows = {}
    for number in range(args.rounds):
        hook, rest = train(args)
        rows[f'run {number + 1}'] = dict(hook_s=hook, all_else_s=rest, share_percent=100 * hook / rest)
    write(args.out, benchmark='health', config=args.config, epochs=args.epochs, images=args.images, rows=rows,
          share_percent=statistics.median(row['share_percent'] for row in rows.values()))


if __name__ == '__main__':
    main()
