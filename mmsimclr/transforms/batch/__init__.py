"""SimCLR's views of a whole batch at once, on the device, random for each image."""

from mmsimclr.splitmix64 import uniforms

from .color import adjust_batch, to_grey, turn_hue
from .device_views import DeviceViews, PackForDevice
from .parameters import JITTER, ViewParameters, draw_parameters, sample_seeds
from .separable import blur_matrices, crop_matrices, filter_rows_and_columns
