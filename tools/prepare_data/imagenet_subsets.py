"""Bring the official lists of 1 % and 10 % of ImageNet's labels to where the configs look for them."""

import argparse
import sys
from pathlib import Path

from mmsimclr.prepare.imagenet_subsets import OFFICIAL_URL, prepare_imagenet_subsets


def parse_args() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--data-root', default='data/imagenet', help='the lists go to its folder subsets')
    parser.add_argument('--source', help='folder with 1percent.txt and 10percent.txt that you have, in '
                                         'place of fetching them')
    parser.add_argument('--url', default=OFFICIAL_URL, help='address of a list, {name} being its file name')
    parser.add_argument('--timeout', type=float, default=30.0,
                        help='seconds without a byte after which a download counts as stalled')
    return parser.parse_args()


def main() -> int:
    """Bring the lists; return the exit status."""
    args = parse_args()
    try:
        prepare_imagenet_subsets(Path(args.data_root) / 'subsets', args.source, args.url, args.timeout)
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        if args.source is None:
            print('without a network: put both lists of imagenet_subsets/ of google-research/simclr into a '
                  'folder and give it as --source', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
