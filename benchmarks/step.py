"""Whole training steps on 32x32 images, loading included: this library's beside mmpretrain's.

    python benchmarks/step.py --out benchmarks/results/step.json

ResNet-18 with the stem for CIFAR and images in memory. Ours is the config for CIFAR-10 with --amp bf16, and
memory kept from step to step as tools/train.py keeps it; mmpretrain's is its SimCLR config in float32, as it
ships, with the encoder, the size of views and the batch of ours. Each trains in a process of its own, with as
many loader processes.

A convolution in bfloat16, as large as those of the third stage, says in the same rounds what the machine can
do. The share of its rate is what the encoder's arithmetic reaches in a step, loading, views, loss and
optimizer included; forward and backward pass of ResNet-18 are 3.35 GFLOP a view.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from measure import alternate_processes, parse, peer_versions, ratios, serve, write
from mmengine.config import Config
from mmengine.dataset import default_collate as mmengine_collate
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from peers import CIFAR10_CONFIG, mmpretrain_cifar_model, mmpretrain_cifar_pipeline, mmpretrain_config
from photographs import photograph
from torch.utils.data import DataLoader, Dataset, default_collate

from mmsimclr.cpu_memory import kept_memory
from mmsimclr.engine import BFloat16OptimWrapper
from mmsimclr.registry import MODELS, TRANSFORMS
from mmsimclr.runner.profile import step_flops


class Images(Dataset):
    """The same few images over and over, through a pipeline."""

    def __init__(self, images: list[np.ndarray], length: int, steps: list[Callable]) -> None:
        self.images, self.length, self.steps = images, length, steps

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        img = self.images[index % len(self.images)]
        results = {'img': img, 'img_shape': img.shape[:2], 'sample_idx': index}
        for step in self.steps:
            results = step(results)
        return results


def forever(loader: DataLoader) -> Iterator[dict]:
    while True:
        yield from loader


def trainer(model: torch.nn.Module, wrapper: OptimWrapper, dataset: Dataset, collate: Callable,
            args: argparse.Namespace, pin_memory: bool = False) -> Callable[[], None]:
    """Return a function that trains for some steps on what a loader gives."""
    batches = forever(DataLoader(
        dataset, args.images, num_workers=args.workers, persistent_workers=args.workers > 0, drop_last=True,
        collate_fn=collate, pin_memory=pin_memory, worker_init_fn=lambda _: cv2.setNumThreads(0)))
    model.train()

    def train() -> None:
        for _ in range(args.steps):
            model.train_step(next(batches), wrapper)
    return train


def ours(images: list[np.ndarray], args: argparse.Namespace, *, amp: bool) -> Callable[[], None]:
    init_default_scope('mmsimclr')
    cfg = Config.fromfile(CIFAR10_CONFIG)
    cfg.model.backbone.base_channels = args.base_channels
    cfg.model.neck.update(in_channels=8 * args.base_channels, hid_channels=8 * args.base_channels)
    model = MODELS.build(cfg.model)
    if amp:
        cfg.optim_wrapper.update(type=BFloat16OptimWrapper, enabled='auto')
    pipeline = [TRANSFORMS.build(step) for step in cfg.train_dataloader.dataset.pipeline]
    return trainer(model, build_optim_wrapper(model, cfg.optim_wrapper),
                   Images(images, 100 * args.images, pipeline), default_collate, args)


def mmpretrain(images: list[np.ndarray], args: argparse.Namespace) -> Callable[[], None]:
    from mmpretrain.registry import TRANSFORMS as PEER_TRANSFORMS
    cfg = mmpretrain_config()
    pipeline = [PEER_TRANSFORMS.build(step) for step in mmpretrain_cifar_pipeline(cfg)]
    model = mmpretrain_cifar_model(cfg, args.base_channels)
    return trainer(model, build_optim_wrapper(model, cfg.optim_wrapper),
                   Images(images, 100 * args.images, pipeline), mmengine_collate, args)


def convolution(_: list[np.ndarray], args: argparse.Namespace) -> Callable[[], None]:
    """Return a function that convolves in bfloat16, as often as takes about as long as a step."""
    channels, side = 4 * args.base_channels, 8
    images, kernel = (torch.randn(shape).to(torch.bfloat16, memory_format=torch.channels_last) for shape in (
        (2 * args.images, channels, side, side), (channels, channels, 3, 3)))

    def convolve() -> None:
        with torch.no_grad():
            for _ in range(CONVOLUTIONS):
                torch.nn.functional.conv2d(images, kernel, padding=1)
    return convolve


def convolution_flops(args: argparse.Namespace) -> float:
    channels, side = 4 * args.base_channels, 8
    return CONVOLUTIONS * 2.0 * 9 * channels ** 2 * side ** 2 * 2 * args.images


def flops_of_step(args: argparse.Namespace) -> float:
    """Return the operations of the encoder in a step of ours."""
    init_default_scope('mmsimclr')
    cfg = Config.fromfile(CIFAR10_CONFIG)
    cfg.model.backbone.base_channels = args.base_channels
    cfg.model.neck.update(in_channels=8 * args.base_channels, hid_channels=8 * args.base_channels)
    model = MODELS.build(cfg.model)
    model.data_preprocessor.shapes = [(args.images, 3, 32, 32)] * 2
    return step_flops(SimpleNamespace(model=model, cfg=cfg))


CONVOLUTIONS = 20
CONVOLUTION = 'convolution in bfloat16'
RUNS = {'ours': partial(ours, amp=True), 'ours, float32': partial(ours, amp=False), 'mmpretrain': mmpretrain,
        CONVOLUTION: convolution}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=128, help='images of a batch (default: %(default)s)')
    parser.add_argument('--base-channels', type=int, default=64, help='64: ResNet-18 (default: %(default)s)')
    parser.add_argument('--workers', type=int, default=2, help='loader processes (default: %(default)s)')
    parser.add_argument('--steps', type=int, default=1, help='steps of a round (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=3, help='rounds that count (default: %(default)s)')
    parser.add_argument('--only', choices=RUNS, help=argparse.SUPPRESS)
    args = parse(parser, quick=dict(images=4, base_channels=4, workers=0, steps=1, rounds=1))
    if args.only:
        torch.manual_seed(0)
        images = [cv2.resize(photograph(seed, 64, 64), (32, 32), interpolation=cv2.INTER_AREA)
                  for seed in range(64)]
        with kept_memory(large_blocks=False) if args.only.startswith('ours') else nullcontext():
            serve(RUNS[args.only](images, args))
        return
    sizes = [f'--{name}={getattr(args, name.replace("-", "_"))}'
             for name in ('images', 'base-channels', 'workers', 'steps')]
    names = [name for name in RUNS if name != 'mmpretrain' or find_spec('mmpretrain')]
    seconds = alternate_processes(__file__, {name: [*sizes, '--only', name] for name in names}, args.rounds)
    rows = ratios(seconds, 'ours')
    rate = convolution_flops(args) / rows.pop(CONVOLUTION)['median_s'] / 1e9
    reached = flops_of_step(args) * args.steps / rows['ours']['median_s'] / 1e9
    for row in rows.values():
        row['images_per_s'] = args.images * args.steps / row.pop('median_s')
    write(args.out, benchmark='step', images=args.images, base_channels=args.base_channels,
          workers=args.workers, steps=args.steps, rounds=args.rounds, threads=torch.get_num_threads(),
          gflop_per_s_of_a_convolution=rate, gflop_per_s_of_ours=reached,
          share_of_a_convolution=reached / rate, rows=rows, peers=peer_versions())
    print(f'{reached:,.0f} GFLOP/s of the {rate:,.0f} that a convolution reaches: {reached / rate:.0%}')


if __name__ == '__main__':
    main()
