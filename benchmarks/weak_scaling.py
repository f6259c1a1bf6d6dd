"""NT-Xent over 1, 2 and 4 processes with the same batch on each: computing time and bytes of a rank.

    python benchmarks/weak_scaling.py --out benchmarks/results/weak_scaling.json

Each rank computes its own rows of the loss, so its time grows with the number W of ranks, as the whole batch
does; and twice as much again from one rank to two, since one alone computes only half of its blocks, the
others being their mirror images. Time is that of the processor, not of the clock: there may be fewer cores
than ranks. Bytes are counted where torch.distributed is called: for a gather the (W - 1) / W of the result
that a rank receives, for an all-reduce the 2 (W - 1) / W of the tensor that a ring sends.
"""

import argparse
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from measure import parse, write

from mmsimclr.models.losses import nt_xent_loss


def count_bytes(counter: Counter) -> None:
    """Let the collectives that the loss uses add what one rank receives or sends."""
    gather, gather_list, reduce = dist.all_gather_into_tensor, dist.all_gather, dist.all_reduce
    share = (dist.get_world_size() - 1) / dist.get_world_size()

    def counted_gather(output: torch.Tensor, *args, **kwargs):
        counter['all_gather'] += round(share * output.nbytes)
        return gather(output, *args, **kwargs)

    def counted_gather_list(outputs: list[torch.Tensor], *args, **kwargs):
        counter['all_gather'] += round(share * sum(output.nbytes for output in outputs))
        return gather_list(outputs, *args, **kwargs)

    def counted_reduce(tensor: torch.Tensor, *args, **kwargs):
        counter['all_reduce'] += round(2 * share * tensor.nbytes)
        return reduce(tensor, *args, **kwargs)
    dist.all_gather_into_tensor, dist.all_gather = counted_gather, counted_gather_list
    dist.all_reduce = counted_reduce


def measure(rank: int, world_size: int, images: int, width: int, rounds: int, folder: str) -> None:
    """Write this rank's processor seconds of a step, and its bytes."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous{world_size}', rank=rank,
                            world_size=world_size)
    counter: Counter = Counter()
    count_bytes(counter)
    generator = torch.Generator().manual_seed(rank)
    views = [torch.randn(images, width, generator=generator).requires_grad_() for _ in range(2)]
    seconds = []
    for _ in range(rounds + 1):
        counter.clear()
        dist.barrier()
        started = time.process_time()
        nt_xent_loss(*views, 0.1).backward()
        seconds.append(time.process_time() - started)
    if rank == 0:
        torch.save(dict(processor_s=statistics.median(seconds[1:]), bytes=dict(counter)),
                   f'{folder}/{world_size}.pt')
    dist.barrier()
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=1024, help='images of a rank (default: %(default)s)')
    parser.add_argument('--width', type=int, default=128, help='width of a projection (default: %(default)s)')
    parser.add_argument('--ranks', type=int, nargs='+', default=[1, 2, 4], help='default: %(default)s')
    parser.add_argument('--rounds', type=int, default=7, help='rounds that count (default: %(default)s)')
    args = parse(parser, quick=dict(images=8, ranks=[1, 2], rounds=1))
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for ranks in args.ranks:
            processes.spawn(measure, (ranks, args.images, args.width, args.rounds, folder), nprocs=ranks)
            rows[str(ranks)] = torch.load(Path(folder, f'{ranks}.pt'))
    for row in rows.values():
        row['times_one_rank'] = row['processor_s'] / rows[str(args.ranks[0])]['processor_s']
    write(args.out, benchmark='weak_scaling', images=args.images, width=args.width, rounds=args.rounds,
          rows=rows)


if __name__ == '__main__':
    main()
