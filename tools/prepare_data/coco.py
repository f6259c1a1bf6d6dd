"""Check COCO 2017 for detection: python tools/prepare_data/coco.py."""

from mmsimclr.cli.prepare import coco

if __name__ == '__main__':
    coco()
