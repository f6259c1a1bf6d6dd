"""Loading that is complete or an error, and says what it did."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from mmsimclr.checkpoints.config_text import stated_scale
from mmsimclr.checkpoints.encoder_weights import EncoderWeights, InputScale
from mmsimclr.checkpoints.errors import listed
from mmsimclr.checkpoints.filling import check_scale, copy_tensors, matching_tensors, numerics
from mmsimclr.checkpoints.read import read_checkpoint
from mmsimclr.checkpoints.record import RECORD_KEY, unpack_record
from mmsimclr.checkpoints.source import find_checkpoint, read_encoder
from mmsimclr.registry import MODELS


@dataclass(frozen=True)
class LoadReport:
    """What was loaded, from where.

    Attributes:
        path: The file.
        sha256: Its content's SHA-256, hexadecimal.
        layout: The layout that was recognised, in words.
        address: Where in the file the encoder is.
        matched: Tensors that were filled.
        expected: Tensors that the encoder has: equal to ``matched``, or there would be no report. The
            batch counters of batch norm, which change nothing, count only where the file has them.
        others: Counts of the file's tensors that were not the encoder's, by the first part of their names.
        alternatives: Addresses of further encoders in the file.
        applied: What was set on the encoder beside its tensors (``stem_pool``, ``stem_padding``,
            ``norm_eps``).
        input: How to scale its images; None for a whole model, which knows it.
    """

    path: Path | None
    sha256: str
    layout: str
    address: str
    matched: int
    expected: int
    others: Mapping[str, int] = field(default_factory=dict)
    alternatives: tuple[str, ...] = ()
    applied: Mapping[str, object] = field(default_factory=dict)
    input: InputScale | None = None

    def __str__(self) -> str:
        parts = [f'{self.matched} of {self.expected} tensors loaded from {self.path}',
                 f'layout: {self.layout}', f'sha256: {self.sha256[:16]}']
        if self.applied:
            parts.append('set: ' + ', '.join(f'{name}={value!r}' for name, value in self.applied.items()))
        if self.input is not None:
            parts.append(f'images: {self.input}')
        if self.others:
            parts.append('not the encoder: ' + ', '.join(
                f'{name} ({count})' for name, count in sorted(self.others.items())[:10]))
        if self.alternatives:
            parts.append('other encoders in the file: ' + listed(self.alternatives))
        return '; '.join(parts)


def load_encoder(backbone: nn.Module, source: str | Path | EncoderWeights, select: str | None = None,
                 unused: Sequence[str] = ()) -> LoadReport:
    """Fill a backbone with a pre-trained encoder, completely or not at all.

    Args:
        backbone: A ResNet with torchvision's keys: :class:`mmsimclr.models.ResNet`, or that of mmpretrain,
            mmdet, mmseg, torchvision (without its ``fc``) or timm.
        source: A file, folder, address or model-zoo name (see :func:`find_checkpoint`), or what
            :func:`read_encoder` returned.
        select: Address of the encoder to take, where the file has several.
        unused: Prefixes of the encoder's tensors that this backbone has no place for, and that may stay
            unused, e.g. ``('layer4.',)`` for a backbone of three stages.

    Returns:
        The report, which is logged as well.

    Raises:
        IncompleteEncoderError: If a tensor of the backbone would stay unfilled (buffers of batch norm
            too), one of the encoder has no place, or shapes differ. Nothing is changed then.
        UnsupportedEncoderError: If the encoder needs what the backbone cannot do, such as TensorFlow's
            max pool.
        FileNotFoundError: If there is no such source.
        CheckpointError: If the file is damaged, would run code, or no encoder is recognised in it.
    """
    weights = source if isinstance(source, EncoderWeights) else read_encoder(source, select)
    module = backbone.module if is_model_wrapper(backbone) else backbone
    offered = {key: tensor for key, tensor in weights.tensors.items() if not key.startswith(tuple(unused))}
    matched = matching_tensors(module.state_dict(), offered, weights.path, lambda problems: (
        f'{weights.path} does not fill {type(module).__name__}: {problems}. The file was read as: '
        f'{weights.layout}, a ResNet-{weights.settings.get("depth", "?")} of width '
        f'{weights.settings.get("width_multiplier", "?")} with the {weights.settings.get("stem", "?")} stem. '
        'Build the backbone as the encoder is, or name the right file or the right encoder in it (select)'))
    setters = numerics(module, weights.settings, weights.path)
    copy_tensors(module, matched)
    for setter in setters.values():
        setter()
    if weights.input.stated:
        module.expected_input = weights.input
    report = LoadReport(
        weights.path, weights.sha256, weights.layout, weights.address, len(matched), len(matched),
        dict(weights.others), weights.alternatives, {name: weights.settings[name] for name in setters},
        weights.input)
    print_log(str(report), 'current', logging.INFO)
    return report


def build_encoder(source: str | Path | EncoderWeights, select: str | None = None,
                  **arguments) -> tuple[nn.Module, LoadReport]:
    """Build the ResNet that a checkpoint holds, and fill it.

    Args:
        source: See :func:`load_encoder`.
        select: Address of the encoder to take, where the file has several.
        **arguments: Further arguments of :class:`mmsimclr.models.ResNet`, such as ``out_indices``.

    Returns:
        The encoder, in eval mode, and the report.

    Raises:
        Errors of :func:`load_encoder`.
    """
    weights = source if isinstance(source, EncoderWeights) else read_encoder(source, select)
    settings = {**weights.settings, 'zero_init_residual': False, **arguments}
    backbone = MODELS.build(dict(type='mmsimclr.ResNet', **settings))
    return backbone.eval(), load_encoder(backbone, weights)


def load_model(model: nn.Module, source: str | Path) -> LoadReport:
    """Fill a whole model, projection head included, completely or not at all.

    Args:
        model: The model, as it was built when the checkpoint was saved.
        source: A file, folder, address or model-zoo name of an OpenMMLab checkpoint.

    Returns:
        The report, which is logged as well.

    Raises:
        Errors of :func:`load_encoder`.
    """
    checkpoint = read_checkpoint(find_checkpoint(source))
    matched = fill_model(model, checkpoint.tree, checkpoint.path)
    report = LoadReport(checkpoint.path, checkpoint.sha256, 'a whole model', 'state_dict:', matched, matched)
    print_log(str(report), 'current', logging.INFO)
    return report


def fill_model(model: nn.Module, tree: Mapping, origin: object) -> int:
    """Fill a whole model from a checkpoint that was read; return the number of tensors.

    Args:
        model: The model.
        tree: The checkpoint's content; tensors under ``'state_dict'`` if there is one. A prefix
            ``module.`` is taken off.
        origin: What messages call the file.

    Raises:
        IncompleteEncoderError: If a tensor is missing, left over or of another shape.
    """
    module = model.module if is_model_wrapper(model) else model
    offered = {key.removeprefix('module.'): value for key, value in tree.get('state_dict', tree).items()
               if isinstance(value, Tensor)}
    setters, meta = {}, tree.get('meta')
    if isinstance(meta, Mapping) and hasattr(module, 'backbone'):
        settings, scale = {}, stated_scale(meta)
        if RECORD_KEY in meta:
            settings, scale, _ = unpack_record(meta[RECORD_KEY])
        setters = numerics(module.backbone, settings, origin)
        if scale is not None:
            check_scale(module, scale, origin)
    matched = matching_tensors(module.state_dict(), offered, origin, lambda problems: (
        f'{origin} does not fill {type(module).__name__}: {problems}. To start from its encoder alone, give '
        "the backbone init_cfg=dict(type='Pretrained', checkpoint=...)"))
    copy_tensors(module, matched)
    for setter in setters.values():
        setter()
    return len(matched)
