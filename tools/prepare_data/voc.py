"""Check a PASCAL VOC devkit for detection: python tools/prepare_data/voc.py."""

from mmsimclr.cli.prepare import voc

if __name__ == '__main__':
    voc()
