"""Detection: Faster and Mask R-CNN of mmdet, fine-tuned from the encoder."""

from mmsimclr.protocols.downstream import FineTuning
from mmsimclr.registry import PROTOCOLS


@PROTOCOLS.register_module()
class Detection(FineTuning):
    """Box AP on PASCAL VOC, or box and mask AP on COCO, of a detector that is fine-tuned from the encoder.

    Source:
        He et al. 2020 (MoCo), section 4.2; MMSelfSup 1.x and VISSL for the settings.
    """

    task = 'detection'
