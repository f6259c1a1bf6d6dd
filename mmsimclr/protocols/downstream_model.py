"""A detector of mmdet or a segmenter of mmseg around an encoder: its config completed, its weights put in."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import ConfigDict
from torch import nn

from mmsimclr.checkpoints import InputScale
from mmsimclr.config import ConfigError
from mmsimclr.distributed import unwrap_model
from mmsimclr.models import DownstreamResNet
from mmsimclr.registry import MODELS

STAGE_4 = 'layer4.'
WIDTH = ('base_channels', 'width_multiplier')


def complete_model(model: ConfigDict, encoder: Mapping[str, Any], scale: InputScale,
                   num_classes: int) -> None:
    """Fill in what only the encoder and the data can tell: architecture, channels, strides, scale, classes.

    So one config serves encoders of every depth, width and stem.

    Args:
        model: Config of mmdet's ``FasterRCNN`` or ``MaskRCNN``, with an FPN or with
            :class:`~mmsimclr.models.Stage4Head` as shared head (C4), or of mmseg's ``EncoderDecoder``; its
            backbone is a :class:`~mmsimclr.models.DownstreamResNet`. It is changed in place.
        encoder: The encoder's ``settings``.
        scale: Mean and deviation of its images.
        num_classes: Classes of the data; of segmentation with the background, if it is one.

    Raises:
        ConfigError: If the model has another backbone, says that the encoder is another, or is of another
            kind.
    """
    if model.backbone.get('init_cfg') or model.get('pretrained') or model.get('init_cfg'):
        raise ConfigError('the encoder comes from the CHECKPOINT argument and from nowhere else: take '
                          'init_cfg and pretrained out of the model')
    _require_same_encoder(model.backbone, encoder)
    model.backbone.update(encoder)
    with torch.device('meta'):
        backbone = MODELS.build(model.backbone)
    if not isinstance(backbone, DownstreamResNet):
        raise ConfigError('model.backbone must be a mmsimclr.models.DownstreamResNet, which can be what the '
                          f'encoder is; got {type(backbone).__name__}')
    model.data_preprocessor.update(mean=scale.mean, std=scale.std)
    channels, strides = ([values[i] for i in backbone.out_indices]
                         for values in (backbone.channels, backbone.strides))
    if 'decode_head' in model:
        _complete_segmenter(model, backbone.channels, num_classes)
    elif 'roi_head' in model:
        if model.roi_head.get('shared_head'):
            _complete_c4(model, encoder, backbone)
        else:
            _complete_fpn(model, channels, strides)
        for name in ('bbox_head', 'mask_head'):
            if model.roi_head.get(name):
                model.roi_head[name].update(num_classes=num_classes)
    else:
        raise ConfigError('the model must have a roi_head (Faster or Mask R-CNN) or a decode_head (a '
                          f'segmenter), got {", ".join(model)}')


def _require_same_encoder(backbone: ConfigDict, encoder: Mapping[str, Any]) -> None:
    """Refuse a backbone that says of itself what the encoder is not; take the two parts of its width out."""
    said, found = (dict(settings) for settings in (backbone, encoder))
    for settings in (said, found):
        parts = [settings.pop(key, None) for key in WIDTH]
        if any(parts):
            settings[' * '.join(WIDTH)] = (parts[0] or 64) * (parts[1] or 1)
    different = [f'{key} is {value!r} in the checkpoint and {said[key]!r} in the config'
                 for key, value in found.items() if said.get(key, value) != value]
    if different:
        raise ConfigError(f'the encoder is another than that of model.backbone: {"; ".join(different)}. Take '
                          'them out of model.backbone, which becomes what the encoder is, or take another '
                          'checkpoint')
    for key in WIDTH:
        backbone.pop(key, None)


def _complete_segmenter(model: ConfigDict, channels: Sequence[int], num_classes: int) -> None:
    for name in ('decode_head', 'auxiliary_head'):
        if model.get(name):
            # The heads count among the maps that are returned.
            stage = model.backbone.out_indices[model[name].in_index]
            model[name].update(in_channels=channels[stage], num_classes=num_classes)


def _complete_c4(model: ConfigDict, encoder: Mapping[str, Any], backbone: DownstreamResNet) -> None:
    _, _, stage_3, stage_4 = backbone.channels
    stride = backbone.strides[2]
    head = model.roi_head
    head.shared_head.update(encoder)
    head.bbox_roi_extractor.update(out_channels=stage_3, featmap_strides=[stride])
    model.rpn_head.update(in_channels=stage_3, feat_channels=stage_3)
    model.rpn_head.anchor_generator.update(strides=[stride])
    for name in ('bbox_head', 'mask_head'):
        if head.get(name):
            head[name].update(in_channels=stage_4)


def _complete_fpn(model: ConfigDict, channels: Sequence[int], strides: Sequence[int]) -> None:
    model.neck.update(in_channels=channels)
    model.rpn_head.anchor_generator.update(
        strides=[strides[0] * 2**level for level in range(model.neck.num_outs)])
    for name in ('bbox_roi_extractor', 'mask_roi_extractor'):
        if model.roi_head.get(name):
            model.roi_head[name].update(featmap_strides=strides)


def put_encoder_in(model: nn.Module, encoder: nn.Module) -> None:
    """Copy every tensor of an encoder into a model: into its backbone, and stage 4 into a C4 shared head.

    Raises:
        RuntimeError: If a tensor of the backbone, or of the shared head but for its own norm, would stay as
            drawn, or one of the encoder has no place.
    """
    model = unwrap(model)
    tensors = encoder.state_dict()
    stage_4 = {key.removeprefix(STAGE_4): value for key, value in tensors.items() if key.startswith(STAGE_4)}
    shared_head = getattr(getattr(model, 'roi_head', None), 'shared_head', None)
    if shared_head is not None:
        shared_head.layer4.load_state_dict(stage_4)
        tensors = {key: value for key, value in tensors.items() if not key.startswith(STAGE_4)}
    model.backbone.load_state_dict(tensors)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside a wrapper."""
    return unwrap_model(model)

