"""Write docs/reference/results.md from the files in results/: python tools/make_results_page.py."""

import argparse
from pathlib import Path

from mmsimclr.reporting import results_page
from mmsimclr.runner import plain_errors


def main() -> None:
    parser = argparse.ArgumentParser(description='Write the page of results from the result files')
    parser.add_argument('--results', default='results', help='folder of result files (default: %(default)s)')
    parser.add_argument('--configs', default='configs/simclr', help='their folder (default: %(default)s)')
    parser.add_argument('--out', default='docs/reference/results.md',
                        help='page to write (default: %(default)s)')
    args = parser.parse_args()
    Path(args.out).write_text(results_page(args.results, args.configs), encoding='utf-8')
    print(f'wrote {args.out}')


if __name__ == '__main__':
    with plain_errors():
        main()
