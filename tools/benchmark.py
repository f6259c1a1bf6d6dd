"""Measure an encoder: python tools/benchmark.py CONFIG CHECKPOINT."""

from mmsimclr.cli.benchmark import benchmark

if __name__ == '__main__':
    benchmark()
