"""The structure of the official code's ResNets: their layers in the order of creation.

Source:
    google-research/simclr, resnet.py and tf2/resnet.py.
"""

from dataclasses import dataclass

NUM_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
BASIC_DEPTHS = (18, 34)
# The official variables of a batch norm, by torch's names.
NORM_VARIABLES = {'weight': 'gamma', 'bias': 'beta', 'running_mean': 'moving_mean',
                  'running_var': 'moving_variance'}


@dataclass(frozen=True)
class Layer:
    """A convolution without bias and the batch norm behind it.

    Attributes:
        stage: 1 to 4, or 0 for the stem.
        block: Number of the block within the stage, from 0.
        place: Number of the convolution within the block, from 1, or 0 for the projection shortcut.
        kernel_shape: [height, width, in, out], as TensorFlow has it.
    """

    stage: int
    block: int
    place: int
    kernel_shape: tuple[int, int, int, int]

    @property
    def conv_key(self) -> str:
        """Torchvision's name of the convolution."""
        if self.stage == 0:
            return 'conv1'
        return f'layer{self.stage}.{self.block}.' + (f'conv{self.place}' if self.place else 'downsample.0')

    @property
    def norm_key(self) -> str:
        """Torchvision's name of the norm."""
        if self.stage == 0:
            return 'bn1'
        return f'layer{self.stage}.{self.block}.' + (f'bn{self.place}' if self.place else 'downsample.1')


def official_layers(depth: int, channels: int = 64, stem_px: int = 7) -> list[Layer]:
    """Return the layers of a network without selective kernels, in the order of creation.

    Args:
        depth: A key of ``NUM_BLOCKS``.
        channels: Output channels of the stem, 64 at width 1.
        stem_px: Side of the stem's kernel: 7 (ImageNet) or 3 (CIFAR).
    """
    kernels_px = (3, 3) if depth in BASIC_DEPTHS else (1, 3, 1)
    layers = [Layer(0, 0, 1, (stem_px, stem_px, 3, channels))]
    width_in = channels
    for stage, num_blocks in enumerate(NUM_BLOCKS[depth], 1):
        inner = channels * 2**(stage - 1)
        width_out = inner if depth in BASIC_DEPTHS else 4 * inner
        for block in range(num_blocks):
            if block == 0:
                layers.append(Layer(stage, block, 0, (1, 1, width_in, width_out)))
            widths = [width_in, *[inner] * (len(kernels_px) - 1), width_out]
            layers += [Layer(stage, block, place, (side, side, widths[place - 1], widths[place]))
                       for place, side in enumerate(kernels_px, 1)]
            width_in = width_out
    return layers
