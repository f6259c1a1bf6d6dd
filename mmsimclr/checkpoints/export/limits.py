"""What other libraries' ResNets cannot be, so that no file is written that computes something else there."""

from mmsimclr.checkpoints.encoder_weights import EncoderWeights
from mmsimclr.checkpoints.errors import UnsupportedEncoderError


def lacking(library: str, encoder: EncoderWeights) -> list[str]:
    """Return what a library's stock ResNet lacks to compute an encoder's features.

    Args:
        library: 'torchvision', 'timm', 'Detectron2' or 'OpenMMLab'.
        encoder: What is to be written for it.
    """
    settings = encoder.settings
    small = settings['depth'] in (18, 34)
    width = settings.get('width_multiplier', 1)
    eps = settings.get('norm_eps', 1e-5)
    lacks = []
    if settings.get('stem', 'imagenet') == 'cifar':
        lacks.append("stem='cifar' (its stem is a 7x7 convolution and a max pool)")
    elif settings.get('stem_padding', 3) != 3:
        lacks.append(f'stem_padding={settings["stem_padding"]} (it pads its 7x7 convolution by 3)')
    if settings.get('stem_pool', 'torch') == 'same':
        lacks.append("stem_pool='same' (its max pool is padded on both sides, TensorFlow's is not)")
    if small and settings.get('project_first_shortcut', False):
        lacks.append('project_first_shortcut (its first block has a plain shortcut)')
    # OpenMMLab has base_channels. Detectron2's bottlenecks take any width; it asserts 64 channels for the
    # others (build_resnet_backbone).
    if width != 1 and (library in ('torchvision', 'timm') or (library == 'Detectron2' and small)):
        lacks.append(f'width_multiplier={width} (its ResNet-{settings["depth"]} has width 1 only)')
    if eps != 1e-5:
        lacks.append(f'norm_eps={eps} (its norms use 1e-05)')
    return lacks


def refuse_what_it_lacks(library: str, encoder: EncoderWeights) -> None:
    """Refuse an encoder that a library's stock ResNet would run differently, or not at all.

    Args:
        library: See :func:`lacking`.
        encoder: What is to be written for it.

    Raises:
        UnsupportedEncoderError: If the library lacks something; the message lists everything.
    """
    if lacks := lacking(library, encoder):
        raise UnsupportedEncoderError(
            f"{library} would not compute this encoder's features. Its ResNet lacks {'; '.join(lacks)}. "
            "The formats 'openmmlab-backbone', 'safetensors' and 'onnx' can hold the encoder")
