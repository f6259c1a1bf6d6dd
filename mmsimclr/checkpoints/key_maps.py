"""Names of an encoder's tensors in Detectron2 and in Google's checkpoints, and torchvision's."""

import re
from collections.abc import Iterable, Iterator, Sequence

from mmsimclr.checkpoints.encoder_weights import BASIC_DEPTHS, NUM_BLOCKS


def to_detectron2(key: str) -> str:
    """Return Detectron2's name for torchvision's: ``res2.0.conv1.norm.bias`` for ``layer1.0.bn1.bias``.

    Source:
        detectron2/modeling/backbone/resnet.py, without a prefix such as backbone.bottom_up.
    """
    name = re.sub(r'layer(\d)', lambda found: f'res{int(found[1]) + 1}', key)
    name = name.replace('downsample.0', 'shortcut').replace('downsample.1', 'shortcut.norm')
    name = re.sub(r'bn(\d)', r'conv\1.norm', name)
    return name if name.startswith('res') else f'stem.{name}'


# The official variables of a batch norm, by torch's names.
NORM_VARIABLES = {'weight': 'gamma', 'bias': 'beta', 'running_mean': 'moving_mean',
                  'running_var': 'moving_variance'}


def official_convolutions(depth: int) -> list[str]:
    """Return torchvision's names of the convolutions of a plain network, in the order of their creation."""
    names = ['conv1']
    for stage, num_blocks in enumerate(NUM_BLOCKS[depth], 1):
        for block in range(num_blocks):
            parts = ['downsample.0'] if block == 0 else []
            parts += ['conv1', 'conv2'] if depth in BASIC_DEPTHS else ['conv1', 'conv2', 'conv3']
            names += [f'layer{stage}.{block}.{part}' for part in parts]
    return names


def infer_depth(names: Iterable[str]) -> int:
    """Return the depth whose number of convolutions is nearest to that among the names, of either form."""
    num = sum(bool(re.fullmatch(r'(.+/)?conv2d(_\d+)?/kernel', name)) for name in names)
    return min(NUM_BLOCKS, key=lambda depth: abs(len(official_convolutions(depth)) - num))


def norm_of(convolution: str) -> str:
    """Return torchvision's name of the batch norm behind a convolution."""
    return convolution.replace('downsample.0', 'downsample.1').replace('conv', 'bn')


class TensorFlow1Names:
    """Layers numbered through the network: ``base_model/conv2d_52/kernel``.

    A block's projection shortcut is numbered before its other layers. The projection head is
    ``head_contrastive/nl_0/dense/kernel``, ``head_contrastive/nl_0/batch_normalization/gamma``, ... The
    SimCLR v2 checkpoints have a moving average of both under ``ema_model/``. The methods take names without
    the prefix of the encoder, or of the head. Source: google-research/simclr, resnet.py and model_util.py.
    """

    layout = 'Google SimCLR, TensorFlow 1'
    encoder = 'base_model/'
    head = 'head_contrastive/'
    variable = re.compile(r'(.*?base_model/)(?:conv2d|batch_normalization)(?:_\d+)?/\w+')

    @staticmethod
    def layer_names(convolutions: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield the names of each convolution and its norm."""
        yield 'conv2d', 'batch_normalization'
        for number in range(1, len(convolutions)):
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
    :class:`TensorFlow1Names`. Source: google-research/simclr, tf2/resnet.py and tf2/model.py.
    """

    layout = 'Google SimCLR, TensorFlow 2'
    encoder = 'resnet_model/'
    head = '_projection_head/linear_layers/'
    variable = re.compile(r'(.*?resnet_model/)(?:initial_conv_relu_max_pool|block_groups)/.+')

    @staticmethod
    def layer_names(convolutions: Sequence[str]) -> Iterator[tuple[str, str]]:
        # In a bottleneck DropBlock follows each convolution and norm.
        is_basic = 'layer1.0.conv3' not in convolutions
        layers, shortcut, step = ('conv2d_bn_layers', 'shortcut_layers', 2) if is_basic else (
            'conv_relu_dropblock_layers', 'projection_layers', 3)
        yield 'initial_conv_relu_max_pool/0/conv2d', 'initial_conv_relu_max_pool/2/bn'
        for name in convolutions[1:]:
            stage, block, part = name.removeprefix('layer').split('.', 2)
            place, folder = 0, shortcut
            if part != 'downsample.0':
                place, folder = step * (int(part[-1]) - 1), layers
            parent = f'block_groups/{int(stage) - 1}/layers/{block}/{folder}'
            yield f'{parent}/{place}/conv2d', f'{parent}/{place + 1}/bn'

    @staticmethod
    def head_layer_names(names: Iterable[str]) -> list[tuple[str, str]]:
        num_layers = len({name.split('/')[0] for name in names})
        return [(f'{number}/dense', f'{number}/bn_relu/bn') for number in range(num_layers)]
