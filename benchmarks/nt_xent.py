"""NT-Xent, forward and backward: time and memory beside mmpretrain's and lightly's.

    python benchmarks/nt_xent.py --images 4096 --out benchmarks/results/nt_xent.json

lightly is measured where it is installed (requirements/benchmark.in).
"""

import argparse
import importlib.util

import torch
from measure import alternate, growth_mib, parse, peak_mib, peer_versions, ratios, write
from torch import Tensor

TEMPERATURE = 0.1


def ours(view_1: Tensor, view_2: Tensor) -> Tensor:
    from mmsimclr.models.losses import nt_xent_loss
    return nt_xent_loss(view_1, view_2, TEMPERATURE)


def plain(view_1: Tensor, view_2: Tensor) -> Tensor:
    from mmsimclr.models.losses import nt_xent_loss
    return nt_xent_loss(view_1, view_2, TEMPERATURE, streamed=False)


class MMPretrain:
    """Its SimCLR with an encoder and a neck that pass the projections on."""

    model = None

    def __call__(self, view_1: Tensor, view_2: Tensor) -> Tensor:
        if self.model is None:
            from mmpretrain.models import SimCLR
            from mmpretrain.models.heads import ContrastiveHead
            MMPretrain.model = SimCLR(
                backbone=torch.nn.Flatten(), neck=_Tuple(),
                head=ContrastiveHead(loss=dict(type='mmpretrain.CrossEntropyLoss'), temperature=TEMPERATURE))
        return self.model.loss([view[:, :, None, None] for view in (view_1, view_2)], None)['loss']


class _Tuple(torch.nn.Module):
    def forward(self, rows: Tensor) -> tuple[Tensor]:
        return (rows,)


def lightly(view_1: Tensor, view_2: Tensor) -> Tensor:
    from lightly.loss import NTXentLoss
    return NTXentLoss(TEMPERATURE)(view_1, view_2)


LOSSES = {'ours': ours, 'ours, plain': plain, 'mmpretrain': MMPretrain()}
if importlib.util.find_spec('lightly'):
    LOSSES['lightly'] = lightly


def views(num_images: int, width: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(num_images, width, generator=generator).requires_grad_() for _ in range(2)]


def step(name: str, num_images: int, width: int) -> float:
    """Return the loss of random projections, after its backward pass."""
    loss = LOSSES[name](*views(num_images, width))
    loss.backward()
    return loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=4096, help='images N of a batch (default: %(default)s)')
    parser.add_argument('--width', type=int, default=128, help='width of a projection (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=3, help='rounds that count (default: %(default)s)')
    parser.add_argument('--large', type=int, default=32768, help='images of a large batch, ours alone')
    parser.add_argument('--memory-of', help=argparse.SUPPRESS)
    args = parse(parser, quick=dict(images=32, rounds=1, large=0))
    if args.memory_of:
        print(growth_mib(lambda: step(args.memory_of, args.images, args.width),
                         lambda: step(args.memory_of, 64, args.width)))
        return
    losses = {name: step(name, args.images, args.width) for name in LOSSES}
    if max(losses.values()) - min(losses.values()) > 1e-4:
        raise SystemExit(f'the losses differ: {losses}')
    seconds = alternate({name: lambda name=name: step(name, args.images, args.width) for name in LOSSES},
                        args.rounds)
    table = ratios(seconds, 'ours')
    for name, row in list(table.items())[:1 if args.quick else None]:
        row['peak_mib'] = peak_mib(__file__, '--memory-of', name, '--images', args.images,
                                   '--width', args.width)
    large = None
    if args.large:
        large = dict(images=args.large, peak_mib=peak_mib(
            __file__, '--memory-of', 'ours', '--images', args.large, '--width', args.width))
    write(args.out, benchmark='nt_xent', images=args.images, width=args.width, rounds=args.rounds,
          threads=torch.get_num_threads(), rows=table, large=large, peers=peer_versions())


if __name__ == '__main__':
    main()
