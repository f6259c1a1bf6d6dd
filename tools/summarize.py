"""Put all results below some folders into one table: python tools/summarize.py work_dirs/A work_dirs/B."""

import argparse
from pathlib import Path

from mmsimclr.reporting import summarise
from mmsimclr.runner import plain_errors


def main() -> None:
    parser = argparse.ArgumentParser(description='Put all results below some folders into one table')
    parser.add_argument('folders', nargs='+', help='work directories, searched at any depth')
    parser.add_argument('--out', nargs='+', default=[], metavar='FILE',
                        help='write it to these files, .md or .html (default: print it as Markdown)')
    args = parser.parse_args()
    unknown = [path for path in args.out if Path(path).suffix not in ('.md', '.html')]
    if unknown:
        parser.error(f'--out must end in .md or .html, got {", ".join(unknown)}')
    summary = summarise(args.folders)
    for path in map(Path, args.out):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(summary.html() if path.suffix == '.html' else summary.markdown(), encoding='utf-8')
        print(f'wrote {path}')
    if not args.out:
        print(summary.markdown(), end='')


if __name__ == '__main__':
    with plain_errors():
        main()
