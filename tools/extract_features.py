"""Write the features of images to a file: python tools/extract_features.py SOURCE CHECKPOINT --out FILE."""

from mmsimclr.cli.embed import embed

if __name__ == '__main__':
    embed()
