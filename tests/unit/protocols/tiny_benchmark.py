"""A benchmark of an encoder that was never trained, on a few images."""

from pathlib import Path

from mmengine.config import Config

from mmsimclr.protocols import Benchmark, EncoderSource

ENCODER = dict(depth=18, base_channels=4, stem='cifar')


def tiny_benchmark(folder: Path, seed: int = 0) -> Benchmark:
    folder.mkdir(parents=True, exist_ok=True)
    source = EncoderSource(None, settings=ENCODER, seed=0)
    return Benchmark(source, Config(dict(dataset_name='Shapes')), folder, folder.parent / 'features',
                     seed=seed, device='cpu')


def shapes(num_images: int, split: str = 'train', **arguments) -> dict:
    return dict(type='Shapes', num_images=num_images, image_size=16, split=split, **arguments)
