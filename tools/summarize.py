"""Put all results below some folders into one table: python tools/summarize.py work_dirs/A work_dirs/B."""

from mmsimclr.cli.results import summarize

if __name__ == '__main__':
    summarize()
