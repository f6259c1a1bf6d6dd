"""Time of each layer of ResNet-18 at 32 pixels, forward and backward, in bfloat16 on a CPU.

    python benchmarks/roofline.py --out benchmarks/results/roofline.json

Each kind of layer is run alone, on as many images as it has in a step, and in the same rounds the convolution
that benchmarks/step.py compares with. A layer loses the time beyond that of its arithmetic at the rate of
this convolution. What is no layer (additions, casts, the bookkeeping of autograd) is the difference to the
whole encoder.
"""

import argparse
from collections import Counter
from collections.abc import Callable

import torch
from measure import alternate, parse, write
from step import CONVOLUTION, convolution, convolution_flops
from torch import nn

from mmsimclr.cpu_memory import kept_memory
from mmsimclr.models import ResNet

WHOLE, REST = 'the whole encoder', 'additions, casts, autograd'


def layers_of(encoder: nn.Module, images: torch.Tensor) -> Counter[tuple[nn.Module, tuple[int, ...]]]:
    """Return one layer of each kind with the shape of what it gets, and how often there is one like it."""
    seen: dict[tuple, tuple[nn.Module, tuple[int, ...]]] = {}
    counts: Counter = Counter()

    def note(layer: nn.Module, args: tuple, _: object) -> None:
        first = seen.setdefault((repr(layer), args[0].shape), (layer, tuple(args[0].shape)))
        counts[first] += 1

    hooks = [layer.register_forward_hook(note) for layer in encoder.modules() if not [*layer.children()]]
    encoder(images)
    for hook in hooks:
        hook.remove()
    return counts


def there_and_back(layer: nn.Module, images: torch.Tensor) -> Callable[[], None]:
    """Return a function that runs a layer forward and backward as in a step."""
    for module in layer.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False                     # which torch refuses for a leaf
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        outputs = layer(images)
    grad = torch.randn_like(outputs[-1] if isinstance(outputs, tuple) else outputs)

    def run() -> None:
        with torch.autocast('cpu', torch.bfloat16):
            outputs = layer(images)
        outputs = outputs[-1] if isinstance(outputs, tuple) else outputs
        outputs.backward(grad)
        images.grad = None
    return run


def operations(layer: nn.Module, shape: tuple[int, ...], is_first: bool) -> float:
    """Return the operations of a convolution forward and backward; the first needs no gradient of images."""
    if not isinstance(layer, nn.Conv2d):
        return 0.0
    side = [-(-length // stride) for length, stride in zip(shape[2:], layer.stride, strict=True)]
    passes = 2 if is_first else 3
    return passes * 2.0 * shape[0] * side[0] * side[1] * layer.weight.numel()


def label(layer: nn.Module, shape: tuple[int, ...]) -> str:
    sides = f'{shape[2]} x {shape[3]}' if len(shape) == 4 else ''
    if isinstance(layer, nn.Conv2d):
        return (f'convolution {layer.kernel_size[0]} x {layer.kernel_size[1]}, {layer.in_channels} to '
                f'{layer.out_channels}, stride {layer.stride[0]}, {sides}')
    return f'{type(layer).__name__}, {shape[1]}, {sides}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=128, help='images of a batch (default: %(default)s)')
    parser.add_argument('--base-channels', type=int, default=64, help='64: ResNet-18 (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=5, help='rounds that count (default: %(default)s)')
    args = parse(parser, quick=dict(images=4, base_channels=4, rounds=1))
    torch.manual_seed(0)
    encoder = ResNet(depth=18, stem='cifar', base_channels=args.base_channels)
    encoder = encoder.to(memory_format=torch.channels_last).train()

    def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        return torch.randn(shape).to(dtype, memory_format=torch.channels_last)

    views = inputs((2 * args.images, 3, 32, 32), torch.float32)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        counts = layers_of(encoder, views)
    flops, runs = {}, {WHOLE: there_and_back(encoder, views),
                       CONVOLUTION: convolution([], args)}
    number = {}
    for (layer, shape), count in counts.items():
        is_first = shape[1] == 3
        name = label(layer, shape)
        images = views if is_first else inputs(shape).requires_grad_()
        runs[name] = there_and_back(layer, images)
        flops[name], number[name] = count * operations(layer, shape, is_first), count
    with kept_memory(large_blocks=False):
        seconds = alternate(runs, args.rounds)
    median = {name: sorted(each)[len(each) // 2] for name, each in seconds.items()}
    rate = convolution_flops(args) / median.pop(CONVOLUTION)
    whole = median.pop(WHOLE)
    rows = {}
    for name, one in sorted(median.items(), key=lambda item: -number[item[0]] * item[1]):
        spent = number[name] * one
        rows[name] = dict(layers=number[name], ms=1e3 * spent, share_percent=100 * spent / whole,
                          gflop_per_s=flops[name] / spent / 1e9 or None,
                          lost_ms=1e3 * (spent - flops[name] / rate))
    rest = whole - sum(row['ms'] for row in rows.values()) / 1e3
    rows[REST] = dict(ms=1e3 * rest, share_percent=100 * rest / whole, lost_ms=1e3 * rest)
    total = sum(flops.values())
    rows[WHOLE] = dict(layers=sum(number.values()), ms=1e3 * whole, share_percent=100.0,
                       gflop_per_s=total / whole / 1e9, lost_ms=1e3 * (whole - total / rate))
    write(args.out, benchmark='roofline', images=args.images, base_channels=args.base_channels,
          rounds=args.rounds, threads=torch.get_num_threads(), gflop_per_s_of_a_convolution=rate / 1e9,
          share_of_a_convolution=total / whole / rate, rows=rows)


if __name__ == '__main__':
    main()
