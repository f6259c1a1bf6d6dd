"""Fetch the lists of 1 % and 10 % of ImageNet: python tools/prepare_data/imagenet_subsets.py."""

from mmsimclr.cli.prepare import imagenet_subsets

if __name__ == '__main__':
    imagenet_subsets()
