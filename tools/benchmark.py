"""Measure an encoder: python tools/benchmark.py CONFIG CHECKPOINT."""

import argparse
import os
import shlex
import sys

from mmsimclr import distributed
from mmsimclr.config import ConfigOptions, load_config
from mmsimclr.protocols import check_benchmark, run_benchmark
from mmsimclr.reporting import result_text
from mmsimclr.runner import plain_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Measure an encoder by the protocol of a config')
    parser.add_argument('config', help='path of a config of configs/benchmarks/')
    parser.add_argument('checkpoint', nargs='?', help='file, work directory, address or model-zoo name')
    parser.add_argument('--init', choices=('checkpoint', 'random'), default='checkpoint',
                        help="random: measure the config's `encoder` at random initialisation")
    parser.add_argument('--check', action='store_true',
                        help='read the annotations of a detection or segmentation config, and the '
                             'CHECKPOINT if there is one, and stop')
    parser.add_argument('--work-dir', help='folder of result and logs (default: work_dirs/CONFIG)')
    parser.add_argument('--select', help='address of the encoder, where the checkpoint has several')
    parser.add_argument('--feature-cache', help='folder of extracted features (default: beside the work dir)')
    parser.add_argument('--resume', action='store_true',
                        help='go on with an interrupted training from the newest checkpoint in the work dir')
    parser.add_argument('--device', default='auto', help='where to compute, e.g. cpu (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE',
                        help='override values, e.g. protocol.temperature=0.1')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, help='set by some launchers; unused')
    args = parser.parse_args()
    if not args.check and (args.checkpoint is None) == (args.init == 'checkpoint'):
        parser.error('name a CHECKPOINT, or ask for --init random, not both')
    return args


def main() -> None:
    args = parse_args()
    config = load_config(args.config, args.cfg_options, args.work_dir)
    if args.check:
        print(check_benchmark(config, args.checkpoint, args.select))
        return
    config.launcher, config.resume = args.launcher, args.resume or config.get('resume', False)
    result = run_benchmark(
        config, args.checkpoint, config_path=args.config, select=args.select, cache_dir=args.feature_cache,
        device=args.device,
        command=os.environ.get('MMSIMCLR_COMMAND') or shlex.join(['python', *sys.argv]))
    if distributed.rank() == 0:
        print(result_text(result))
        print(f'{config.work_dir}/result.json')
    distributed.stop()


if __name__ == '__main__':
    with plain_errors():
        main()
