"""Names in the official TensorFlow 2 checkpoints and SavedModels: paths through the model's objects.

``model/resnet_model/initial_conv_relu_max_pool/0/conv2d/kernel``,
``model/resnet_model/block_groups/1/layers/0/...``,
``model/_projection_head/linear_layers/0/dense/kernel``, ... The lists of a block also count the layers
without variables (DropBlock).

Source:
    google-research/simclr, tf2/resnet.py and tf2/model.py.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator

from mmsimclr.checkpoints.errors import UnsupportedEncoderError
from mmsimclr.checkpoints.key_maps.official_resnet import BASIC_DEPTHS, NUM_BLOCKS, Layer

LAYOUT = 'Google SimCLR, TensorFlow 2'
MODULE = 'resnet_model/'
HEAD = '_projection_head/linear_layers/'
STEM_KERNEL = 'initial_conv_relu_max_pool/0/conv2d/kernel'
ENCODER = re.compile(rf'(.*?{MODULE})(?:initial_conv_relu_max_pool|block_groups)/.+')
BLOCK = re.compile(r'block_groups/(\d+)/layers/(\d+)/(\w+)/.+')
BASIC = ('conv2d_bn_layers', 'shortcut_layers')
BOTTLENECK = ('conv_relu_dropblock_layers', 'projection_layers')


def find_prefixes(names: Iterable[str]) -> list[str]:
    """Return the prefixes of all encoders among the names of a checkpoint's variables."""
    return sorted({found[1] for name in names if (found := ENCODER.fullmatch(name))})


def refuse_other_networks(names: Collection[str], shape_of: Callable[[str], tuple[int, ...]]) -> None:
    """Raise UnsupportedEncoderError for a network with selective kernels or squeeze-and-excitation.

    Args:
        names: The encoder's variables, without their prefix.
        shape_of: From such a name to the variable's shape; not needed here.
    """
    if any('/se_reduce/' in name for name in names):
        raise UnsupportedEncoderError('a network with squeeze-and-excitation (se_reduce)')
    if 'initial_conv_relu_max_pool/4/conv2d/kernel' in names:
        raise UnsupportedEncoderError('a selective-kernel network (stem of three 3x3 convolutions)')
    if any('/conv2d_0/' in name for name in names):
        raise UnsupportedEncoderError('a selective-kernel network (3x3 convolutions of two streams)')


def infer_depth(names: Iterable[str]) -> int:
    """Return the depth whose numbers of blocks are nearest to those among the names."""
    num_blocks = [0, 0, 0, 0]
    basic = False
    for name in names:
        if (found := BLOCK.fullmatch(name)) and int(found[1]) < 4:
            stage, block = int(found[1]), int(found[2])
            num_blocks[stage] = max(num_blocks[stage], block + 1)
            basic |= found[3] in BASIC
    return min((depth for depth in NUM_BLOCKS if (depth in BASIC_DEPTHS) == basic),
               key=lambda depth: sum(abs(a - b) for a, b in zip(NUM_BLOCKS[depth], num_blocks, strict=True)))


def layer_names(layers: Iterable[Layer]) -> Iterator[tuple[str, str]]:
    """Yield the names of each layer's convolution and norm."""
    layers = list(layers)
    bottleneck = max(layer.place for layer in layers) == 3
    convolutions, shortcut = BOTTLENECK if bottleneck else BASIC
    for layer in layers:
        if layer.stage == 0:
            yield 'initial_conv_relu_max_pool/0/conv2d', 'initial_conv_relu_max_pool/2/bn'
            continue
        block = f'block_groups/{layer.stage - 1}/layers/{layer.block}'
        if layer.place == 0:
            yield f'{block}/{shortcut}/0/conv2d', f'{block}/{shortcut}/1/bn'
        else:
            # A bottleneck's convolution and norm are followed by DropBlock.
            first = (layer.place - 1) * (3 if bottleneck else 2)
            yield f'{block}/{convolutions}/{first}/conv2d', f'{block}/{convolutions}/{first + 1}/bn'


def head_layer_names(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the names that the dense layer and the norm of each layer of the projection head should have.

    Args:
        names: The head's variables, without their prefix.
    """
    num_layers = len({name.split('/')[0] for name in names})
    return [(f'{number}/dense', f'{number}/bn_relu/bn') for number in range(num_layers)]
