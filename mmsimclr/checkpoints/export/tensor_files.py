"""Encoders written as files of named tensors: torch, safetensors and Detectron2's pickle."""

import json
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import BinaryIO

import safetensors.torch
import torch
from torch import Tensor

from mmsimclr.checkpoints.encoder_weights import BASIC_DEPTHS, EncoderWeights
from mmsimclr.checkpoints.errors import UnsupportedEncoderError
from mmsimclr.checkpoints.record import RECORD_KEY, pack_record


def lacking(library: str, encoder: EncoderWeights) -> list[str]:
    """Return what the ResNet of 'torchvision', 'timm', 'Detectron2' or 'OpenMMLab' lacks for an encoder."""
    settings, reading = encoder.settings, encoder.input.reading
    lacks = [] if reading is None else [f'images read as {dict(reading)} (its images are 8-bit RGB)']
    if 'type' in settings:
        return lacks + ([f'the type {settings["type"]}'] if library != 'OpenMMLab' else [])
    basic = settings['depth'] in BASIC_DEPTHS
    width = settings.get('width_multiplier', 1)
    eps = settings.get('norm_eps', 1e-5)
    if settings.get('stem', 'imagenet') == 'cifar':
        lacks.append("stem='cifar' (its stem is a 7x7 convolution and a max pool)")
    elif settings.get('stem_padding', 3) != 3:
        lacks.append(f'stem_padding={settings["stem_padding"]} (it pads its 7x7 convolution by 3)')
    if settings.get('stem_pool', 'torch') == 'same':
        lacks.append("stem_pool='same' (its max pool is padded on both sides, TensorFlow's is not)")
    if basic and settings.get('project_first_shortcut', False):
        lacks.append('project_first_shortcut (its first block has a plain shortcut)')
    # OpenMMLab has base_channels; of Detectron2's blocks, bottlenecks take any width (build_resnet_backbone).
    if width != 1 and (library in ('torchvision', 'timm') or (library == 'Detectron2' and basic)):
        lacks.append(f'width_multiplier={width} (its ResNet-{settings["depth"]} has width 1 only)')
    if (channels := settings.get('in_channels', 3)) != 3 and library not in ('OpenMMLab', 'timm'):
        lacks.append(f'in_channels={channels} (its stem takes RGB)')
    if eps != 1e-5:
        lacks.append(f'norm_eps={eps} (its norms use 1e-05)')
    return lacks


def refuse_what_it_lacks(library: str, encoder: EncoderWeights) -> None:
    """Raise UnsupportedEncoderError if a library's stock ResNet would run the encoder differently."""
    if lacks := lacking(library, encoder):
        raise UnsupportedEncoderError(
            f"{library} would not compute this encoder's features. Its ResNet lacks {'; '.join(lacks)}. "
            "The formats 'openmmlab-backbone', 'safetensors' and 'onnx' can hold the encoder")


def write_openmmlab(encoder: EncoderWeights, file: BinaryIO) -> None:
    """Write encoder and projection head as a model: ``state_dict`` of ``backbone.*`` and ``neck.*``."""
    if not encoder.neck:
        raise UnsupportedEncoderError(
            f"'openmmlab' is the full model, and {encoder.path} has no projection head of known structure; "
            "'openmmlab-backbone' writes the encoder alone")
    tensors = {f'backbone.{key}': value for key, value in encoder.tensors.items()}
    tensors |= {f'neck.{key}': value for key, value in encoder.neck.items()}
    torch.save({'meta': {RECORD_KEY: pack_record(encoder)}, 'state_dict': own_tensors(tensors)}, file)


def write_openmmlab_backbone(encoder: EncoderWeights, file: BinaryIO) -> None:
    """Write the encoder as MMSelfSup extracts it: a ``state_dict`` without prefixes."""
    torch.save({'meta': {RECORD_KEY: pack_record(encoder, with_neck=False)},
                'state_dict': own_tensors(encoder.tensors)}, file)


def write_bare(library: str, encoder: EncoderWeights, file: BinaryIO) -> None:
    """Write a bare state dict, without ``fc``, which the ResNet of 'torchvision' or 'timm' loads strictly."""
    refuse_what_it_lacks(library, encoder)
    tensors = own_tensors(encoder.tensors)
    # An entry would be an unexpected key. In the attribute _metadata torch looks up modules' names only.
    tensors._metadata = {RECORD_KEY: pack_record(encoder, with_neck=False)}
    torch.save(tensors, file)


def write_safetensors(encoder: EncoderWeights, file: BinaryIO) -> None:
    """Write the encoder's tensors under their own keys; the record is JSON in the metadata."""
    metadata = {'format': 'pt', RECORD_KEY: json.dumps(pack_record(encoder, with_neck=False))}
    file.write(safetensors.torch.save(own_tensors(encoder.tensors), metadata))


def write_detectron2(encoder: EncoderWeights, file: BinaryIO) -> None:
    """Write a file for ``MODEL.WEIGHTS`` of a Detectron2 config: arrays under its names.

    Source:
        detectron2/checkpoint/detection_checkpoint.py: a .pkl with ``model`` and ``__author__``; its
        heuristics match the names from their ends, so no prefix is needed.
    """
    refuse_what_it_lacks('Detectron2', encoder)
    arrays = {to_detectron2(key): value.numpy() for key, value in own_tensors(encoder.tensors).items()}
    pickle.dump({'model': arrays, '__author__': 'mmsimclr', 'matching_heuristics': True,
                 RECORD_KEY: pack_record(encoder, with_neck=False)}, file, protocol=4)


def to_detectron2(key: str) -> str:
    """Return Detectron2's name for torchvision's: ``res2.0.conv1.norm.bias`` for ``layer1.0.bn1.bias``.

    Source:
        detectron2/modeling/backbone/resnet.py, without a prefix such as backbone.bottom_up.
    """
    name = re.sub(r'layer(\d)', lambda found: f'res{int(found[1]) + 1}', key)
    name = name.replace('downsample.0', 'shortcut').replace('downsample.1', 'shortcut.norm')
    name = re.sub(r'bn(\d)', r'conv\1.norm', name)
    return name if name.startswith('res') else f'stem.{name}'


def own_tensors(tensors: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Return the tensors on the CPU, contiguous, each with a storage of its own and no larger."""
    return OrderedDict((key, value.detach().cpu().contiguous().clone()) for key, value in tensors.items())
