"""Write the procedural Shapes images to files in the ImageFolder, Pascal VOC or COCO layout.

Example: python tools/prepare_data/shapes.py coco data/shapes_coco --train 2000 --val 500
"""

import argparse

from mmsimclr.datasets.shapes.dataset import OBJECTS, Shapes
from mmsimclr.prepare.shapes import WRITERS


def parse_args() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('layout', choices=list(WRITERS))
    parser.add_argument('out', help='folder to create; it must not hold anything yet')
    parser.add_argument('--train', type=int, default=1000, help='images; 0 leaves the split out')
    parser.add_argument('--val', type=int, default=200)
    parser.add_argument('--test', type=int, default=0)
    parser.add_argument('--image-size', type=int, default=128, help='side in pixels')
    parser.add_argument('--objects', choices=OBJECTS,
                        help='default: single for imagefolder, multi for voc and coco')
    parser.add_argument('--max-objects', type=int, default=4)
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Write the images and say where they are."""
    args = parse_args()
    objects = args.objects or ('single' if args.layout == 'imagefolder' else 'multi')
    counts = {split: getattr(args, split) for split in ('train', 'val', 'test')}
    datasets = {
        split: Shapes(num_images=count, image_size=args.image_size, split=split, objects=objects,
                      max_objects=args.max_objects, seed=args.seed)
        for split, count in counts.items() if count != 0
    }
    folder = WRITERS[args.layout](datasets, args.out)
    print(f'{folder}: ' + ', '.join(f'{len(d)} {s} images' for s, d in datasets.items()))


if __name__ == '__main__':
    main()
