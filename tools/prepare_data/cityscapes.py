"""Write the training labels of Cityscapes and check it: python tools/prepare_data/cityscapes.py."""

from mmsimclr.cli.prepare import cityscapes

if __name__ == '__main__':
    cityscapes()
