"""A training step in chunks beside a plain one of the same batch: what the smaller memory costs.

    python benchmarks/gradient_cache.py --out benchmarks/results/gradient_cache.json

ResNet-18 on 32x32 pixels, forward and backward in float32. The gradients are compared in the tests.
"""

import argparse
from collections.abc import Callable

import torch
from measure import alternate, growth_mib, parse, peak_mib, ratios, write
from mmengine.config import Config
from mmengine.registry import init_default_scope
from peers import CIFAR10_CONFIG

from mmsimclr.cpu_memory import kept_memory
from mmsimclr.registry import MODELS

CHUNKS = {'plain': False, 'in chunks': True}


def step(name: str, args: argparse.Namespace, images: int | None = None) -> Callable[[], None]:
    """Return a function that makes one step."""
    torch.manual_seed(0)
    cfg = Config.fromfile(CIFAR10_CONFIG)
    cfg.model.backbone.base_channels = args.base_channels
    cfg.model.neck.update(in_channels=8 * args.base_channels, hid_channels=8 * args.base_channels)
    model = MODELS.build({**cfg.model, 'chunk_size': args.chunk_size if CHUNKS[name] else None})
    views = [torch.randint(0, 256, (images or args.images, 3, 32, 32), dtype=torch.uint8) for _ in range(2)]
    data = model.data_preprocessor(dict(inputs=views), training=True)

    def make() -> None:
        model.zero_grad()
        model(**data, mode='loss')['loss'].backward()
    return make


def train(make: Callable[[], None]) -> None:
    for _ in range(3):
        make()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=128, help='images of a batch (default: %(default)s)')
    parser.add_argument('--chunk-size', type=int, default=32, help='images of a chunk (default: %(default)s)')
    parser.add_argument('--base-channels', type=int, default=64, help='64: ResNet-18 (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=3, help='rounds that count (default: %(default)s)')
    parser.add_argument('--memory-of', help=argparse.SUPPRESS)
    args = parse(parser, quick=dict(images=8, chunk_size=4, base_channels=4, rounds=1))
    init_default_scope('mmsimclr')
    if args.memory_of:
        with kept_memory(large_blocks=False):                # as in training
            print(growth_mib(lambda: train(step(args.memory_of, args)), step(args.memory_of, args, images=2)))
        return
    runs = {name: step(name, args) for name in CHUNKS}
    with kept_memory(large_blocks=False):
        rows = ratios(alternate(runs, args.rounds), 'plain')
    for name, row in rows.items():
        row['times_plain'] = row.pop('times_ours')
        row['peak_mib'] = peak_mib(__file__, '--memory-of', name, '--images', args.images, '--chunk-size',
                                   args.chunk_size, '--base-channels', args.base_channels)
    write(args.out, benchmark='gradient_cache', images=args.images, chunk_size=args.chunk_size,
          base_channels=args.base_channels, rounds=args.rounds, threads=torch.get_num_threads(), rows=rows)


if __name__ == '__main__':
    main()
