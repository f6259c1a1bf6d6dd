"""CIFAR-10 on one GPU: pre-train a ResNet-18, then evaluate it linearly; minutes and accuracy.

    python tools/prepare_data/cifar10.py && python benchmarks/cifar10_run.py

Both commands run as a user would type them; the minutes are those of the pre-training, with everything
from the start of its process to its end.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from measure import parse, write

ROOT = Path(__file__).parents[1]
PRETRAIN = ROOT / 'configs/simclr/simclr_resnet18_1xb512-coslr-1000e_cifar10.py'
LINEAR = ROOT / 'configs/benchmarks/classification/linear_1xb512-coslr-100e_cifar10.py'


def timed(*command: object) -> float:
    """Run one of the tools and return its minutes."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *map(str, command)], check=True)
    return (time.perf_counter() - started) / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--epochs', type=int, default=300, help='of pre-training (default: %(default)s)')
    parser.add_argument('--linear-epochs', type=int, default=100, help='default: %(default)s')
    parser.add_argument('--work-dir', default='work_dirs/cifar10_run', help='default: %(default)s')
    args = parse(parser, quick=dict(epochs=1, linear_epochs=1))
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    minutes = timed(
        ROOT / 'tools/train.py', PRETRAIN, '--amp', 'bf16', '--work-dir', args.work_dir, '--cfg-options',
        f'train_cfg.max_epochs={args.epochs}', 'views=device', f'compile={device == "cuda"}')

    def record(**measured: float) -> None:
        write(args.out, benchmark='cifar10_run', device=device, epochs=args.epochs,
              linear_epochs=args.linear_epochs, rows={'ResNet-18': dict(minutes=minutes, **measured)})

    record()                                                 # in case the machine is not ours for long enough
    linear_minutes = timed(
        ROOT / 'tools/benchmark.py', LINEAR, args.work_dir, '--work-dir', f'{args.work_dir}/linear',
        '--cfg-options', f'train_cfg.max_epochs={args.linear_epochs}')
    result = json.loads((Path(args.work_dir) / 'linear/result.json').read_text(encoding='utf-8'))
    record(linear_minutes=linear_minutes, top_1_percent=result['metrics']['top_1_accuracy_percent'])


if __name__ == '__main__':
    main()
