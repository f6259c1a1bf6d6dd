"""Encoders trained with our views and with torchvision's: k-NN on CIFAR-10, some seeds of each.

    python tools/prepare_data/cifar10.py && python benchmarks/equal_views.py

The laptop config on part of the images, with the views of this library made in the loader, those of
torchvision v2 made there, and ours made on the device. A seed fixes the initial weights and the order of the
images for all three; what the views draw is their own. They are equal if their means differ by no more than
the seeds do.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from measure import parse, write
from torchvision.transforms import InterpolationMode, v2

from mmsimclr.config import load_config
from mmsimclr.registry import TRANSFORMS
from mmsimclr.runner import build_runner

CONFIG = Path(__file__).parents[1] / 'configs/simclr/simclr_resnet18-w16_1xb128-coslr-20e_cifar10.py'
KINDS = ('ours', 'torchvision v2', 'ours, on the device')


@TRANSFORMS.register_module()
class TorchvisionView:
    """The config's policy, of torchvision's transforms; on tensors, as its documentation advises."""

    def __init__(self, size: int, strength: float, scale: tuple[float, float]) -> None:
        jitter = v2.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
        self.steps = v2.Compose([
            v2.RandomResizedCrop(size, scale, interpolation=InterpolationMode.BICUBIC, antialias=True),
            v2.RandomHorizontalFlip(), v2.RandomApply([jitter], 0.8), v2.RandomGrayscale(0.2)])

    def transform(self, results: dict) -> dict:
        img = torch.from_numpy(results['img']).permute(2, 0, 1)
        return {**results, 'img': self.steps(img).permute(1, 2, 0).contiguous().numpy()}

    __call__ = transform


def accuracy(kind: str, seed: int, args: argparse.Namespace) -> float:
    """Train once and return the k-NN accuracy of the encoder, in percent."""
    torch.manual_seed(seed)                          # torchvision draws from torch's generator
    with tempfile.TemporaryDirectory() as folder:
        config = load_config(CONFIG, {
            'randomness.seed': seed, 'train_dataloader.dataset.num_images': args.images,
            'train_cfg.max_epochs': args.epochs, 'custom_hooks.2.interval': args.epochs,
            'train_dataloader.num_workers': args.workers,
            'train_dataloader.persistent_workers': args.workers > 0}, folder)
        if kind == 'torchvision v2':
            multi_view = config.train_dataloader.dataset.pipeline[0]
            policy = multi_view.transforms[0]
            multi_view.transforms = [dict(type=TorchvisionView, size=policy.size, strength=policy.strength,
                                          scale=tuple(policy.scale))]
        elif kind == 'ours, on the device':
            config.views = 'device'
        runner = build_runner(config)
        runner.train()
        return runner.message_hub.get_info('knn_accuracy')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seeds', type=int, default=3, help='default: %(default)s')
    parser.add_argument('--images', type=int, default=10_000, help='to train on (default: %(default)s)')
    parser.add_argument('--epochs', type=int, default=6, help='default: %(default)s')
    parser.add_argument('--workers', type=int, default=1, help='loader processes (default: %(default)s)')
    args = parse(parser, quick=dict(seeds=1, images=256, epochs=2, workers=0))
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for seed in range(args.seeds):
        for kind in KINDS:
            found[kind].append(accuracy(kind, seed, args))
    rows = {kind: dict(mean_percent=statistics.mean(values), least_percent=min(values),
                       most_percent=max(values)) for kind, values in found.items()}
    write(args.out, benchmark='equal_views', images=args.images, epochs=args.epochs, seeds=args.seeds,
          threads=torch.get_num_threads(), rows=rows)


if __name__ == '__main__':
    main()
