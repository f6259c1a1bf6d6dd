"""Metrics of detectors and segmenters, with values by class and by image."""

from .image_wise import (
    ImageWiseMetric,
    SegmentationMetric,
    VOCBoxMetric,
    eleven_point_and_area,
    match_detections,
)
