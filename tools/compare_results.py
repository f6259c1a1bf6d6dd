"""Compare two results on the same images: python tools/compare_results.py A/result.json B/result.json."""

import argparse

import torch

from mmsimclr.reporting import compare_results
from mmsimclr.runner import plain_errors


def main() -> None:
    parser = argparse.ArgumentParser(description='Compare two results by a permutation test')
    parser.add_argument('a', help='result.json of one evaluation, with its predictions beside it')
    parser.add_argument('b', help='result.json of the other, on the same test images')
    parser.add_argument('--metric', help="by default the results' own, else top_1_accuracy_percent")
    parser.add_argument('--exchanges', type=int, default=100_000, help='default: %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='decides the exchanges (default: %(default)s)')
    args = parser.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    print(compare_results(args.a, args.b, args.metric, args.exchanges, args.seed, device))


if __name__ == '__main__':
    with plain_errors():
        main()
