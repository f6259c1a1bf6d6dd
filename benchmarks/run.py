"""Run every measurement that needs no GPU, then print which goals are met: python benchmarks/run.py."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from goals import HEADER, goal_rows

from mmsimclr.reporting.table import text_table

PARTS = ('views', 'nt_xent', 'lars', 'gradient_cache', 'step', 'kept_memory', 'weak_scaling', 'knn', 'svm',
         'logistic_regression')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='work_dirs/benchmarks', help='folder (default: %(default)s)')
    parser.add_argument('--parts', nargs='+', default=PARTS, choices=PARTS, help='default: all')
    parser.add_argument('--quick', action='store_true', help='tiny sizes, which only show that it runs')
    args = parser.parse_args()
    failed = []
    for part in args.parts:
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name(f'{part}.py')), '--out', f'{args.out}/{part}.json',
             *['--quick'] * args.quick], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''})
        print(f'{part}: {time.perf_counter() - started:.0f} s', flush=True)
        if done.returncode:
            failed.append(part)
            print(done.stderr[-2000:], file=sys.stderr)
    print(f'\n{text_table(HEADER, goal_rows(args.out))}\n\nThe measurements are in {args.out}/.')
    if failed:
        raise SystemExit(f'failed: {", ".join(failed)}')


if __name__ == '__main__':
    main()
