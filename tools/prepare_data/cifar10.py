"""Bring CIFAR-10 into the official binary layout: python tools/prepare_data/cifar10.py."""

from mmsimclr.cli.prepare import cifar10

if __name__ == '__main__':
    cifar10()
