"""CIFAR-10 on one GPU: pre-train a ResNet-18, then evaluate it linearly; minutes and accuracy.

    python tools/prepare_data/cifar10.py && python benchmarks/cifar10_run.py

Both commands run as a user would type them; the minutes are those of the pre-training, with everything
from the start of its process to its end. The same command goes on after an interruption; a stretch that was
interrupted counts up to its last checkpoint.
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


def timed(stretches: Path, *command: object) -> float:
    """Run one of the tools; return its minutes, with those of earlier stretches of it."""
    done = json.loads(stretches.read_text()) if stretches.exists() else []
    if done and done[-1][1] is None:
        saved = [path.stat().st_mtime for path in stretches.parent.glob('*.pth')]
        done[-1][1] = max([done[-1][0], *saved])
    done.append([time.time(), None])
    stretches.write_text(json.dumps(done))
    subprocess.run([sys.executable, *map(str, command)], check=True)
    done[-1][1] = time.time()
    stretches.write_text(json.dumps(done))
    return sum(end - start for start, end in done) / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--epochs', type=int, default=300, help='of pre-training (default: %(default)s)')
    parser.add_argument('--linear-epochs', type=int, default=100, help='default: %(default)s')
    parser.add_argument('--data-root', default='data/cifar10', help='default: %(default)s')
    parser.add_argument('--work-dir', default='work_dirs/cifar10_run', help='default: %(default)s')
    parser.add_argument('--options', nargs='*', default=[], metavar='KEY=VALUE', help='further options of '
                        'the pre-training')
    args = parse(parser, quick=dict(epochs=1, linear_epochs=1))
    device, work_dir = 'cuda' if torch.cuda.is_available() else 'cpu', Path(args.work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    measured: dict[str, float] = {}

    def record(**more: float) -> None:                       # in case the machine is not ours for long enough
        measured.update(more)
        write(args.out, benchmark='cifar10_run', device=device, epochs=args.epochs,
              linear_epochs=args.linear_epochs, options=args.options, rows={'ResNet-18': measured})

    record()
    minutes, stretches = work_dir / 'minutes.json', work_dir / 'stretches.json'
    if not minutes.exists():
        minutes.write_text(json.dumps(timed(
            stretches, ROOT / 'tools/train.py', PRETRAIN, '--amp', 'bf16', '--work-dir', work_dir, '--resume',
            '--no-pictures', '--cfg-options', f'epochs={args.epochs}', f'data_root={args.data_root}',
            'views=device', f'compile={device == "cuda"}', *args.options)))
    record(minutes=json.loads(minutes.read_text()))
    linear_minutes = timed(
        work_dir / 'linear_stretches.json', ROOT / 'tools/benchmark.py', LINEAR, work_dir, '--work-dir',
        work_dir / 'linear', '--cfg-options', f'train_cfg.max_epochs={args.linear_epochs}',
        f'data_root={args.data_root}', *['train_dataloader.batch_size=16'] * args.quick)
    result = json.loads((work_dir / 'linear/result.json').read_text(encoding='utf-8'))
    record(linear_minutes=linear_minutes, top_1_percent=result['metrics']['top_1_accuracy_percent'])


if __name__ == '__main__':
    main()
