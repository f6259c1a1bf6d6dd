"""Pre-train a model described by a config: python tools/train.py CONFIG."""

from mmsimclr.cli.train import train

if __name__ == '__main__':
    train()
