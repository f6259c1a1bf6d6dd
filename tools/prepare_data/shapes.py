"""Write the Shapes images to files: python tools/prepare_data/shapes.py coco data/shapes_coco."""

from mmsimclr.cli.prepare import shapes

if __name__ == '__main__':
    shapes()
