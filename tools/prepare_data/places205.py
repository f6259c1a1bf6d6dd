"""Check Places205: python tools/prepare_data/places205.py data/places205."""

from mmsimclr.cli.prepare import places205

if __name__ == '__main__':
    places205()
