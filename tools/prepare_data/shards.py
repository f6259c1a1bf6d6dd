"""Pack images into tar shards: python tools/prepare_data/shards.py write SOURCE OUT."""

from mmsimclr.cli.prepare import shards

if __name__ == '__main__':
    shards()
