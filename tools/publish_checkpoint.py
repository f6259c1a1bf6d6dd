"""Write the model of a training run for others: python tools/publish_checkpoint.py SRC DST."""

import argparse

from mmsimclr.checkpoints.publish import publish_checkpoint
from mmsimclr.runner import plain_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write the model of a training run, without its optimizer, named by its hash')
    parser.add_argument('source', help='checkpoint of a run, or its work directory')
    parser.add_argument('destination', help='existing folder, or path to which -0123abcd.pth is added')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    path = publish_checkpoint(args.source, args.destination)
    print(f'wrote {path} ({path.stat().st_size / 1e6:.1f} MB)')


if __name__ == '__main__':
    with plain_errors():
        main()
