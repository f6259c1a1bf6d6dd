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
from .layouts import find_encoder
from .load import (
    LoadReport,
    PretrainedInit,
    build_encoder,
    build_projection_head,
    check_scale,
    fill_model,
    find_checkpoint,
    load_encoder,
    load_model,
    read_encoder,
    read_linear_classifier,
)
from .read import Checkpoint, read_checkpoint
from .record import RECORD_KEY, describe_model
from .zoo import FetchError, fetch_model, fetch_url, verify_file
