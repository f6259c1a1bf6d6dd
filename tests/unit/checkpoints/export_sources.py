"""Small encoders in files, whose every tensor is different."""

from pathlib import Path

import torch

from mmsimclr.models import NonLinearNeck, ResNet


def fill(module: torch.nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    """Give every tensor of a module values of its own, norms and their counters too; return them."""
    generator = torch.Generator().manual_seed(seed)
    tensors = module.state_dict()
    for place, (key, value) in enumerate(tensors.items()):
        if key.endswith('num_batches_tracked'):
            value.fill_(100 + place)
        elif value.ndim == 1:
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        else:
            value.mul_(1 + 0.1 * torch.rand(value.shape, generator=generator))
    return tensors


def write_source(path: Path, *, mean=(10., 20., 30.), std=(40., 50., 60.), with_neck: bool = True,
                 **settings) -> tuple[ResNet, dict[str, torch.Tensor]]:
    """Write a model as a run of this project does; return its encoder, in eval mode, and all its tensors."""
    torch.manual_seed(0)
    settings = {'depth': 50, 'width_multiplier': 0.0625, **settings}
    backbone = ResNet(**settings).eval()
    backbone.warns_of_small_images = False
    tensors = {f'backbone.{key}': value for key, value in fill(backbone).items()}
    if with_neck:
        neck = NonLinearNeck(backbone.feat_dim, 12, 8, num_layers=3, with_last_bn_affine='scale')
        tensors |= {f'neck.{key}': value for key, value in fill(neck, 1).items()}
    record = {'version': 1, 'encoder': settings,
              'input': {'mean': list(mean), 'std': list(std), 'stated': True}}
    torch.save({'meta': {'mmsimclr': record, 'epoch': 3, 'iter': 30}, 'state_dict': tensors,
                'optimizer': {'state': {0: {'momentum_buffer': torch.ones(1000)}}}}, path)
    return backbone, tensors
