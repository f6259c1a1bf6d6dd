"""Compare two results on the same images: python tools/compare_results.py A/result.json B/result.json."""

from mmsimclr.cli.results import compare

if __name__ == '__main__':
    compare()
