"""Segmentation: FCN of mmseg, fine-tuned from the encoder."""

from mmsimclr.protocols.downstream import FineTuning
from mmsimclr.registry import PROTOCOLS


@PROTOCOLS.register_module()
class Segmentation(FineTuning):
    """Mean IoU of a segmenter that is fine-tuned from the encoder.

    Source:
        Long et al. 2015; MMSelfSup 1.x for the settings.
    """

    task = 'segmentation'
