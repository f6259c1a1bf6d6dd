"""The encoder's last stage as the shared head of a C4 detector."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmsimclr.models.backbones.resnet import ResNet
from mmsimclr.registry import MODELS


@MODELS.register_module()
class Stage4Head(BaseModule):
    """Stage 4 of the encoder on regions of stage 3's map, and one norm more.

    The norm brings features of any encoder to the magnitude that the layers after it are drawn for.

    Args:
        **encoder: Arguments of :class:`~mmsimclr.models.ResNet`.

    Source:
        He et al. 2020 (MoCo), section 4.2, and its detection code.
    """

    def __init__(self, **encoder) -> None:
        super().__init__()
        whole = ResNet(**encoder)
        self.layer4 = whole.layer4
        self.norm = nn.BatchNorm2d(whole.feat_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map regions [N, C, H, W] to [N, 2C, H/2, W/2]."""
        return self.norm(self.layer4(x))
