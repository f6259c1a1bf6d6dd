"""Worth of an encoder after the same minutes of pre-training on CIFAR-10: ours, and other libraries'.

    python tools/prepare_data/cifar10.py && python benchmarks/equal_time.py

Every library trains the same encoder (ResNet-18, a quarter as wide, the stem for CIFAR) on all 50,000 images
for as many seconds, everything from the start of its process included; the learning rate follows the share of
the time that is gone. A library trains as its documentation does: lightly by its tutorial, mmpretrain by its
config, the plain loop of sthalles/SimCLR by its defaults, solo-learn by the numbers of its CIFAR recipe,
since its release cannot be installed here. "In its favour" is once more in bfloat16, channels-last, with two
loader processes and the best of some learning rates, each tried for a part of the time. One evaluation for
all: scikit-learn's nearest neighbours on the encoder's pooled features, after the budget and at points on the
way, and its logistic regression after the budget. Ours and the best other have several seeds. The same
command goes on where it was stopped: what was trained is in ``curves/`` beside ``--out``.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from measure import parse, peer_versions, write
from mmengine.config import Config
from mmengine.dataset import default_collate as mmengine_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from peers import mmpretrain_cifar_model, mmpretrain_cifar_pipeline, mmpretrain_config
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import transforms

from mmsimclr.cpu_memory import kept_memory
from mmsimclr.datasets import CIFAR10
from mmsimclr.engine import LARS, BFloat16OptimWrapper, SeededSampler
from mmsimclr.models import ResNet
from mmsimclr.registry import MODELS, TRANSFORMS

OURS = Path(__file__).parents[1] / 'configs/simclr/simclr_resnet18-w16_1xb128-coslr-20e_cifar10.py'
WIDTH, DIMS = 16, 128
MEASURES = 'knn_percent', 'linear_percent'
POINTS = 8                                          # evaluations on the way
FACTORS = (0.5, 1.0, 2.0, 4.0)                      # of the documented learning rate, in a library's favour
FAVOUR = ', in its favour'


class Items(Dataset):
    """Images through a function of an array and its place."""

    def __init__(self, images: np.ndarray, make: Callable[[np.ndarray, int], object]) -> None:
        self.images, self.make = images, make

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> object:
        return self.make(self.images[int(index)], index)


def batches(dataset: Dataset, args: argparse.Namespace, size: int, workers: int, collate=default_collate,
            sampler=None) -> Iterator:
    """Yield batches of epoch after epoch."""
    loader = DataLoader(
        dataset, min(size, len(dataset)), shuffle=sampler is None, sampler=sampler, drop_last=True,
        num_workers=args.workers if args.workers is not None else workers, collate_fn=collate,
        persistent_workers=(args.workers if args.workers is not None else workers) > 0,
        worker_init_fn=lambda _: cv2.setNumThreads(0))
    epoch = 0
    while True:
        if hasattr(loader.sampler, 'set_epoch'):
            loader.sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def through(steps: list) -> Callable[[np.ndarray, int], dict]:
    """Return what puts an array through the steps of a pipeline of MMEngine's kind."""
    def make(image: np.ndarray, index: int) -> dict:
        results = {'img': image, 'img_shape': image.shape[:2], 'sample_idx': index}
        for step in steps:
            results = step(results)
        return results
    return make


# Of each library: the encoder; a generator that makes a step each time it is asked, at the rate of the share
# of the time that is sent to it, and yields how many images it took; what it scales images by.
Run = tuple[nn.Module, Iterator[int], tuple[tuple[float, ...], tuple[float, ...]]]
UNIT = (0.0,) * 3, (255.0,) * 3
IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def ours(images: np.ndarray, args: argparse.Namespace) -> Run:
    init_default_scope('mmsimclr')
    cfg = Config.fromfile(OURS)
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, {**cfg.optim_wrapper, 'type': BFloat16OptimWrapper})
    steps = [TRANSFORMS.build(step) for step in cfg.train_dataloader.dataset.pipeline]
    dataset = Items(images, through(steps))
    source = batches(dataset, args, cfg.train_dataloader.batch_size, cfg.train_dataloader.num_workers,
                     sampler=SeededSampler(dataset, seed=args.seed))
    model.train()
    return model.backbone, _mmengine_steps(model, wrapper, source, args, warm_up=0.1), UNIT


def mmpretrain(images: np.ndarray, args: argparse.Namespace) -> Run:
    from mmpretrain.registry import TRANSFORMS as PEER_TRANSFORMS
    cfg = mmpretrain_config()
    steps = [PEER_TRANSFORMS.build(step) for step in mmpretrain_cifar_pipeline(cfg)]
    model = mmpretrain_cifar_model(cfg, WIDTH)
    settings = dict(cfg.optim_wrapper)
    if args.favoured:
        model, settings = model.to(memory_format=torch.channels_last), {
            **settings, 'type': BFloat16OptimWrapper, 'enabled': 'auto'}
    wrapper = build_optim_wrapper(model, settings)
    # Eight processes of 32 images, as its name says.
    # It reads images as BGR, and turns them.
    source = batches(Items(np.ascontiguousarray(images[..., ::-1]), through(steps)), args, 256,
                     2 if args.favoured else cfg.train_dataloader.num_workers, mmengine_collate)
    model.train()
    scale = tuple(cfg.data_preprocessor.mean), tuple(cfg.data_preprocessor.std)
    return model.backbone, _mmengine_steps(model, wrapper, source, args, warm_up=0.05), scale


def _mmengine_steps(model, wrapper, source: Iterator, args, warm_up: float) -> Iterator[int]:
    peaks = [group['lr'] * args.factor for group in wrapper.optimizer.param_groups]
    share = yield 0
    for batch in source:
        for group, peak in zip(wrapper.optimizer.param_groups, peaks, strict=True):
            group['lr'] = peak * cosine(share, warm_up)
        model.train_step(batch, wrapper)
        share = yield len(batch['inputs'][0])


def cosine(share: float, warm_up: float = 0.0) -> float:
    """Return the learning rate, of its peak, when a share of the time is gone."""
    if share < warm_up:
        return share / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (share - warm_up) / (1 - warm_up))))


def plain_torch(images: np.ndarray, args: argparse.Namespace, *, views: Callable[[Image.Image], list[Tensor]],
                loss: Callable[[Tensor, Tensor], Tensor], optimizer: Callable[[list], torch.optim.Optimizer],
                head: Callable[[], nn.Module], workers: int, warm_up: float = 0.0, scale=UNIT) -> Run:
    """Return a plain loop over 256 images at a time: two views, one forward pass, loss, backward pass."""
    encoder = ResNet(depth=18, stem='cifar', base_channels=WIDTH)
    model = nn.Sequential(encoder, head())
    layout = torch.channels_last if args.favoured else torch.contiguous_format
    model = model.to(memory_format=layout).train()
    updates = optimizer(list(model.parameters()))
    peaks = [group['lr'] * args.factor for group in updates.param_groups]
    source = batches(Items(images, lambda image, index: views(Image.fromarray(image))), args, 256,
                     2 if args.favoured else workers)

    def steps() -> Iterator[int]:
        share = yield 0
        for first, second in source:
            for group, peak in zip(updates.param_groups, peaks, strict=True):
                group['lr'] = peak * cosine(share, warm_up)
            with torch.autocast('cpu', torch.bfloat16) if args.favoured else nullcontext():
                both = torch.cat((first, second)).contiguous(memory_format=layout)
                rows = model[1](model[0](both)[-1].mean((2, 3)))
            value = loss(*rows.float().chunk(2))
            updates.zero_grad()
            value.backward()
            updates.step()
            share = yield len(first)
    return encoder, steps(), scale


def nt_xent(temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss as sthalles/SimCLR and solo-learn write it: the whole matrix, and a cross-entropy."""
    def loss(first: Tensor, second: Tensor) -> Tensor:
        rows = F.normalize(torch.cat((first, second)), dim=1)
        similarities = (rows @ rows.T / temperature).fill_diagonal_(-torch.inf)
        return F.cross_entropy(similarities, torch.arange(len(rows)).roll(len(first)))
    return loss


def mlp(hidden: int, out: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(DIMS, hidden), nn.ReLU(), nn.Linear(hidden, out))


def lightly(images: np.ndarray, args: argparse.Namespace) -> Run:
    """The tutorial at docs.lightly.ai, tutorial_simclr_clothing, with the views of its CIFAR examples."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    return plain_torch(
        images, args, views=SimCLRTransform(input_size=32, cj_strength=0.5, gaussian_blur=0.0),
        loss=NTXentLoss(), head=lambda: SimCLRProjectionHead(DIMS, DIMS, 128), workers=8, scale=IMAGENET,
        optimizer=lambda params: torch.optim.SGD(params, 6e-2, momentum=0.9, weight_decay=5e-4))


def sthalles(images: np.ndarray, args: argparse.Namespace) -> Run:
    """The defaults of https://github.com/sthalles/SimCLR (run.py, contrastive_learning_dataset.py)."""
    views = transforms.Compose([
        transforms.RandomResizedCrop(32), transforms.RandomHorizontalFlip(),
        transforms.RandomApply([transforms.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8),
        transforms.RandomGrayscale(0.2), transforms.GaussianBlur(3), transforms.ToTensor()])
    return plain_torch(
        images, args, views=lambda image: [views(image), views(image)], loss=nt_xent(0.07),
        optimizer=lambda params: torch.optim.Adam(params, 3e-4, weight_decay=1e-4), head=mlp(DIMS, 128),
        workers=12)


def solo_learn(images: np.ndarray, args: argparse.Namespace) -> Run:
    """The numbers of solo-learn's scripts/pretrain/cifar/simclr.yaml; LARS is ours, without its clipping."""
    mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)
    views = transforms.Compose([
        transforms.RandomResizedCrop(32, (0.08, 1.0)), transforms.RandomApply([
            transforms.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8), transforms.RandomGrayscale(0.2),
        transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize(mean, std)])

    def optimizer(params: list) -> torch.optim.Optimizer:
        wide = [param for param in params if param.ndim > 1]
        narrow = [param for param in params if param.ndim == 1]
        return LARS([dict(params=wide), dict(params=narrow, weight_decay=0.0, lars_exclude=True)], lr=0.4,
                    weight_decay=1e-5, eta=0.02)
    return plain_torch(images, args, views=lambda image: [views(image), views(image)], loss=nt_xent(0.2),
                       optimizer=optimizer, head=mlp(2048, 256), workers=4, warm_up=0.01, scale=tuple(
                           tuple(255 * value for value in each) for each in (mean, std)))


PEERS = {'lightly': lightly, 'mmpretrain': mmpretrain, "sthalles/SimCLR's loop": sthalles,
         "solo-learn's numbers": solo_learn}
RUNS = {'ours': ours, **{f'{name}{favour}': run for name, run in PEERS.items() for favour in ('', FAVOUR)}}


def data(args: argparse.Namespace, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 [N, 32, 32, 3] and labels [N]; of --quick, made-up ones."""
    if args.quick:
        rng = np.random.default_rng(split == 'test')
        labels = np.arange(args.images) % 10
        images = rng.integers(0, 120, (args.images, 32, 32, 3)) + 12 * labels[:, None, None, None]
        return images.astype(np.uint8), labels
    dataset = CIFAR10(args.data_root, split)
    dataset.full_init()
    return dataset.images, dataset.labels


def evaluate(encoder: nn.Module, scale: tuple, args: argparse.Namespace, last: bool) -> dict[str, float]:
    """Return the accuracy in percent of nearest neighbours and, of the last, of a linear classifier."""
    encoder.eval()                                   # which of mmpretrain's returns nothing
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in scale)
    parts = []
    for split in ('train', 'test'):
        images, labels = data(args, split)
        with torch.no_grad():
            rows = [encoder((torch.from_numpy(part).permute(0, 3, 1, 2) - mean) / std)[-1].mean((2, 3))
                    for part in np.array_split(images, max(1, len(images) // 500))]
        parts += [torch.cat(rows).numpy(), labels]
    train, train_labels, test, test_labels = parts
    knn = KNeighborsClassifier(20, metric='cosine', algorithm='brute').fit(train, train_labels)
    if not last:
        return dict(knn_percent=100 * knn.score(test, test_labels))
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=args.iterations)).fit(
        train, train_labels)
    return dict(knn_percent=100 * knn.score(test, test_labels),
                linear_percent=100 * linear.score(test, test_labels))


def train(name: str, args: argparse.Namespace) -> dict[str, object]:
    """Train for the budget, which began with the process; return what the encoder is worth, and when."""
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    images, _ = data(args, 'train')
    kept, seen, due = [], 0, 1
    with kept_memory(large_blocks=False) if name == 'ours' else nullcontext():
        encoder, steps, scale = RUNS[name](images, args)
        next(steps)
        while (gone := (time.time() - args.began) / args.budget) < 1:
            seen += steps.send(gone)
            if gone >= due / args.points:
                kept.append((gone, seen, {key: value.clone() for key, value in encoder.state_dict().items()}))
                due = math.floor(gone * args.points) + 1
    kept.append((1.0, seen, {key: value.clone() for key, value in encoder.state_dict().items()}))
    curve = []
    for share, number, state in kept:
        encoder.load_state_dict(state)
        curve.append(dict(minutes=share * args.budget / 60, images=number,
                          **evaluate(encoder, scale, args, share == 1.0)))
    return dict(seed=args.seed, images=seen, curve=curve, **{name: curve[-1][name] for name in MEASURES})


def in_process(name: str, args: argparse.Namespace, seed: int, factor: float = 1.0, share: float = 1.0
               ) -> dict:
    """Train in a process of its own, from whose start the budget counts."""
    options = [f'--data-root={args.data_root}', f'--images={args.images}', f'--iterations={args.iterations}']
    options += [f'--workers={args.workers}'] * (args.workers is not None) + ['--quick'] * args.quick
    done = subprocess.run(
        [sys.executable, __file__, '--only', name, *options, f'--budget={share * args.budget}',
         f'--seed={seed}', f'--factor={factor}', f'--points={args.points if share == 1 else 1}',
         f'--began={time.time()}'],
        check=True, text=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def _share_of_the_time(rows: dict[str, dict], best: str | None) -> float | None:
    """Return the share of the budget after which ours is worth what the best other is at its end."""
    if best is None:
        return None
    curves = [run['curve'] for run in rows['ours']['runs']]
    for points in zip(*curves, strict=False):
        if statistics.mean(point['knn_percent'] for point in points) >= rows[best]['knn_percent']:
            return points[0]['minutes'] / curves[0][-1]['minutes']
    return None


def picture(rows: dict[str, dict], path: Path) -> None:
    """Draw k-NN accuracy against minutes."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(7, 4), layout='constrained')
    axes = figure.subplots()
    for name, row in rows.items():
        points = [(0, None), *((each['minutes'], each['knn_percent']) for each in row['runs'][0]['curve'])]
        axes.plot(*zip(*points, strict=True), marker='.', label=name, linewidth=2.5 if name == 'ours' else 1,
                  linestyle='--' if FAVOUR in name else '-')
    axes.set(xlabel='minutes of pre-training, from the start of the process', ylabel='k-NN accuracy, %')
    axes.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--budget', type=float, default=480, help='seconds (default: %(default)s)')
    parser.add_argument('--seeds', type=int, default=3, help='of ours and of the best other')
    parser.add_argument('--tuning', type=float, default=0.125, help='share of the budget to try a rate for')
    parser.add_argument('--data-root', default='data/cifar10', help='default: %(default)s')
    parser.add_argument('--picture', type=Path, default='docs/images/equal_time.png')
    parser.add_argument('--rows', nargs='+', choices=RUNS, default=RUNS, metavar='ROW', help='default: all')
    parser.add_argument('--workers', type=int, help='default: what each library documents')
    for name, kind, default in (('--images', int, 0), ('--iterations', int, 300), ('--points', int, POINTS),
                                ('--only', str, None), ('--seed', int, 0), ('--factor', float, 1.0),
                                ('--began', float, 0.0)):
        parser.add_argument(name, type=kind, default=default, help=argparse.SUPPRESS)
    args = parse(parser, quick=dict(budget=20.0, seeds=1, images=300, iterations=20, points=2, workers=0,
                                    tuning=0.9))
    if args.only:
        args.favoured = FAVOUR in args.only
        os.environ.setdefault('OMP_NUM_THREADS', str(torch.get_num_threads()))
        print(json.dumps(train(args.only, args)))
        return
    curves = Path(args.out).parent / 'curves' / Path(args.out).name
    kept = json.loads(curves.read_text()) if curves.is_file() else {}
    settings = dict(budget_s=args.budget, tuning_share=args.tuning)
    rows: dict[str, dict] = kept.get('rows', {}) if kept.get('settings') == settings else {}

    def record(best: str | None = None) -> None:
        for row in rows.values():
            for key in (*MEASURES, 'images'):
                row[key] = statistics.mean(run[key] for run in row['runs'])
            row['seeds'] = len(row['runs'])
        shown = {name: {key: value for key, value in row.items() if key not in ('runs', 'tried')}
                 for name, row in rows.items()}
        write(args.out, benchmark='equal_time', **settings, best_peer=best,
              share_of_the_time=_share_of_the_time(rows, best), rows=shown, peers=peer_versions())
        curves.parent.mkdir(exist_ok=True)
        curves.write_text(json.dumps(dict(settings=settings, rows=rows), indent=1) + '\n')
        picture(rows, args.picture)

    def run(name: str, seed: int) -> None:
        row = rows.setdefault(name, dict(runs=[], rate_factor=1.0))
        if any(run['seed'] == seed for run in row['runs']):
            return
        if not row['runs'] and FAVOUR in name and not args.quick:
            tried = {each: in_process(name, args, 0, each, args.tuning)['knn_percent'] for each in FACTORS}
            row.update(rate_factor=max(tried, key=tried.get), tried=tried)
        row['runs'].append(in_process(name, args, seed, row['rate_factor']))
        record()

    for name in args.rows:
        package = name.removesuffix(FAVOUR)
        if package not in ('lightly', 'mmpretrain') or find_spec(package):
            run(name, 0)
    others = [name for name in rows if name != 'ours']
    if 'ours' not in rows or not others:
        return
    best = max(others, key=lambda name: rows[name]['runs'][0]['linear_percent'])
    for seed in range(1, args.seeds):
        for name in ('ours', best):
            run(name, seed)
    record(best)


if __name__ == '__main__':
    main()
