"""Score decisions on the cue-conflict stimuli: python tools/shape_bias.py DECISIONS.csv [MORE.csv ...]."""

from mmsimclr.cli.results import shape_bias

if __name__ == '__main__':
    shape_bias()
