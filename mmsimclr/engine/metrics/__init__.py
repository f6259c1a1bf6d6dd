"""Metrics of detectors and segmenters, with values by class and by image."""

from .image_wise_metric import ImageWiseMetric
from .segmentation_metric import SegmentationMetric
from .voc_box_metric import VOCBoxMetric, eleven_point_and_area, match_detections
