"""Filling a module with tensors: all of it or nothing, and what the tensors do not show."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmsimclr.checkpoints.encoder_weights import InputScale
from mmsimclr.checkpoints.errors import (
    DamagedCheckpointError,
    IncompleteEncoderError,
    UnsupportedEncoderError,
    listed,
)

COUNTER = 'num_batches_tracked'        # of batch norm; changes nothing unless its momentum is None
INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def matching_tensors(expected: Mapping[str, Tensor], offered: Mapping[str, Tensor], origin: object,
                     message: Callable[[str], str]) -> dict[str, Tensor]:
    """Return the tensors to copy, of the types they will have.

    Args:
        expected: A module's state dict.
        offered: What is to fill it.
        origin: What messages call the file.
        message: Makes the message of an error out of what is wrong.

    Raises:
        IncompleteEncoderError: If they are not exactly those expected. Counters of batch norm, which change
            nothing, may be absent.
        DamagedCheckpointError: If a number is not finite.
    """
    missing = [key for key in expected if key not in offered and not key.endswith(COUNTER)]
    unexpected = [key for key in offered if key not in expected and not key.endswith(COUNTER)]
    misshaped = [f'{key} is {list(tensor.shape)}, expected {list(expected[key].shape)}'
                 for key, tensor in offered.items()
                 if key in expected and tensor.shape != expected[key].shape]
    mistyped = [f'{key} is {offered[key].dtype}' for key in expected if key in offered and (
        not offered[key].is_floating_point() if expected[key].is_floating_point() else
        offered[key].dtype not in INTEGERS)]
    kinds = (('missing', missing), ('unexpected', unexpected), ('mis-shaped', misshaped),
             ('of another type of number', mistyped))
    problems = [f'{len(keys)} {kind} ({listed(keys, separator="; ")})' for kind, keys in kinds if keys]
    if problems:
        raise IncompleteEncoderError(message(f'of {len(expected)} tensors expected, ' + ', '.join(problems)))
    # As they will be: a number may be finite in the file and not in the model.
    matched = {key: offered[key].to(tensor.dtype) for key, tensor in expected.items() if key in offered}
    if bad := [key for key, tensor in matched.items() if not torch.isfinite(tensor).all()]:
        raise DamagedCheckpointError(
            f'{origin} holds NaN or infinity in {len(bad)} of {len(matched)} tensors: {listed(bad)}. The run '
            'diverged; take an earlier checkpoint')
    return matched


@torch.no_grad()
def copy_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into a module of which each is one."""
    own = module.state_dict()
    for key, tensor in tensors.items():
        own[key].copy_(tensor)


def numerics(module: nn.Module, settings: Mapping[str, object], origin: object
             ) -> dict[str, Callable[[], None]]:
    """Return what must be set for an encoder to compute what it was trained to, by setting.

    Raises:
        UnsupportedEncoderError: If the module cannot be set so.
    """
    setters = {}
    block = module.layer2[0] if hasattr(module, 'layer2') else None
    if hasattr(block, 'conv3') and block.conv1.stride != (1, 1):
        raise UnsupportedEncoderError(
            f'{type(module).__module__}.{type(module).__name__} strides in the 1x1 convolution of a block '
            "(style='caffe'), the encoder in the 3x3: its features would be others. Build it with "
            "style='pytorch'")
    if 'norm_eps' in settings:
        eps = settings['norm_eps']
        norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.eps != eps]
        if norms:
            setters['norm_eps'] = lambda: [setattr(norm, 'eps', eps) for norm in norms]
    padding = (settings.get('stem_padding'),) * 2
    if padding != (None, None) and module.conv1.padding != padding:
        setters['stem_padding'] = lambda: setattr(module.conv1, 'padding', padding)
    pool = settings.get('stem_pool', 'torch')
    if settings.get('stem') == 'imagenet':
        if hasattr(module, 'set_stem_pool'):
            if module.stem_pool != pool and 'stem_pool' in settings:
                setters['stem_pool'] = lambda: module.set_stem_pool(pool)
        elif pool != 'torch':
            raise UnsupportedEncoderError(
                f"the encoder of {origin} was trained with TensorFlow's max pool (stem_pool={pool!r}), "
                f'which {type(module).__module__}.{type(module).__name__} does not have: its features would '
                'be off by several per cent. Use mmsimclr.ResNet')
    return setters


def check_scale(model: nn.Module, scale: InputScale, origin: object) -> None:
    """Refuse a model that scales its images otherwise than an encoder was trained with.

    Raises:
        UnsupportedEncoderError: If the file states a scale and the model's ``data_preprocessor`` has another.
    """
    preprocessor = getattr(model, 'data_preprocessor', None)
    if not scale.stated or not isinstance(getattr(preprocessor, 'mean', None), Tensor):
        return
    own = [tuple(round(value, 3) for value in tensor.flatten().tolist())
           for tensor in (preprocessor.mean, preprocessor.std)]
    stated = [tuple(round(value, 3) for value in values) for values in (scale.mean, scale.std)]
    if own != stated:
        raise UnsupportedEncoderError(
            f'the encoder of {origin} was trained on images less {stated[0]}, by {stated[1]}, and the model '
            f'takes them less {own[0]}, by {own[1]}: set model.data_preprocessor.mean and .std accordingly')
