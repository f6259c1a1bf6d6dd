"""Write an encoder for another library: python tools/convert_checkpoint.py SRC DST --to FORMAT."""

from mmsimclr.cli.convert import convert

if __name__ == '__main__':
    convert()
