"""What a ResNet's tensors show of its architecture."""

import re
from collections.abc import Mapping

from torch import Tensor

from mmsimclr.checkpoints.errors import UnsupportedEncoderError

BLOCKS_TO_DEPTH = {            # (blocks per stage, convolutions per block): depth; He et al. 2016, Table 1
    ((2, 2, 2, 2), 2): 18,
    ((3, 4, 6, 3), 2): 34,
    ((3, 4, 6, 3), 3): 50,
    ((3, 4, 23, 3), 3): 101,
    ((3, 8, 36, 3), 3): 152,
}
BLOCK = re.compile(r'layer([1-4])\.(\d+)\.conv([123])\.weight')


def infer_architecture(tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """Return the arguments of :class:`mmsimclr.models.ResNet` that the shapes of its tensors show.

    Args:
        tensors: An encoder's tensors under torchvision's keys.

    Returns:
        ``depth``, ``width_multiplier``, ``stem`` and ``project_first_shortcut``.

    Raises:
        UnsupportedEncoderError: If it is a residual network of another kind; the message names it.
    """
    blocks = [set(), set(), set(), set()]
    convolutions = 0
    for key in tensors:
        if found := BLOCK.fullmatch(key):
            blocks[int(found[1]) - 1].add(int(found[2]))
            convolutions = max(convolutions, int(found[3]))
    per_stage = tuple(map(len, blocks))
    stem, first = tensors['conv1.weight'], tensors['layer1.0.conv1.weight']
    channels, kernel = stem.shape[0], stem.shape[-1]
    if stem.shape[1] != 3:
        raise UnsupportedEncoderError(f'the encoder takes images of {stem.shape[1]} channels; RGB has 3')
    if kernel not in (3, 7):
        raise UnsupportedEncoderError(f'the stem convolution is {kernel}x{kernel}; known are 7x7 (ImageNet) '
                                      'and 3x3 (CIFAR)')
    if first.shape[0] != channels:
        raise UnsupportedEncoderError(
            f'stem of {channels} and blocks of {first.shape[0]} channels: a wide ResNet or ResNeXt, not a '
            'ResNet whose channels are all multiplied')
    if 'layer1.0.conv2.weight' in tensors and tensors['layer1.0.conv2.weight'].shape[1] != channels:
        raise UnsupportedEncoderError('grouped 3x3 convolutions: a ResNeXt, which is not built here')
    if (per_stage, convolutions) not in BLOCKS_TO_DEPTH:
        raise UnsupportedEncoderError(
            f'blocks {per_stage} of {convolutions} convolutions are no ResNet-18, -34, -50, -101 or -152')
    width = channels / 64
    return {
        'depth': BLOCKS_TO_DEPTH[per_stage, convolutions],
        'width_multiplier': int(width) if width == int(width) else width,
        'stem': 'imagenet' if kernel == 7 else 'cifar',
        # Bottlenecks need a projection there, since the channels change.
        'project_first_shortcut': convolutions == 2 and 'layer1.0.downsample.0.weight' in tensors,
    }
