"""Predictions of k nearest neighbours beside a loop over the images and beside faiss's exact index.

    python benchmarks/knn.py --out benchmarks/results/knn.json

All start from features as an encoder gives them, normalise them and vote; the classes must be the same.
faiss is measured where it is installed (requirements/benchmark.in).
"""

import argparse
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from measure import alternate, parse, peer_versions, ratios, write
from torch import Tensor

from mmsimclr.evaluation.knn import vote
from mmsimclr.models import KNNClassifier

NUM_CLASSES, TEMPERATURE = 100, 0.07


def ours(queries: Tensor, bank: Tensor, labels: Tensor, k: int) -> Tensor:
    return KNNClassifier(k, TEMPERATURE)(queries, bank, labels, NUM_CLASSES).argmax(dim=1)


def loop(queries: Tensor, bank: Tensor, labels: Tensor, k: int) -> Tensor:
    """Classify one image after the other."""
    bank = F.normalize(bank, dim=1)
    classes = []
    for query in F.normalize(queries, dim=1):
        similarity, order = (bank @ query).topk(k)
        votes = torch.zeros(NUM_CLASSES).scatter_add_(0, labels[order], (similarity / TEMPERATURE).exp())
        classes.append(votes.argmax())
    return torch.stack(classes)


def faiss(queries: Tensor, bank: Tensor, labels: Tensor, k: int) -> Tensor:
    import faiss as library
    library.omp_set_num_threads(torch.get_num_threads())
    index = library.IndexFlatIP(bank.shape[1])
    index.add(F.normalize(bank, dim=1).numpy())
    similarity, order = map(torch.from_numpy, index.search(F.normalize(queries, dim=1).numpy(), k))
    return vote(similarity, labels[order], NUM_CLASSES, TEMPERATURE).argmax(dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--bank', type=int, default=50_000, help='labelled images (default: %(default)s)')
    parser.add_argument('--queries', type=int, default=1000, help='images to classify (default: %(default)s)')
    parser.add_argument('--dims', type=int, default=512, help='width of a feature (default: %(default)s)')
    parser.add_argument('--k', type=int, default=200, help='neighbours (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=2, help='rounds that count (default: %(default)s)')
    args = parse(parser, quick=dict(bank=300, queries=20, dims=8, k=5, rounds=1))
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(NUM_CLASSES, args.dims, generator=generator)
    labels = torch.arange(args.bank) % NUM_CLASSES
    bank = centres[labels] + 4 * torch.randn(args.bank, args.dims, generator=generator)
    queries = centres[torch.arange(args.queries) % NUM_CLASSES]
    queries = queries + 4 * torch.randn(queries.shape, generator=generator)
    ways = {'ours': ours, 'one image at a time': loop, **({'faiss': faiss} if find_spec('faiss') else {})}
    classes = {name: way(queries, bank, labels, args.k) for name, way in ways.items()}
    agreeing = {name: 100 * (found == classes['ours']).double().mean().item()
                for name, found in classes.items()}
    if min(agreeing.values()) < 99.5:                     # near ties may fall either way
        raise SystemExit(f'the predictions differ: {agreeing}')
    rows = ratios(alternate({name: lambda way=way: way(queries, bank, labels, args.k)
                             for name, way in ways.items()}, args.rounds), 'ours')
    for name, row in rows.items():
        row['same_class_percent'] = agreeing[name]
    write(args.out, benchmark='knn', bank=args.bank, queries=args.queries, dims=args.dims, k=args.k,
          rounds=args.rounds, threads=torch.get_num_threads(), rows=rows, peers=peer_versions())


if __name__ == '__main__':
    main()
