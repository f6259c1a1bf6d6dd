"""Names of an encoder's tensors in Detectron2 and in Google's checkpoints, and torchvision's.

Source:
    detectron2/modeling/backbone/resnet.py; google-research/simclr, resnet.py, model_util.py, tf2/resnet.py
    and tf2/model.py.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from mmsimclr.checkpoints import encoder_weights
from mmsimclr.checkpoints.encoder_weights import BASIC_DEPTHS
from mmsimclr.checkpoints.errors import UnsupportedEncoderError

# Without a prefix such as backbone.bottom_up. The norm lies inside its convolution, stages count from 2.
NAME = re.compile(r'(stem\.conv1|res[2-5]\.\d+\.(conv[123]|shortcut))\.(norm\.)?\w+')


def to_detectron2(key: str) -> str:
    """Return Detectron2's name for torchvision's: ``res2.0.conv1.norm.bias`` for ``layer1.0.bn1.bias``."""
    name = re.sub(r'layer(\d)', lambda found: f'res{int(found[1]) + 1}', key)
    name = name.replace('downsample.0', 'shortcut').replace('downsample.1', 'shortcut.norm')
    name = re.sub(r'bn(\d)', r'conv\1.norm', name)
    return name if name.startswith('res') else f'stem.{name}'


def from_detectron2(name: str) -> str | None:
    """Return torchvision's key for Detectron2's name; None if it is not one of its ResNet."""
    if not NAME.fullmatch(name):
        return None
    key = re.sub(r'res(\d)', lambda found: f'layer{int(found[1]) - 1}', name.removeprefix('stem.'))
    key = re.sub(r'conv(\d)\.norm\.', r'bn\1.', key)
    return key.replace('shortcut.norm.', 'downsample.1.').replace('shortcut.', 'downsample.0.')


NUM_BLOCKS = {**encoder_weights.NUM_BLOCKS, 200: (3, 24, 36, 3)}
# The official variables of a batch norm, by torch's names.
NORM_VARIABLES = {'weight': 'gamma', 'bias': 'beta', 'running_mean': 'moving_mean',
                  'running_var': 'moving_variance'}


@dataclass(frozen=True)
class Layer:
    """A convolution without bias and the batch norm behind it."""

    stage: int                           # 1 to 4, or 0 for the stem
    block: int                           # within the stage, from 0
    place: int                           # within the block, from 1, or 0 for the projection shortcut
    kernel_shape: tuple[int, int, int, int]                  # height, width, in, out

    @property
    def conv_key(self) -> str:
        """Torchvision's name of the convolution."""
        if self.stage == 0:
            return 'conv1'
        return f'layer{self.stage}.{self.block}.' + (f'conv{self.place}' if self.place else 'downsample.0')

    @property
    def norm_key(self) -> str:
        """Torchvision's name of the norm."""
        return self.conv_key.replace('downsample.0', 'downsample.1').replace('conv', 'bn')


def official_layers(depth: int, channels: int = 64, stem_px: int = 7) -> list[Layer]:
    """Return the layers of a network without selective kernels, in the order of creation.

    The stem has ``channels`` outputs, 64 at width 1, and a kernel of 7 (ImageNet) or 3 (CIFAR) pixels.
    """
    kernels_px, expansion = ((3, 3), 1) if depth in BASIC_DEPTHS else ((1, 3, 1), 4)
    layers = [Layer(0, 0, 1, (stem_px, stem_px, 3, channels))]
    width_in = channels
    for stage, num_blocks in enumerate(NUM_BLOCKS[depth], 1):
        inner = channels * 2**(stage - 1)
        width_out = expansion * inner
        layers.append(Layer(stage, 0, 0, (1, 1, width_in, width_out)))
        for block in range(num_blocks):
            widths = [width_in, *[inner] * (len(kernels_px) - 1), width_out]
            layers += [Layer(stage, block, place, (side, side, widths[place - 1], widths[place]))
                       for place, side in enumerate(kernels_px, 1)]
            width_in = width_out
    return layers


class TensorFlow1Names:
    """Layers numbered through the network: ``base_model/conv2d_52/kernel``.

    A block's projection shortcut is numbered before its other layers. The projection head is
    ``head_contrastive/nl_0/dense/kernel``, ``head_contrastive/nl_0/batch_normalization/gamma``, ... The
    SimCLR v2 checkpoints have a moving average of both under ``ema_model/``. The methods take names without
    the prefix of the encoder, or of the head.
    """

    layout = 'Google SimCLR, TensorFlow 1'
    encoder = 'base_model/'
    head = 'head_contrastive/'
    stem_kernel = 'conv2d/kernel'
    variable = re.compile(r'(.*?base_model/)(?:conv2d|batch_normalization)(?:_\d+)?/\w+')

    @staticmethod
    def refuse_other_networks(names: Collection[str], shape_of: Callable[[str], tuple[int, ...]]) -> None:
        """Raise UnsupportedEncoderError for a network with selective kernels or squeeze-and-excitation."""
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

    @staticmethod
    def infer_depth(names: Iterable[str]) -> int:
        """Return the depth whose number of layers is nearest to the highest one among the names."""
        layer = re.compile(r'(?:conv2d|batch_normalization)(?:_(\d+))?/\w+')
        num_layers = 1 + max(int(found[1] or 0) for name in names if (found := layer.fullmatch(name)))
        return min(NUM_BLOCKS, key=lambda depth: abs(len(official_layers(depth)) - num_layers))

    @staticmethod
    def layer_names(layers: Collection[Layer]) -> Iterator[tuple[str, str]]:
        """Yield the names of each layer's convolution and norm."""
        yield 'conv2d', 'batch_normalization'
        for number in range(1, len(layers)):
            yield f'conv2d_{number}', f'batch_normalization_{number}'

    @staticmethod
    def head_layer_names(names: Iterable[str]) -> list[tuple[str, str]]:
        """Return the names that the dense layer and the norm of each layer of the head should have."""
        scopes = {name.split('/')[0] for name in names}      # l_0 is the only layer of a linear head
        in_order = ['l_0'] if scopes == {'l_0'} else [f'nl_{number}' for number in range(len(scopes))]
        return [(f'{scope}/dense', f'{scope}/batch_normalization') for scope in in_order]


class TensorFlow2Names:
    """Paths through the model's objects: ``model/resnet_model/block_groups/1/layers/0/...``.

    The stem is ``model/resnet_model/initial_conv_relu_max_pool/0/conv2d/kernel``, the projection head
    ``model/_projection_head/linear_layers/0/dense/kernel``, ... The lists of a block also count the layers
    without variables (DropBlock). SavedModels have the same paths. The methods are as those of
    :class:`TensorFlow1Names`.
    """

    layout = 'Google SimCLR, TensorFlow 2'
    encoder = 'resnet_model/'
    head = '_projection_head/linear_layers/'
    stem_kernel = 'initial_conv_relu_max_pool/0/conv2d/kernel'
    variable = re.compile(r'(.*?resnet_model/)(?:initial_conv_relu_max_pool|block_groups)/.+')

    @staticmethod
    def refuse_other_networks(names: Collection[str], shape_of: Callable[[str], tuple[int, ...]]) -> None:
        if any('/se_reduce/' in name for name in names):
            raise UnsupportedEncoderError('a network with squeeze-and-excitation (se_reduce)')
        if 'initial_conv_relu_max_pool/4/conv2d/kernel' in names:
            raise UnsupportedEncoderError('a selective-kernel network (stem of three 3x3 convolutions)')
        if any('/conv2d_0/' in name for name in names):
            raise UnsupportedEncoderError('a selective-kernel network (3x3 convolutions of two streams)')

    @staticmethod
    def infer_depth(names: Iterable[str]) -> int:
        """Return the depth whose numbers of blocks are nearest to those among the names."""
        num_blocks, basic = [0, 0, 0, 0], False
        for name in names:
            if found := re.fullmatch(r'block_groups/([0-3])/layers/(\d+)/(\w+)/.+', name):
                stage, block = int(found[1]), int(found[2])
                num_blocks[stage] = max(num_blocks[stage], block + 1)
                basic |= found[3] in ('conv2d_bn_layers', 'shortcut_layers')
        depths = [depth for depth in NUM_BLOCKS if (depth in BASIC_DEPTHS) == basic]
        return min(depths, key=lambda depth: sum(
            abs(a - b) for a, b in zip(NUM_BLOCKS[depth], num_blocks, strict=True)))

    @staticmethod
    def layer_names(layers: Collection[Layer]) -> Iterator[tuple[str, str]]:
        if max(layer.place for layer in layers) == 3:
            # A bottleneck's convolution and norm are followed by DropBlock.
            convolutions, shortcut, step = 'conv_relu_dropblock_layers', 'projection_layers', 3
        else:
            convolutions, shortcut, step = 'conv2d_bn_layers', 'shortcut_layers', 2
        for layer in layers:
            block, first = f'block_groups/{layer.stage - 1}/layers/{layer.block}', (layer.place - 1) * step
            if layer.stage == 0:
                yield 'initial_conv_relu_max_pool/0/conv2d', 'initial_conv_relu_max_pool/2/bn'
            elif layer.place == 0:
                yield f'{block}/{shortcut}/0/conv2d', f'{block}/{shortcut}/1/bn'
            else:
                yield f'{block}/{convolutions}/{first}/conv2d', f'{block}/{convolutions}/{first + 1}/bn'

    @staticmethod
    def head_layer_names(names: Iterable[str]) -> list[tuple[str, str]]:
        num_layers = len({name.split('/')[0] for name in names})
        return [(f'{number}/dense', f'{number}/bn_relu/bn') for number in range(num_layers)]
