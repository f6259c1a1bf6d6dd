"""Bring CIFAR-10 into the official binary layout, verified against the official md5 sums."""

import argparse
import functools
import sys

from mmsimclr.prepare.cifar10 import OFFICIAL_URL, prepare_cifar10


def parse_args() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--data-root', default='data/cifar10',
                        help='folder to prepare; the batches go to its cifar-10-batches-bin')
    parser.add_argument('--source', default='auto',
                        help="'official' (download), the path of a folder or .tar.gz you have, or "
                             "'auto': files already in --data-root, then official")
    parser.add_argument('--url', default=OFFICIAL_URL,
                        help='address of cifar-10-binary.tar.gz, e.g. of a mirror')
    parser.add_argument('--timeout', type=float, default=30.0,
                        help='seconds without a byte after which a download counts as stalled')
    parser.add_argument('--keep-archive', action='store_true',
                        help='keep the downloaded archive in --data-root')
    return parser.parse_args()


def main() -> int:
    """Prepare the data; return the exit status."""
    args = parse_args()
    try:
        prepare_cifar10(args.data_root, args.source, url=args.url, timeout=args.timeout,
                        keep_archive=args.keep_archive,
                        report=functools.partial(print, flush=True))
    except (OSError, ValueError, RuntimeError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted; the same command goes on from here', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
