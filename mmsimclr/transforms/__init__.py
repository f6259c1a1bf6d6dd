"""One image on the CPU: reading, random views, packing."""

from .base import Transform
from .batch.device_views import DeviceViews, PackForDevice
from .blur import GaussianBlur, gaussian_blur
from .channels import LoadChannels, as_rgb, read_raster, shown_limits
from .color import (
    ColorJitter,
    PCALighting,
    RandomGrayscale,
    RandomSolarize,
    adjust_color,
    adjust_hue,
    solarize,
    to_grayscale,
)
from .crop import RandomHorizontalFlip, RandomResizedCrop, resized_crop
from .format import PackImage, PackViews, image_to_tensor
from .load import ImageReadError, LoadImage, LoadImageForCrops, decode_image, read_image
from .operators import ChannelDropout, ChannelJitter, Cutout, GaussianNoise, Rotate90, Sobel
from .policy import AutoAugment, SimCLRView
from .resize import CenterCrop, Resize, ResizeShortSide, resize
from .views import MultiView, RandomView, sample_seed, simclr_views
