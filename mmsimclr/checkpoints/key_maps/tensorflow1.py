"""Names in the official TensorFlow 1 checkpoints: layers numbered through the network.

``base_model/conv2d/kernel``, ``base_model/batch_normalization/gamma``, ..., ``base_model/conv2d_52/kernel``:
a block's projection shortcut is numbered before its other layers. The projection head is
``head_contrastive/nl_0/dense/kernel``, ``head_contrastive/nl_0/batch_normalization/gamma``, ... The published
SimCLR v2 checkpoints hold a moving average of both under ``ema_model/`` as well.

Source:
    google-research/simclr, resnet.py and model_util.py.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator

from mmsimclr.checkpoints.errors import UnsupportedEncoderError
from mmsimclr.checkpoints.key_maps.official_resnet import NUM_BLOCKS, Layer, official_layers

LAYOUT = 'Google SimCLR, TensorFlow 1'
MODULE = 'base_model/'
HEAD = 'head_contrastive/'
STEM_KERNEL = 'conv2d/kernel'
ENCODER = re.compile(rf'(.*?{MODULE})(?:conv2d|batch_normalization)(?:_\d+)?/\w+')
LAYER = re.compile(r'(?:conv2d|batch_normalization)(?:_(\d+))?/\w+')


def find_prefixes(names: Iterable[str]) -> list[str]:
    """Return the prefixes of all encoders among the names of a checkpoint's variables."""
    return sorted({found[1] for name in names if (found := ENCODER.fullmatch(name))})


def refuse_other_networks(names: Collection[str], shape_of: Callable[[str], tuple[int, ...]]) -> None:
    """Raise UnsupportedEncoderError for a network with selective kernels or squeeze-and-excitation.

    Args:
        names: The encoder's variables, without their prefix.
        shape_of: From such a name to the variable's shape.
    """
    if any(re.fullmatch(r'conv2d(_\d+)?/bias', name) for name in names):
        raise UnsupportedEncoderError('a network with squeeze-and-excitation (convolutions with a bias)')
    # After a plain stem comes the 1x1 shortcut; a stem of ResNet-D goes on with its second 3x3.
    if 'conv2d_1/kernel' in names and shape_of('conv2d_1/kernel')[0] == 3:
        raise UnsupportedEncoderError('a selective-kernel network (stem of three 3x3 convolutions)')
    # The first block's 3x3, which keeps its channels unless it makes two streams of them.
    if 'conv2d_3/kernel' in names:
        side, _, width_in, width_out = shape_of('conv2d_3/kernel')
        if side == 3 and width_out == 2 * width_in:
            raise UnsupportedEncoderError('a selective-kernel network (3x3 convolutions of two streams)')


def infer_depth(names: Iterable[str]) -> int:
    """Return the depth whose number of layers is nearest to the highest one among the names."""
    num_layers = 1 + max(int(found[1] or 0) for name in names if (found := LAYER.fullmatch(name)))
    return min(NUM_BLOCKS, key=lambda depth: abs(len(official_layers(depth)) - num_layers))


def layer_names(layers: Iterable[Layer]) -> Iterator[tuple[str, str]]:
    """Yield the names of each layer's convolution and norm."""
    for number, _ in enumerate(layers):
        suffix = f'_{number}' if number else ''
        yield f'conv2d{suffix}', f'batch_normalization{suffix}'


def head_layer_names(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the names that the dense layer and the norm of each layer of the projection head should have.

    Args:
        names: The head's variables, without their prefix.
    """
    scopes = {name.split('/')[0] for name in names}
    # l_0 is the only layer of a linear head.
    in_order = ['l_0'] if scopes == {'l_0'} else [f'nl_{number}' for number in range(len(scopes))]
    return [(f'{scope}/dense', f'{scope}/batch_normalization') for scope in in_order]
