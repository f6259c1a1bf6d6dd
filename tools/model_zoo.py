"""List, describe, fetch and verify the models of the zoo: python tools/model_zoo.py list."""

from mmsimclr.cli.zoo import zoo

if __name__ == '__main__':
    zoo()
