"""Views of a whole batch on the device, beside kornia's and torchvision's; their share of a training step.

    python benchmarks/device_views.py --out benchmarks/results/gpu/device_views.json

The images lie on the device already, uint8, 375 x 500 on a canvas of 512; all make two views of the policy
with parameters of each image's own. torchvision has none of these for a batch, so it goes image by image. The
step is ResNet-50's, forward and backward, in bfloat16, and on a GPU only.
"""

import argparse
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec

import torch
from measure import alternate, parse, peer_versions, ratios, write
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from mmsimclr.models import ContrastiveHead, NonLinearNeck, NTXentLoss, ResNet, SimCLR
from mmsimclr.transforms import DeviceViews

HEIGHT, WIDTH, CANVAS = 375, 500, 512
GOAL_VIEWS_PER_S, GOAL_SHARE = 20_000, 0.10


def ours(size: int, images: Tensor) -> Callable[[], list[Tensor]]:
    views, count = DeviceViews(size=size), len(images)
    sizes = torch.tensor([(HEIGHT, WIDTH)] * count)
    seeds, places = torch.zeros(count, dtype=torch.int64), torch.arange(count)
    epochs = iter(range(10**9))
    return lambda: views(images, sizes, seeds, torch.full((count,), next(epochs)), places)


def torchvision(size: int, planes: Tensor) -> Callable[[], list[Tensor]]:
    steps = v2.Compose([
        v2.RandomResizedCrop(size, interpolation=InterpolationMode.BICUBIC, antialias=True),
        v2.RandomHorizontalFlip(), v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8),
        v2.RandomGrayscale(0.2), v2.RandomApply([v2.GaussianBlur(size // 10 // 2 * 2 + 1, (0.1, 2.0))], 0.5)])
    return lambda: [torch.stack([steps(img) for img in planes]) for _ in range(2)]


def kornia(size: int, planes: Tensor) -> Callable[[], list[Tensor]]:
    from kornia import augmentation
    kernel = size // 10 // 2 * 2 + 1
    steps = augmentation.AugmentationSequential(
        augmentation.RandomResizedCrop((size, size), resample='BICUBIC'),
        augmentation.RandomHorizontalFlip(), augmentation.ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8),
        augmentation.RandomGrayscale(p=0.2),
        augmentation.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=0.5))
    return lambda: [steps(planes.float() / 255) for _ in range(2)]


def training_step(size: int, count: int) -> Callable[[], None]:
    torch.backends.cudnn.benchmark = True                       # as the configs have it
    model = SimCLR(
        backbone=dict(type=ResNet, depth=50, zero_init_residual=True),
        neck=dict(type=NonLinearNeck, in_channels=2048, hid_channels=2048, out_channels=128, num_layers=2),
        head=dict(type=ContrastiveHead, loss=dict(type=NTXentLoss), temperature=0.1),
        data_preprocessor=dict(type='mmsimclr.ViewPreprocessor', channels_last=True)).cuda()
    views = [torch.rand(count, 3, size, size, device='cuda').to(memory_format=torch.channels_last)
             for _ in range(2)]

    def step() -> None:
        with torch.autocast('cuda', torch.bfloat16):
            loss = model.loss(views)['loss']
        loss.backward()
    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__)
    on_gpu = torch.cuda.is_available()
    parser.add_argument('--images', type=int, default=256 if on_gpu else 16, help='default: %(default)s')
    parser.add_argument('--size', type=int, default=224, help='of a view, in pixels (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=9 if on_gpu else 3, help='default: %(default)s')
    args = parse(parser, quick=dict(images=2, size=32, rounds=1))
    device = 'cuda' if on_gpu else 'cpu'
    images = torch.zeros(args.images, CANVAS, CANVAS, 3, dtype=torch.uint8)
    images[:, :HEIGHT, :WIDTH] = torch.randint(256, (args.images, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    images = images.to(device)
    planes = images[:, :HEIGHT, :WIDTH].permute(0, 3, 1, 2).contiguous()
    runs = {'ours': ours(args.size, images), 'torchvision v2': torchvision(args.size, planes)}
    if find_spec('kornia'):
        runs['kornia'] = kornia(args.size, planes)
    if on_gpu:
        runs['training step'] = training_step(args.size, args.images)
    rows = ratios(alternate(runs, args.rounds), 'ours')
    for row in rows.values():
        row['views_per_s'] = 2 * args.images / row['median_s']
    step = rows.pop('training step', None)
    share = rows['ours']['median_s'] / (rows['ours']['median_s'] + step['median_s']) if step else None
    write(args.out, benchmark='device_views', device=device, images=args.images, size=args.size,
          rounds=args.rounds, rows=rows, share_of_the_step=share,
          peers={**peer_versions(), 'kornia': metadata.version('kornia') if 'kornia' in rows else None})
    if not on_gpu:
        print(f'goals, {GOAL_VIEWS_PER_S:,} views/s and at most {GOAL_SHARE:.0%} of the step: not measured '
              'here; on a GPU: python benchmarks/device_views.py')
        return
    for name, value, met in (('views/s', f'{rows["ours"]["views_per_s"]:,.0f}',
                              rows['ours']['views_per_s'] >= GOAL_VIEWS_PER_S),
                             ('share of the step', f'{share:.1%}', share <= GOAL_SHARE)):
        print(f'{name}: {value}, {"met" if met else "not met"}')


if __name__ == '__main__':
    main()
