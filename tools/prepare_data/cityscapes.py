"""Write the training labels of Cityscapes, check it, and say what is missing."""

import argparse
import sys

from mmsimclr.prepare.devkits import WHERE, prepare_cityscapes


def parse_args() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--data-root', default='data/cityscapes', help='folder of the data')
    return parser.parse_args()


def main() -> int:
    """Prepare and check; return the exit status."""
    args = parse_args()
    try:
        prepare_cityscapes(args.data_root)
    except (OSError, ValueError) as error:
        print(f'error: {error}\nneeded: {WHERE["cityscapes"]}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
