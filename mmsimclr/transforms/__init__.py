"""One image on the CPU: reading, random views, packing. RGB uint8 H×W×3 throughout.

OpenCV's own threads do not pay on images of this size: call ``cv2.setNumThreads(0)`` in the workers
of a data loader, and give each core a worker instead.
"""

from mmsimclr.transforms.base import Transform
from mmsimclr.transforms.batch import DeviceViews, PackForDevice
from mmsimclr.transforms.blur import GaussianBlur, gaussian_blur
from mmsimclr.transforms.color import (
    ColorJitter,
    RandomGrayscale,
    RandomSolarize,
    solarize,
    to_grayscale,
)
from mmsimclr.transforms.color_ops import (
    adjust_brightness,
    adjust_color,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
)
from mmsimclr.transforms.crop import RandomHorizontalFlip, RandomResizedCrop, resized_crop
from mmsimclr.transforms.format import PackImage, PackViews, image_to_tensor
from mmsimclr.transforms.lighting import PCALighting
from mmsimclr.transforms.load import ImageReadError, LoadImage, decode_image, read_image
from mmsimclr.transforms.load_for_crops import LoadImageForCrops
from mmsimclr.transforms.policy import SimCLRView, simclr_view
from mmsimclr.transforms.random_view import RandomView
from mmsimclr.transforms.resize import CenterCrop, Resize, ResizeShortSide, resize
from mmsimclr.transforms.views import MultiView, sample_seed

__all__ = [
    'CenterCrop',
    'ColorJitter',
    'DeviceViews',
    'GaussianBlur',
    'ImageReadError',
    'LoadImage',
    'LoadImageForCrops',
    'MultiView',
    'PCALighting',
    'PackForDevice',
    'PackImage',
    'PackViews',
    'RandomGrayscale',
    'RandomHorizontalFlip',
    'RandomResizedCrop',
    'RandomSolarize',
    'RandomView',
    'Resize',
    'ResizeShortSide',
    'SimCLRView',
    'Transform',
    'adjust_brightness',
    'adjust_color',
    'adjust_contrast',
    'adjust_hue',
    'adjust_saturation',
    'decode_image',
    'gaussian_blur',
    'image_to_tensor',
    'read_image',
    'resize',
    'resized_crop',
    'sample_seed',
    'simclr_view',
    'solarize',
    'to_grayscale',
]
