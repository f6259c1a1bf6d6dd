"""Health while training: the share of a run's time that its hook takes, at the interval of the config.

    python benchmarks/health.py --out benchmarks/results/health.json

Whole runs of the quick start's config with the hook and without, in turn, in processes of their own; both
without the online k-NN, which has its own price. The share is the median over the rounds of the difference,
in parts of the run without. `--config` and `--epochs` measure another config.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

from measure import alternate_processes, parse, serve, write

from mmsimclr.config import load_config
from mmsimclr.engine import OnlineKNNHook, RepresentationHealthHook
from mmsimclr.runner import build_runner

CONFIG = 'simclr_resnet18-w16_1xb128-coslr-5e_shapes'
WAYS = ('with', 'without')


def train(args: argparse.Namespace) -> None:
    """Train once, with the hook or without."""
    folder = tempfile.mkdtemp()
    options = {'train_cfg.max_epochs': args.epochs} if args.epochs else {}
    if args.images:
        options['train_dataloader.dataset.num_images'] = args.images
    config = load_config(args.config, options, folder)
    left_out = {OnlineKNNHook} if args.way == 'with' else {OnlineKNNHook, RepresentationHealthHook}
    config.custom_hooks = [hook for hook in config.custom_hooks if hook.type not in left_out]
    config.log_level = 'ERROR'
    build_runner(config).train()
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', default=CONFIG, help='name or file of a config (default: %(default)s)')
    parser.add_argument('--epochs', type=int, help="epochs of a run (default: the config's)")
    parser.add_argument('--images', type=int, help="training images (default: the config's)")
    parser.add_argument('--rounds', type=int, default=3, help='rounds that count (default: %(default)s)')
    parser.add_argument('--way', choices=WAYS, help=argparse.SUPPRESS)
    args = parse(parser, quick=dict(epochs=2, images=256, rounds=1))
    if args.way:
        serve(lambda: train(args))
        return
    given = ['--config', args.config, *(['--epochs', args.epochs] if args.epochs else []),
             *(['--images', args.images] if args.images else [])]
    seconds = alternate_processes(Path(__file__), {way: [*given, '--way', way] for way in WAYS}, args.rounds)
    shares = [one / other - 1 for one, other in zip(seconds['with'], seconds['without'], strict=True)]
    write(args.out, benchmark='health', config=args.config, epochs=args.epochs, images=args.images,
          rounds=args.rounds, seconds=seconds, shares=shares, share=statistics.median(shares))


if __name__ == '__main__':
    main()
