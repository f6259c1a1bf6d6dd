"""Loading an encoder or a model from a checkpoint: complete, or an error."""

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.logging import print_log
from mmengine.model import update_init_info
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmsimclr.checkpoints import hub, tensorflow, zoo, zoo_index
from mmsimclr.checkpoints.config_text import stated_scale
from mmsimclr.checkpoints.encoder_weights import EncoderWeights, InputScale, check_finite
from mmsimclr.checkpoints.errors import (
    DamagedCheckpointError,
    IncompleteEncoderError,
    LayoutError,
    UnsupportedEncoderError,
    listed,
)
from mmsimclr.checkpoints.layouts import COUNTER, find_encoder, find_state_dicts
from mmsimclr.checkpoints.read import read_checkpoint
from mmsimclr.checkpoints.record import RECORD_KEY, unpack_record
from mmsimclr.distributed import unwrap_model
from mmsimclr.encoders import build_backbone
from mmsimclr.errors import MissingFileError, did_you_mean
from mmsimclr.files import file_digest, read_json, read_regular
from mmsimclr.registry import MODELS, WEIGHT_INITIALIZERS

SUFFIXES = ('.safetensors', '.pth', '.pt', '.ckpt', '.pkl', '.tar', '.bin')     # the first is preferred
MAX_NAME_BYTES = 10_000
INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def find_checkpoint(source: str | Path) -> Path:
    """Return the file that a source means, fetching it if it is not here.

    A source is a file; a work directory (its ``last_checkpoint``) or a folder with one checkpoint; a
    TensorFlow checkpoint's prefix or folder; an ``http(s)://`` or ``file://`` address; ``hf://owner/name`` of
    the Hugging Face Hub; or a name of the model zoo. Raise FileNotFoundError, with the nearest name, if it is
    none of these, and CheckpointError if a folder holds several, or fetching fails.
    """
    text = str(source)
    if re.match(r'(https?|file)://', text):
        return zoo.fetch_url(text)
    if text.startswith('hf://'):
        return hub.fetch_from_hub(text)
    path = Path(source).expanduser()
    if '\0' in text or len(os.fsencode(path.name)) > 240:        # with an ending, at most 255 bytes
        raise MissingFileError(f'no checkpoint at {text[:80]!r}...: no file can have that name')
    if path.is_file() or tensorflow.is_tensorflow(path):
        return path
    if path.is_dir():
        return _checkpoint_in(path)
    for suffix in SUFFIXES:
        if (with_suffix := path.with_name(path.name + suffix)).is_file():
            return with_suffix
    names = zoo_index.model_names()
    if text in names:
        return zoo.fetch_model(text)
    around = [str(p) for p in path.parent.iterdir() if p.suffix in SUFFIXES] if path.parent.is_dir() else []
    hint = did_you_mean(text, [*around, *names]) or ' (mmsimclr zoo list shows them)'
    raise MissingFileError(f'no checkpoint at {text}, nor a model of that name in the model zoo{hint}')


def _checkpoint_in(folder: Path) -> Path:
    """Return the checkpoint that a folder stands for."""
    last = folder / 'last_checkpoint'
    if last.is_file():
        written = Path(os.fsdecode(read_regular(last, MAX_NAME_BYTES)).strip())
        path = folder / written.name
        # The folder may have been moved or copied since, and another run may be where it was.
        if not os.path.isfile(path):                        # Path.is_file raises for one too long
            if os.path.isfile(written):
                return written
            raise MissingFileError(f'{last} names {path.name}, which is not in {folder}')
        if os.path.isfile(written) and not written.samefile(path) and not _is_of_its_run(path) and (
                file_digest(written) != file_digest(path)):
            raise LayoutError(f'{last} names {written}, and {path} is another file: name the one')
        return path
    files = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES]
    if len({path.stem for path in files}) != 1:
        found = listed(path.name for path in files) or 'none'
        raise LayoutError(f'{folder} must hold one checkpoint, or a last_checkpoint that names one; it holds '
                          f'{found}. Name the file')
    return min(files, key=lambda path: SUFFIXES.index(path.suffix))


def _is_of_its_run(path: Path) -> bool:
    """Whether a checkpoint is there, and its manifest says that it is of the run of its folder."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        manifest = read_json(path.with_name(f'{path.name}.json'), 'a manifest', MAX_NAME_BYTES)
        run_id = read_regular(path.with_name('run_id'), MAX_NAME_BYTES).decode()
        return path.is_file() and manifest['run_id'] == run_id.strip()
    return False


def read_encoder(source: str | Path, select: str | None = None, keys: Sequence[str] = ()) -> EncoderWeights:
    """Read the encoder of a source (see :func:`find_checkpoint`), whatever library wrote it.

    ``select`` is the address of the encoder to take, where the file has several. If none is recognised, it is
    the tensors named ``keys``. Raise CheckpointError if the file is damaged, would run code, or has neither.
    """
    path = find_checkpoint(source)
    if tensorflow.is_tensorflow(path):
        return tensorflow.read_tensorflow_encoder(path, select)
    return find_encoder(read_checkpoint(path), select, keys)


@dataclass(frozen=True)
class LoadReport:
    """Account of a complete load; attributes that it shares with ``EncoderWeights`` are as there.

    ``expected`` equals ``matched``. Batch norm's counters of batches count only where the file has them.
    """

    path: Path | None
    sha256: str
    layout: str
    address: str
    matched: int                                             # tensors that were filled
    expected: int                                            # tensors that the encoder has
    others: Mapping[str, int] = field(default_factory=dict)
    alternatives: tuple[str, ...] = ()
    applied: Mapping[str, object] = field(default_factory=dict)  # settings: stem_pool, stem_padding, norm_eps
    input: InputScale | None = None                          # None for a whole model, which knows it

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
            parts.append(f'other encoders in the file: {listed(self.alternatives)}')
        return '; '.join(parts)


def load_encoder(backbone: nn.Module, source: str | Path | EncoderWeights, select: str | None = None
                 ) -> LoadReport:
    """Fill a backbone with a pre-trained encoder, completely or not at all; return and log the report.

    Args:
        backbone: A ResNet with torchvision's keys: :class:`mmsimclr.models.ResNet`, or that of mmpretrain,
            mmdet, mmseg, torchvision (without its ``fc``) or timm; or any other, of a file that has its keys.
        source: See :func:`find_checkpoint`; or the result of :func:`read_encoder`.
        select: Address of the encoder to take, where the file has several.

    Raises:
        IncompleteEncoderError: If a tensor or buffer of the backbone would stay unfilled, one of the encoder
            has no place, or shapes differ. Nothing is changed then.
        UnsupportedEncoderError: If the backbone cannot do as the encoder: TensorFlow's max pool, say.
        FileNotFoundError, CheckpointError: As :func:`read_encoder`.
    """
    module = unwrap_model(backbone)
    weights = source if isinstance(source, EncoderWeights) else read_encoder(
        source, select, [*module.state_dict()])
    settings = weights.settings
    tensors = _matching_tensors(module, weights.tensors, weights.path, (
        f'The file was read as: {weights.layout}, {weights.kind}. Build the backbone as the encoder is, '
        'or name the right file or the right encoder in it (select)'))
    setters = _numerics(module, settings, weights.path)
    _fill(module, tensors, setters)
    if weights.input.stated:
        module.expected_input = weights.input
    report = LoadReport(
        weights.path, weights.sha256, weights.layout, weights.address, len(tensors), len(tensors),
        dict(weights.others), weights.alternatives, {name: settings[name] for name in setters}, weights.input)
    print_log(str(report), 'current', logging.INFO)
    return report


def build_encoder(source: str | Path | EncoderWeights, select: str | None = None, stages: Sequence[str] = ()
                  ) -> tuple[nn.Module, LoadReport]:
    """Build the encoder that a checkpoint holds, and fill it; return it, in eval mode, and the report.

    ``source`` and ``select`` are as for :func:`load_encoder`, whose errors this raises; ``stages`` as for
    :func:`~mmsimclr.encoders.build_backbone`.
    """
    weights = source if isinstance(source, EncoderWeights) else read_encoder(source, select)
    quick = {} if 'type' in weights.settings else {'zero_init_residual': False}
    backbone = build_backbone({**weights.settings, **quick}, stages)
    backbone.view_px = weights.input.view_px
    backbone.eval()                                          # which of mmpretrain's returns nothing
    return backbone, load_encoder(backbone, weights)


def build_projection_head(source: str | Path | EncoderWeights, select: str | None = None) -> nn.Module:
    """Build the projection head beside the encoder of a checkpoint, and fill it; return it in eval mode.

    Arguments and errors are those of :func:`load_encoder`; a LayoutError says that there is none of a known
    structure.
    """
    weights = source if isinstance(source, EncoderWeights) else read_encoder(source, select)
    if not weights.neck:
        raise LayoutError(f'{weights.path} has no projection head of a known structure beside its encoder '
                          f"({weights.layout}): read the encoder's own features, stage 'pooled', or give the "
                          'checkpoint of the pre-training run')
    neck = MODELS.build(dict(type='mmsimclr.NonLinearNeck', **weights.neck_settings))
    _fill(neck, _matching_tensors(neck, weights.neck, weights.path, 'Its projection head is of another kind'),
          {})
    return neck.eval()


def read_linear_classifier(source: str | Path, num_classes: int, num_features: int,
                           sha256: str | None = None) -> tuple[Tensor, Tensor]:
    """Return weight [num_classes, num_features] and bias of the only linear classifier of this size.

    The source and the errors are those of :func:`read_encoder`; so is a file that has not the ``sha256``.
    """
    path = find_checkpoint(source)
    if tensorflow.is_tensorflow(path):
        variables = tensorflow.read_tensorflow(path)
        tree = {name.replace('/kernel', '/weight'): variables[name].T for name in variables
                if '/dense' in name}
    else:
        checkpoint = read_checkpoint(path)
        if sha256 not in (None, checkpoint.sha256):
            raise DamagedCheckpointError(f'{path} was replaced since the encoder was read: its SHA-256 was '
                                         f'{sha256}, and is {checkpoint.sha256}; repeat the benchmark')
        tree = checkpoint.tree
    found = {}
    for place, tensors in find_state_dicts(tree):
        for name, weight in tensors.items():
            bias = tensors.get(f'{name.removesuffix("weight")}bias')
            if weight.shape == (num_classes, num_features) and bias is not None and len(bias) == num_classes:
                found[f'{place}:{name}'] = weight.float(), bias.float()
    if len(found) != 1:
        raise LayoutError(f'{path} must have one linear classifier of {num_classes} classes on '
                          f'{num_features} features, a weight and its bias; it has {listed(found) or "none"}')
    pair, = found.values()
    check_finite(dict(zip(('weight', 'bias'), pair, strict=True)), path)
    return pair


def load_model(model: nn.Module, source: str | Path) -> LoadReport:
    """Fill a whole model from an OpenMMLab checkpoint of such a model; return and log the report.

    Errors are those of :func:`load_encoder`, and nothing is changed then.
    """
    checkpoint = read_checkpoint(find_checkpoint(source))
    matched = fill_model(model, checkpoint.tree, checkpoint.path)
    report = LoadReport(checkpoint.path, checkpoint.sha256, 'a whole model', 'state_dict:', matched, matched)
    print_log(str(report), 'current', logging.INFO)
    return report


def fill_model(model: nn.Module, tree: Mapping, origin: object) -> int:
    """Fill a whole model from the content of a checkpoint; return the number of tensors.

    The tensors lie under ``'state_dict'`` if there is one; a prefix ``module.`` is taken off. Raise
    CheckpointError, which names ``origin``, if a tensor is missing, left over, of another shape or not
    finite, or the model scales its images in another way.
    """
    module = unwrap_model(model)
    offered = {key.removeprefix('module.'): value for key, value in tree.get('state_dict', tree).items()
               if isinstance(value, Tensor)}
    tensors = _matching_tensors(module, offered, origin, (
        "To start from its encoder alone, give the backbone init_cfg=dict(type='Pretrained', "
        'checkpoint=...)'))
    setters, meta = {}, tree.get('meta')
    if isinstance(meta, Mapping) and hasattr(module, 'backbone'):
        settings, scale = {}, stated_scale(meta)
        if RECORD_KEY in meta:
            settings, scale = unpack_record(meta[RECORD_KEY])
        setters = _numerics(module.backbone, settings, origin)
        if scale is not None:
            check_scale(module, scale, origin)
    _fill(module, tensors, setters)
    return len(tensors)


def _matching_tensors(module: nn.Module, offered: Mapping[str, Tensor], origin: object, advice: str
                      ) -> dict[str, Tensor]:
    """Return the tensors for a module's state dict, in its types; raise unless they fill it exactly."""
    expected = module.state_dict()
    # A file may lack the counters of batch norm, and may have counters that the module lacks.
    missing = [key for key in expected if key not in offered and not key.endswith(COUNTER)]
    unexpected = [key for key in offered if key not in expected and not key.endswith(COUNTER)]
    both = [key for key in expected if key in offered]
    misshaped = [f'{key} is {list(offered[key].shape)}, expected {list(expected[key].shape)}'
                 for key in both if offered[key].shape != expected[key].shape]
    mistyped = [f'{key} is {offered[key].dtype}' for key in both if not (
        offered[key].is_floating_point() if expected[key].is_floating_point() else
        offered[key].dtype in INTEGERS)]
    kinds = (('missing', missing), ('unexpected', unexpected), ('mis-shaped', misshaped),
             ('of another type of number', mistyped))
    if problems := [f'{len(keys)} {kind} ({listed(keys, separator="; ")})' for kind, keys in kinds if keys]:
        raise IncompleteEncoderError(f'{origin} does not fill {type(module).__name__}: of {len(expected)} '
                                     f'tensors expected, {", ".join(problems)}. {advice}')
    # In their new types: a number may be finite in the file and not in the model.
    tensors = {key: offered[key].to(expected[key].dtype) for key in both}
    check_finite(tensors, origin)
    return tensors


def _numerics(backbone: nn.Module, settings: Mapping[str, object], origin: object
              ) -> dict[str, Callable[[], object]]:
    """Return, by setting, what makes a backbone compute as the encoder did; raise if nothing can."""
    own = getattr(backbone, 'settings', {})
    if 'type' in settings:
        # Equal names and shapes of tensors do not make equal encoders: an activation has none.
        if different := [f'{key} is {settings.get(key)!r} in {origin} and {own.get(key)!r} here'
                         for key in sorted({*settings, *own} - {'stages', 'out_indices'})
                         if own and own.get(key) != settings.get(key)]:
            raise UnsupportedEncoderError(f'the backbone is another encoder: {"; ".join(different)}. '
                                          'Build the backbone as the encoder is')
        return {}
    setters = {}
    kind = f'{type(backbone).__module__}.{type(backbone).__name__}'
    stage = getattr(backbone, 'layer2', None)
    block = stage[0] if isinstance(stage, nn.Sequential) else None
    if hasattr(block, 'conv3') and block.conv1.stride != (1, 1):
        raise UnsupportedEncoderError(
            f"{kind} strides in the 1x1 convolution of a block (style='caffe'), the encoder in the 3x3: its "
            "features would be others. Build it with style='pytorch'")
    eps, padding, pool = (settings.get(name) for name in ('norm_eps', 'stem_padding', 'stem_pool'))
    norms = [norm for norm in backbone.modules() if isinstance(norm, _BatchNorm) and norm.eps != eps]
    if eps is not None and norms:
        setters['norm_eps'] = lambda: [setattr(norm, 'eps', eps) for norm in norms]
    if padding is not None and backbone.conv1.padding != (padding, padding):
        setters['stem_padding'] = lambda: setattr(backbone.conv1, 'padding', (padding, padding))
    if pool is not None and settings.get('stem') == 'imagenet':
        if not hasattr(backbone, 'set_stem_pool') and pool != 'torch':
            raise UnsupportedEncoderError(
                f"the encoder of {origin} was trained with TensorFlow's max pool (stem_pool={pool!r}), "
                f'which {kind} does not have: its features would be off by several per cent. Use '
                'mmsimclr.ResNet')
        if getattr(backbone, 'stem_pool', pool) != pool:
            setters['stem_pool'] = lambda: backbone.set_stem_pool(pool)
    return setters


def check_scale(model: nn.Module, scale: InputScale, origin: object) -> None:
    """Raise UnsupportedEncoderError if a model's preprocessor scales images not as the file states."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    if scale.stated and (own := getattr(model, 'reading', None)) != scale.reading:
        read, given = ('8-bit RGB' if each is None else str(dict(each)) for each in (scale.reading, own))
        raise UnsupportedEncoderError(f'the encoder of {origin} was trained on images read as {read}, and '
                                      f'the model gets {given}: other images are not scaled to look alike')
    if not scale.stated or not isinstance(getattr(preprocessor, 'mean', None), Tensor):
        return
    own = [tuple(round(value, 3) for value in tensor.flatten().tolist())
           for tensor in (preprocessor.mean, preprocessor.std)]
    stated = [tuple(round(value, 3) for value in values) for values in (scale.mean, scale.std)]
    if own != stated:
        raise UnsupportedEncoderError(
            f'the encoder of {origin} was trained on images less {stated[0]}, by {stated[1]}, and the model '
            f'takes them less {own[0]}, by {own[1]}: set model.data_preprocessor.mean and .std accordingly')


@torch.no_grad()
def _fill(module: nn.Module, tensors: Mapping[str, Tensor],
          setters: Mapping[str, Callable[[], object]]) -> None:
    state_dict = module.state_dict()
    for key, tensor in tensors.items():
        state_dict[key].copy_(tensor)
    for setter in setters.values():
        setter()


@WEIGHT_INITIALIZERS.register_module('Pretrained')
class PretrainedInit:
    """Initialise a module from a checkpoint, where MMEngine's initialiser of that name may load nothing.

    A module with a ``backbone`` is filled by :func:`load_model`, any other by :func:`load_encoder`.

    Args:
        checkpoint: A file, folder, address or model-zoo name.
        prefix: The encoder to take where the file has several, e.g. ``'backbone.'`` or an address.
        map_location: MMEngine's, without effect.
    """

    def __init__(self, checkpoint: str, prefix: str | None = None, map_location: str = 'cpu') -> None:
        self.checkpoint = checkpoint
        self.prefix = prefix

    def __call__(self, module: nn.Module) -> None:
        """Fill the module."""
        report = load_model(module, self.checkpoint) if hasattr(module, 'backbone') else \
            load_encoder(module, self.checkpoint, self.prefix)
        module.loaded_from = dict(checkpoint=str(report.path), sha256=report.sha256)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=f'Pretrained: load from {self.checkpoint}')
