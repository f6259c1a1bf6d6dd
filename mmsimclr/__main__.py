"""The command line: ``python -m mmsimclr``."""

from mmsimclr.cli import main

if __name__ == '__main__':
    main(prog_name='mmsimclr')
