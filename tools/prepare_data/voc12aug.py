"""Merge SBD's masks into VOC2012 and check them: python tools/prepare_data/voc12aug.py."""

from mmsimclr.cli.prepare import voc12aug

if __name__ == '__main__':
    voc12aug()
