"""The SimCLR pipelines of other libraries, as they ship, where they are installed."""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from peers import mmpretrain_cifar_pipeline, mmpretrain_config

Maker = Callable[[object], None]


def from_files(size: int) -> dict[str, Maker]:
    """Return, by library, what makes two views of the image at a path."""
    makers = {}
    if find_spec('mmpretrain'):
        makers['mmpretrain'] = _mmpretrain()
    if find_spec('lightly'):
        from lightly.transforms import SimCLRTransform
        makers['lightly'] = _pillow(SimCLRTransform(input_size=size))
    if find_spec('torchvision'):
        from torchvision.io import decode_image, read_file
        views = _torchvision(size, strength=1.0, blur=True)
        makers['torchvision v2'] = lambda path: [views(img) for img in [decode_image(read_file(path))] * 2]
    return makers


def from_arrays(size: int) -> dict[str, Maker]:
    """Return, by library, what makes two views of an array uint8 [H, W, 3]: strength 0.5, no blur."""
    makers = {}
    if find_spec('mmpretrain'):
        makers['mmpretrain'] = _mmpretrain(size)
    if find_spec('lightly'):
        from lightly.transforms import SimCLRTransform
        from PIL import Image
        lightly = SimCLRTransform(input_size=size, cj_strength=0.5, gaussian_blur=0.0)
        makers['lightly'] = lambda img: lightly(Image.fromarray(img))
    if find_spec('torchvision'):
        import torch
        views = _torchvision(size, strength=0.5, blur=False)
        makers['torchvision v2'] = lambda img: [
            views(tensor) for tensor in [torch.from_numpy(img).permute(2, 0, 1)] * 2]
    return makers


def _pillow(views: Maker) -> Maker:
    from PIL import Image

    def make(path: object) -> None:
        with Image.open(path) as img:
            views(img.convert('RGB'))
    return make


def _mmpretrain(in_memory_size: int | None = None) -> Maker:
    """Its own config of SimCLR's pipeline; in memory with the size, the strength and no blur."""
    from mmpretrain.registry import TRANSFORMS
    cfg = mmpretrain_config()
    pipeline = mmpretrain_cifar_pipeline(cfg, in_memory_size) if in_memory_size else cfg.train_pipeline
    steps = [TRANSFORMS.build(step) for step in pipeline]

    def make(source: object) -> None:
        results = ({'img': source, 'img_shape': source.shape[:2]} if isinstance(source, np.ndarray)
                   else {'img_path': source})
        for step in steps:
            results = step(results)
    return make


def _torchvision(size: int, strength: float, blur: bool) -> Maker:
    """SimCLR's policy of version 2 transforms, on uint8 tensors as its documentation advises."""
    from torchvision.transforms import InterpolationMode, v2
    jitter = v2.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
    steps = [v2.RandomResizedCrop(size, interpolation=InterpolationMode.BICUBIC, antialias=True),
             v2.RandomHorizontalFlip(), v2.RandomApply([jitter], 0.8), v2.RandomGrayscale(0.2)]
    if blur:
        steps.append(v2.RandomApply([v2.GaussianBlur(size // 10 // 2 * 2 + 1, (0.1, 2.0))], 0.5))
    return v2.Compose(steps)
