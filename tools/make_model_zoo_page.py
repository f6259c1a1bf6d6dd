"""Write docs/reference/model_zoo.md from configs/simclr/metafile.yml: python tools/make_model_zoo_page.py."""

import argparse
from pathlib import Path

from mmsimclr.reporting.results_page import model_zoo_page
from mmsimclr.runner import plain_errors


def main() -> None:
    parser = argparse.ArgumentParser(description='Write the page of the model zoo from its metafile')
    parser.add_argument('--out', default='docs/reference/model_zoo.md',
                        help='page to write (default: %(default)s)')
    args = parser.parse_args()
    Path(args.out).write_text(model_zoo_page(), encoding='utf-8')
    print(f'wrote {args.out}')


if __name__ == '__main__':
    with plain_errors():
        main()
