"""Pre-train on the built-in images and show what was learnt: python tools/quickstart.py."""

from mmsimclr.cli.train import quickstart

if __name__ == '__main__':
    quickstart()
