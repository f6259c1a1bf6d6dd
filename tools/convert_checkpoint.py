"""Write an encoder for another library: python tools/convert_checkpoint.py SRC DST --to FORMAT."""

from mmsimclr.cli.zoo import convert

if __name__ == '__main__':
    convert()
