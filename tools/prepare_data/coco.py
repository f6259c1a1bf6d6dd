"""Check COCO 2017 for detection, and say what is missing."""

import argparse
import sys

from mmsimclr.prepare.devkits import WHERE, prepare_coco


def parse_args() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--data-root', default='data/coco', help='folder of the data')
    return parser.parse_args()


def main() -> int:
    """Prepare and check; return the exit status."""
    args = parse_args()
    try:
        prepare_coco(args.data_root)
    except (OSError, ValueError) as error:
        print(f'error: {error}\nneeded: {WHERE["coco"]}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
