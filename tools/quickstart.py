"""Pre-train on the built-in images and show what was learnt: python tools/quickstart.py."""

import argparse

from mmsimclr.config import ConfigOptions
from mmsimclr.quickstart import limit_threads, quickstart
from mmsimclr.runner import plain_errors

CONFIG = 'configs/simclr/simclr_resnet18-w16_1xb128-coslr-5e_shapes.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Pre-train on the built-in images and show the result')
    parser.add_argument('config', nargs='?', default=CONFIG, help='default: %(default)s')
    parser.add_argument('--work-dir', default='work_dirs/quickstart', help='default: %(default)s')
    parser.add_argument('--seed', type=int, help="default: the config's")
    parser.add_argument('--deterministic', action='store_true', help='deterministic algorithms only')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    limit_threads()
    options = args.cfg_options or {}
    if args.deterministic:
        options['randomness.deterministic'] = True
    quickstart(args.config, args.work_dir, options, args.seed)


if __name__ == '__main__':
    with plain_errors():
        main()
