"""Networks on a CPU with the memory of freed tensors kept for the next step, beside glibc's usual ways.

    python benchmarks/kept_memory.py --out benchmarks/results/kept_memory.json

ResNet-50 on 224x224 pixels: features, and a forward and a backward pass. In float32, with random images.
"""

import argparse
from collections.abc import Callable

import torch
from measure import alternate_processes, parse, ratios, serve, write

from mmsimclr.cpu_memory import kept_memory
from mmsimclr.models import ResNet

WAYS = {'kept': 'cpu', "glibc's usual ways": 'meta'}        # nothing is kept for other devices


def features(args: argparse.Namespace) -> Callable[[], None]:
    """Return a function that computes the features of a batch."""
    model, images = model_and_images(args)
    model.eval()
    return torch.no_grad()(lambda: model(images))


def training(args: argparse.Namespace) -> Callable[[], None]:
    """Return a function that makes a forward and a backward pass."""
    model, images = model_and_images(args)

    def step() -> None:
        model(images)[-1].mean().backward()
        model.zero_grad()
    return step


def model_and_images(args: argparse.Namespace) -> tuple[ResNet, torch.Tensor]:
    torch.manual_seed(0)
    model = ResNet(depth=50, base_channels=args.base_channels).to(memory_format=torch.channels_last)
    images = torch.randn(args.images, 3, args.image_size, args.image_size)
    return model, images.to(memory_format=torch.channels_last)


STEPS = {'features': features, 'a forward and a backward pass': training}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=32, help='images of a batch (default: %(default)s)')
    parser.add_argument('--image-size', type=int, default=224, help='their side (default: %(default)s)')
    parser.add_argument('--base-channels', type=int, default=64, help='64: ResNet-50 (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=2, help='rounds that count (default: %(default)s)')
    parser.add_argument('--step', choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument('--way', choices=WAYS, help=argparse.SUPPRESS)
    args = parse(parser, quick=dict(images=2, image_size=64, base_channels=16, rounds=1))
    if args.step:
        with kept_memory(WAYS[args.way], large_blocks=args.step == 'features'):      # as the library does
            serve(STEPS[args.step](args))
        return
    sizes = ['--images', args.images, '--image-size', args.image_size, '--base-channels', args.base_channels]
    rows = {step: ratios(alternate_processes(
        __file__, {way: [*sizes, '--step', step, '--way', way] for way in WAYS}, args.rounds), 'kept')
        for step in STEPS}
    write(args.out, benchmark='kept_memory', images=args.images, image_size=args.image_size,
          base_channels=args.base_channels, rounds=args.rounds, threads=torch.get_num_threads(), rows=rows)


if __name__ == '__main__':
    main()
