"""Write an encoder for another library: python tools/convert_checkpoint.py SRC DST --to FORMAT."""

import argparse

from mmsimclr.checkpoints.export import FORMATS, convert_checkpoint
from mmsimclr.runner import plain_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write the encoder of a checkpoint for another library',
        epilog='formats: ' + '; '.join(f'{name}: {chosen.holds} ({" or ".join(chosen.suffixes)})'
                                       for name, chosen in FORMATS.items()))
    parser.add_argument('source', help='checkpoint of any library that is read, address, or model-zoo name')
    parser.add_argument('destination', help='file to write')
    parser.add_argument('--to', required=True, choices=FORMATS, metavar='FORMAT', help=', '.join(FORMATS))
    parser.add_argument('--select', help='which encoder, where the source has several')
    parser.add_argument('--overwrite', action='store_true', help='replace the destination if it exists')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    convert_checkpoint(args.source, args.destination, args.to, select=args.select, overwrite=args.overwrite,
                       say=print)


if __name__ == '__main__':
    with plain_errors():
        main()
