"""Data preprocessors: the last step before the model, on the device."""

from .view_preprocessor import ViewPreprocessor
