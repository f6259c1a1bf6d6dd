"""Small encoders and images for tests of extraction."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from mmsimclr.checkpoints import UNIT_RANGE
from mmsimclr.features import Embedder
from mmsimclr.models import ResNet

NUM_IMAGES = 11


class Means(nn.Module):
    """A fast encoder of ``length`` channels: multiples of the mean of an image."""

    def __init__(self, length: int = 3, factor: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(factor * torch.arange(1.0, length + 1))

    def forward(self, x):
        return (x.mean(dim=(1, 2, 3)).view(-1, 1, 1, 1) * self.weight.view(1, -1, 1, 1),)


class InMemory:
    """Images of one colour, whose level is the number of the image; labels if asked for."""

    def __init__(self, num_images: int, labels=None) -> None:
        self.num_images, self.labels = num_images, labels

    def __len__(self) -> int:
        return self.num_images

    def get_data_info(self, index: int) -> dict:
        info = dict(img=np.full((4, 4, 3), index % 256, np.uint8))
        return info if self.labels is None else {**info, 'gt_label': self.labels[index]}


def small(module: nn.Module, **arguments) -> Embedder:
    return Embedder(module, 'cpu', **{'input': UNIT_RANGE, 'batch_size': 4, 'resize_px': 8, 'crop_px': 8,
                                      **arguments})


def resnet() -> ResNet:
    torch.manual_seed(0)
    return ResNet(depth=18, base_channels=4, stem='cifar', out_indices=('stem', 1, 3))


def save_image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_folder(root: Path) -> Path:
    """Write eleven images in three class folders; the order of writing is not that of the paths."""
    for number in range(NUM_IMAGES):
        save_image(root / 'bca'[number % 3] / f'{number:02}.png', number)
    return root


def content(out: Path) -> dict[str, str]:
    """Return the digest of each file of a result."""
    files = [out] if out.is_file() else sorted(out.iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
