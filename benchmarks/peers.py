"""mmpretrain's SimCLR, taken from the configs in its package and set to CIFAR-10's images."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

CIFAR10_CONFIG = Path(__file__).parents[1] / 'configs/simclr/simclr_resnet18_1xb512-coslr-1000e_cifar10.py'


def mmpretrain_config(name: str = 'simclr/simclr_resnet50_8xb32-coslr-200e_in1k.py') -> Config:
    """Return a config of the installed mmpretrain, whose names are then looked up in its registries."""
    import mmpretrain.datasets
    init_default_scope('mmpretrain')
    return Config.fromfile(Path(mmpretrain.__file__).parent / '.mim/configs' / name)


def mmpretrain_cifar_pipeline(cfg: Config, size: int = 32) -> list[dict]:
    """Return its pipeline of views for images in memory: the size, strength 0.5, no blur."""
    _, multi_view, pack = cfg.train_pipeline
    crop, flip, jitter, grey, _ = multi_view.transforms[0]
    crop.scale = size
    jitter.transforms[0].update(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    multi_view.transforms = [[crop, flip, jitter, grey]]
    return [multi_view, pack]


def mmpretrain_cifar_model(cfg: Config, width: int) -> torch.nn.Module:
    """Return its SimCLR with its ResNet-18 for CIFAR; batch norm is plain, since one process trains."""
    from mmpretrain.registry import MODELS
    cfg.model.backbone = dict(type='ResNet_CIFAR', depth=18, stem_channels=width, base_channels=width)
    cfg.model.neck.update(in_channels=8 * width, hid_channels=8 * width)
    return MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
