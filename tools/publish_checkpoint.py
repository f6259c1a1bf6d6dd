"""Write the model of a training run for others: python tools/publish_checkpoint.py SRC DST."""

from mmsimclr.cli.zoo import publish

if __name__ == '__main__':
    publish()
