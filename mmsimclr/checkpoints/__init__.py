"""Checkpoints: read safely, loaded completely or not at all, written for other libraries."""

from .encoder_weights import IMAGENET_MEAN, IMAGENET_STD, UNIT_RANGE, EncoderWeights, InputScale
from .errors import (
                     CheckpointError,
                     DamagedCheckpointError,
                     IncompleteEncoderError,
                     LayoutError,
                     UnsafeCheckpointError,
                     UnsupportedEncoderError,
)
from .filling import check_scale
from .initializer import PretrainedInit
from .layouts import find_encoder
from .load import LoadReport, build_encoder, fill_model, load_encoder, load_model
from .manifest import (
    SaveError,
    Search,
    folders_of_run,
    newest_checkpoint,
    remove_leftovers,
    require_any,
    save_whole,
    write_text,
)
from .read import Checkpoint, read_checkpoint
from .record import RECORD_KEY, describe_model
from .source import find_checkpoint, read_encoder
from .zoo import FetchError, fetch_model, fetch_url, verify_file

__all__ = [
    'IMAGENET_MEAN', 'IMAGENET_STD', 'RECORD_KEY', 'UNIT_RANGE', 'Checkpoint', 'CheckpointError',
    'DamagedCheckpointError', 'EncoderWeights', 'FetchError', 'IncompleteEncoderError', 'InputScale',
    'LayoutError', 'LoadReport', 'PretrainedInit', 'SaveError', 'Search', 'UnsafeCheckpointError',
    'UnsupportedEncoderError', 'build_encoder', 'check_scale', 'describe_model', 'fetch_model', 'fetch_url',
    'fill_model', 'find_checkpoint', 'find_encoder', 'folders_of_run', 'load_encoder', 'load_model',
    'newest_checkpoint', 'read_checkpoint', 'read_encoder', 'remove_leftovers', 'require_any', 'save_whole',
    'verify_file', 'write_text',
]
