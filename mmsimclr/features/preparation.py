"""How an image becomes the encoder's input: the standard pipeline of evaluation, and its settings."""

from dataclasses import dataclass

from torch import Tensor, nn

from mmsimclr.transforms import CenterCrop, LoadImage, PackImage, Resize, ResizeShortSide


@dataclass(frozen=True)
class Preparation:
    """Read as RGB, resize the short side, cut the centre out (or squash the whole into a square).

    Attributes:
        resize_px: Length of the short side after resizing.
        crop_px: Side of the square that results, at most ``resize_px``.
        interpolation: As in :func:`mmsimclr.transforms.resize`, with antialiasing.
        squash: Whether the square is the whole image, resized once more without regard to its aspect,
            rather than its centre.

    Raises:
        ValueError: If ``crop_px`` is larger than ``resize_px``, or either is not an integer >= 1.
    """

    resize_px: int = 256
    crop_px: int = 224
    interpolation: str = 'bicubic'
    squash: bool = False

    def __post_init__(self) -> None:
        to_square = Resize(self.crop_px, self.interpolation) if self.squash else CenterCrop(self.crop_px)
        transforms = (LoadImage(), ResizeShortSide(self.resize_px, self.interpolation), to_square,
                      PackImage())
        if self.crop_px > self.resize_px:
            raise ValueError(f'crop_px must be at most resize_px, got {self.crop_px} and {self.resize_px}')
        object.__setattr__(self, '_transforms', transforms)

    def __call__(self, image: dict) -> Tensor:
        """Return uint8 [3, crop_px, crop_px] of an item with ``img_path`` or ``img``."""
        for transform in self._transforms:
            image = transform(image)
        return image['inputs']


def preparation_for(backbone: nn.Module, resize_px: int | None = None, crop_px: int | None = None,
                    interpolation: str = 'bicubic', squash: bool = False) -> Preparation:
    """Return the preparation an encoder expects: 256 and 224 pixels, or 32 where its stem is CIFAR's.

    Args:
        backbone: A stem whose first convolution has stride 1 is taken for CIFAR's.
        resize_px: Another short side; by default in the usual proportion to the crop.
        crop_px: Another crop.
        interpolation: See :class:`Preparation`.
        squash: See :class:`Preparation`.

    Raises:
        ValueError: As :class:`Preparation`.
    """
    stride = getattr(getattr(backbone, 'conv1', None), 'stride', None)
    usual = Preparation(32, 32) if stride in (1, (1, 1)) else Preparation()
    if crop_px is None:
        crop_px = usual.crop_px
    if resize_px is None:
        resize_px = round(crop_px * usual.resize_px / usual.crop_px)
    return Preparation(resize_px, crop_px, interpolation, squash)
