"""Merge SBD's masks into VOC2012 (VOC12aug), check them, and say what is missing."""

import argparse
import sys

from mmsimclr.prepare.devkits import WHERE, prepare_voc12aug


def parse_args() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--data-root', default='data/VOCdevkit/VOC2012', help='folder of the data')
    parser.add_argument('--sbd', default='data/benchmark_RELEASE/dataset', help="SBD's folder with cls/")
    return parser.parse_args()


def main() -> int:
    """Prepare and check; return the exit status."""
    args = parse_args()
    try:
        prepare_voc12aug(args.data_root, args.sbd)
    except (OSError, ValueError) as error:
        print(f'error: {error}\nneeded: {WHERE["voc12aug"]}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
