"""Run a study of configs/studies: python tools/study.py CONFIG."""

from mmsimclr.cli.study import study

if __name__ == '__main__':
    study()
