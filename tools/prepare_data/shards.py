"""Pack a folder of images into tar shards that webdataset reads too, or index shards that are there.

Example: python tools/prepare_data/shards.py write data/imagenet/train data/imagenet_shards --labels
"""

import argparse
import functools
import sys
from pathlib import Path

from mmsimclr.datasets.webdataset_shards import scan_shards
from mmsimclr.prepare.shards import write_shards


def parse_args() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    write = commands.add_parser('write', help='make shards of a folder; goes on where it was interrupted')
    write.add_argument('source', type=Path, help='folder of images of any depth')
    write.add_argument('out', type=Path, help='folder of the shards')
    write.add_argument('--labels', action='store_true', help='the folders right below SOURCE are classes')
    write.add_argument('--images-per-shard', type=int, default=10_000, help='default: %(default)s')
    write.add_argument('--seed', type=int, default=0, help='of the order of images (default: %(default)s)')
    index = commands.add_parser('index', help='write index.npz of shards made elsewhere')
    index.add_argument('out', type=Path, help='folder of the shards')
    return parser.parse_args()


def main() -> int:
    """Write or index; return the exit status."""
    args = parse_args()
    try:
        if args.command == 'write':
            index = write_shards(args.source, args.out, args.images_per_shard, args.labels, args.seed,
                                 functools.partial(print, flush=True))
        else:
            index = scan_shards(args.out)
            index.write(args.out)
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted; the same command goes on from here', file=sys.stderr)
        return 130
    print(f'{args.out}: {len(index.offsets)} images in {len(index.names)} shards')
    return 0


if __name__ == '__main__':
    sys.exit(main())
