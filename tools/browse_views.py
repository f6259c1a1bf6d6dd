"""Draw a sheet of images and their random views: python tools/browse_views.py CONFIG."""

import argparse

import numpy as np
from mmengine.registry import init_default_scope

from mmsimclr.config import ConfigOptions, load_config
from mmsimclr.registry import DATASETS
from mmsimclr.reporting import save_views_sheet
from mmsimclr.runner import plain_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw a sheet of images and their random views')
    parser.add_argument('config', help='config whose train_dataloader makes the views')
    parser.add_argument('--out', default='views.png', help='picture to write (default: %(default)s)')
    parser.add_argument('--num-images', type=int, default=8, help='rows (default: %(default)s)')
    parser.add_argument('--num-draws', type=int, default=4, help='draws per image (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='which images (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    init_default_scope(config.get('default_scope', 'mmsimclr'))      # types may be named by strings
    dataset = DATASETS.build(config.train_dataloader.dataset)
    count = min(args.num_images, len(dataset))
    indices = np.random.default_rng(args.seed).choice(len(dataset), count, replace=False)
    path = save_views_sheet(dataset, args.out, sorted(map(int, indices)), args.num_draws)
    print(f'{count} of {len(dataset)} images and their views: {path}')


if __name__ == '__main__':
    with plain_errors():
        main()
