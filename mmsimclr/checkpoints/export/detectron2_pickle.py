"""Encoders written as Detectron2's pickle of numpy arrays."""

import pickle
from typing import BinaryIO

from mmsimclr.checkpoints.encoder_weights import BASIC_DEPTHS, EncoderWeights
from mmsimclr.checkpoints.export.tensor_files import refuse_what_it_lacks
from mmsimclr.checkpoints.key_maps import to_detectron2
from mmsimclr.checkpoints.record import RECORD_KEY, pack_record


def write_detectron2(encoder: EncoderWeights, file: BinaryIO) -> None:
    """Write a file for ``MODEL.WEIGHTS`` of a Detectron2 config: arrays under its names.

    Source:
        detectron2/checkpoint/detection_checkpoint.py: a .pkl with ``model`` and ``__author__``; its
        heuristics match the names from their ends, so no prefix is needed.
    """
    refuse_what_it_lacks('Detectron2', encoder)
    arrays = {to_detectron2(key): value.detach().cpu().contiguous().numpy()
              for key, value in encoder.tensors.items()}
    pickle.dump({'model': arrays, '__author__': 'mmsimclr', 'matching_heuristics': True,
                 RECORD_KEY: pack_record(encoder, with_neck=False)}, file, protocol=4)


def detectron2_config(encoder: EncoderWeights, weights: str) -> str:
    """Return the lines of a Detectron2 config, YAML, that build this encoder from the file ``weights``.

    Without them it would build MSRA's ResNet: stride in the first convolution of a block, BGR images.
    """
    depth, width = encoder.settings['depth'], encoder.settings.get('width_multiplier', 1)
    channels = '\n    RES2_OUT_CHANNELS: 64' if depth in BASIC_DEPTHS else ''
    if width != 1 and depth not in BASIC_DEPTHS:
        channels = (f'\n    STEM_OUT_CHANNELS: {int(64 * width)}\n    WIDTH_PER_GROUP: {int(64 * width)}'
                    f'\n    RES2_OUT_CHANNELS: {int(256 * width)}')
    return f"""MODEL:
  WEIGHTS: "{weights}"
  PIXEL_MEAN: {list(encoder.input.mean)}
  PIXEL_STD: {list(encoder.input.std)}
  RESNETS:
    DEPTH: {depth}
    STRIDE_IN_1X1: False{channels}
INPUT:
  FORMAT: "RGB\""""
