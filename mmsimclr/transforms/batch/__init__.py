"""SimCLR's views of a whole batch at once, on the device, random for each image.

A loader ships each image once, as it is (:class:`PackForDevice`); :class:`DeviceViews` makes all views of
the batch. Images and views are floats on the 0-255 scale, never rounded in between.
"""

from mmsimclr.splitmix64 import uniforms

from .color import adjust_batch, to_grey, turn_hue
from .device_views import DeviceViews, PackForDevice
from .parameters import JITTER, ViewParameters, draw_parameters, sample_seeds
from .separable import blur_matrices, crop_matrices, filter_rows_and_columns
