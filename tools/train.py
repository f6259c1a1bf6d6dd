"""Pre-train a model described by a config: python tools/train.py CONFIG."""

import argparse
import os
import shlex
import sys

from mmsimclr import distributed
from mmsimclr.config import ConfigOptions, load_config
from mmsimclr.protocols import pretrain
from mmsimclr.runner import plain_errors, set_amp, set_auto_scale_lr, set_deterministic


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Pre-train a model described by a config')
    parser.add_argument('config', help='path of a config, e.g. one of configs/simclr/')
    parser.add_argument('--work-dir', help='folder of logs and checkpoints (default: work_dirs/CONFIG)')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CKPT',
                        help='go on from a checkpoint; without CKPT, from the newest intact in the work dir')
    parser.add_argument('--amp', choices=('bf16', 'fp16'), help='mixed precision; fp16 needs a GPU')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate to the real global batch (see auto_scale_lr)')
    parser.add_argument('--deterministic', action='store_true',
                        help='deterministic algorithms only: equal losses, bit by bit, when run again')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE',
                        help='override values, e.g. train_cfg.max_epochs=5')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, help='set by some launchers; unused')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = load_config(args.config, args.cfg_options, args.work_dir)
    config.launcher = args.launcher
    if args.amp:
        set_amp(config, args.amp)
    if args.resume:
        config.resume = True
        config.load_from = None if args.resume == 'auto' else args.resume
    if args.auto_scale_lr:
        set_auto_scale_lr(config)
    if args.deterministic:
        set_deterministic(config)
    pretrain(config, args.config, os.environ.get('MMSIMCLR_COMMAND') or shlex.join(['python', *sys.argv]))
    distributed.stop()


if __name__ == '__main__':
    with plain_errors():
        main()
