"""The record of an encoder: its settings and input scale, in every file written here."""

import json
import re
from collections.abc import Mapping

from torch import nn

from mmsimclr.checkpoints.encoder_weights import EncoderWeights, InputScale
from mmsimclr.checkpoints.errors import DamagedCheckpointError, UnsupportedEncoderError
from mmsimclr.encoders import LIBRARIES, MAX_NUMBER, RESNET, is_plain, registered
from mmsimclr.errors import InputError
from mmsimclr.files import parse_json
from mmsimclr.registry import SCOPE

# Key of a dict of plain types: in meta of a .pth file, in _metadata of a bare state dict (an attribute that
# torch saves along), in the metadata of safetensors and ONNX (JSON), and in the dict of a Detectron2 file.
RECORD_KEY = 'mmsimclr'
VERSION = 2                                  # 1 had no other encoder than ResNet, and reads as before
NUMBER = (int, float)
MAX_CHANNELS = 10_000                        # of images
IN_LIBRARIES = re.compile(r'\.(backbones|utils)\.')
MODULE = re.compile(r'[A-Za-z_][\w.]{0,99}')
# Arguments of ResNet that change what it computes, and parts of the input; JSON knows no other types.
ENCODER_TYPES = {'depth': (int,), 'width_multiplier': NUMBER, 'stem': (str,), 'stem_pool': (str,),
                 'stem_padding': (int,), 'project_first_shortcut': (bool,), 'norm_eps': NUMBER,
                 'in_channels': (int,)}
READING_TYPES = {'channels': (int,), 'dtype': (str, type(None)), 'value_range': (str, list, tuple)}
INPUT_TYPES = {'mean': (list, tuple), 'std': (list, tuple), 'stated': (bool,), 'view_px': (int, type(None)),
               'reading': (dict, type(None))}


def pack_record(encoder: EncoderWeights, with_neck: bool = True) -> dict[str, object]:
    """Return the record of an encoder, with or without its projection head.

    It has ``version``, ``encoder`` (its registered ``type`` and arguments), ``module`` (where a type that is
    not ours was defined), ``input`` (mean and std of RGB on the 0-255 scale, whether the source stated them,
    where known ``view_px``, the side of its views, and of other images than 8-bit RGB ``reading``, arguments
    of LoadChannels that read them), ``neck`` (arguments of NonLinearNeck, if there is one), and
    ``converted_from`` (layout, sha256 and file name, of an encoder that was read from a file).
    """
    scale = encoder.input
    record = dict(
        version=VERSION, encoder={'type': RESNET, **_encoder(encoder.settings)},
        input=dict(mean=list(map(float, scale.mean)), std=list(map(float, scale.std)), stated=scale.stated,
                   **({'view_px': scale.view_px} if scale.view_px else {}),
                   **({'reading': dict(scale.reading)} if scale.reading else {})))
    if kind := registered(record['encoder']['type']):
        record['module'] = kind.__module__
    if encoder.path:
        record['converted_from'] = dict(layout=encoder.layout, sha256=encoder.sha256, file=encoder.path.name)
    if encoder.neck and with_neck:
        record['neck'] = dict(encoder.neck_settings)
    return record


def unpack_record(record: Mapping | str) -> tuple[dict[str, object], InputScale]:
    """Check a record, a mapping or JSON text; return the settings of its encoder and the input scale.

    The settings are those of :func:`~mmsimclr.encoders.build_backbone`: without a type, of our ResNet. The
    neck is read from its tensors.

    Raises:
        UnsupportedEncoderError: If it has a later version, or a type in it is not registered.
        DamagedCheckpointError: If it is malformed, or would have more done than a network built.
    """
    if isinstance(record, str):
        try:
            record = parse_json(record, 'the file', f'one with a record {RECORD_KEY!r} in JSON')
        except InputError as error:
            raise DamagedCheckpointError(str(error)) from error
    if not isinstance(record, Mapping):
        raise _malformed('record', 'a dict', record)
    if record.get('version') not in (1, VERSION):
        raise UnsupportedEncoderError(
            f"the file's {RECORD_KEY!r} record has version {record.get('version')!r}, this mmsimclr reads "
            f'versions 1 and {VERSION}: install the mmsimclr that wrote the file, or a newer one')
    settings = _encoder(record.get('encoder'))
    if 'type' in settings:
        _require_registered(settings, settings['type'].rpartition('.')[0], record.get('module'))
    return settings, _scale(record.get('input'))


def _encoder(settings: object) -> dict[str, object]:
    """Check the settings of an encoder, and return them, of our ResNet without the type."""
    if not isinstance(settings, Mapping):
        raise _malformed('encoder', 'a dict', settings)
    arguments = {key: value for key, value in settings.items() if key != 'type'}
    if (kind := settings.get('type', RESNET)) == RESNET:
        return _arguments('encoder', arguments, ENCODER_TYPES)
    if type(kind) is not str:
        raise _malformed('encoder.type', 'the name of a registered class', kind)
    if not is_plain(arguments):
        raise _malformed('encoder', f'numbers, texts, lists and dicts, up to {MAX_NUMBER}', settings)
    # Lists in place of tuples.
    return {'type': kind, **parse_json(json.dumps(arguments), 'encoder', 'the arguments of an encoder')}


def _require_registered(value: object, scope: str, module: object) -> None:
    """Raise unless every type in the settings of an encoder is a registered class of modules."""
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        _require_registered(each, scope, module)
    name = value.get('type') if isinstance(value, Mapping) else None
    if name is None:
        return
    kind = registered(name, (scope, 'mmengine', SCOPE)) if isinstance(name, str) else None
    # Other parts of libraries read tokenizers and models by name from the network.
    if not isinstance(kind, type) or not issubclass(kind, nn.Module) or (
            kind.__module__.startswith(LIBRARIES) and not IN_LIBRARIES.search(kind.__module__)):
        source = module if isinstance(module, str) and MODULE.fullmatch(module) else 'MODULE'
        raise UnsupportedEncoderError(
            f'the encoder needs {name!r}, which is not registered here; nothing else is built from a file. It'
            f' was defined in {source}; if you trust that, import it first: custom_imports=dict(imports='
            f'[{source!r}]) in a config, MMSIMCLR_IMPORTS={source} before a command, import {source} in '
            'Python')


def _arguments(name: str, values: object, types: Mapping[str, tuple[type, ...]]) -> dict[str, object]:
    if not isinstance(values, Mapping):
        raise _malformed(name, 'a dict', values)
    for key, value in values.items():
        if key not in types:
            raise DamagedCheckpointError(f'{name} in the {RECORD_KEY!r} record knows no {key!r}, only '
                                         f'{", ".join(types)}')
        # Not isinstance, for which True is an int.
        if type(value) not in types[key]:
            raise _malformed(f'{name}.{key}', ' or '.join(kind.__name__ for kind in types[key]), value)
        if type(value) in NUMBER and not 0 <= value <= MAX_NUMBER:
            raise _malformed(f'{name}.{key}', f'from 0 to {MAX_NUMBER}', value)
    return dict(values)


def _scale(values: object) -> InputScale:
    values = {'stated': True, **_arguments('input', values, INPUT_TYPES)}
    mean, std, reading = (values.get(name) for name in ('mean', 'std', 'reading'))
    if reading is not None and _arguments('input.reading', reading, READING_TYPES).keys() != \
            READING_TYPES.keys():
        raise _malformed('input.reading', f'a dict of {", ".join(READING_TYPES)}', reading)
    if not _are_numbers(mean) or len(mean) != (reading or {}).get('channels', len(mean)):
        raise _malformed('input.mean', 'a number for each channel', mean)
    if not _are_numbers(std) or len(std) != len(mean) or min(std) <= 0:
        raise _malformed('input.std', 'a number > 0 for each channel', std)
    return InputScale(**{**values, 'mean': tuple(map(float, mean)), 'std': tuple(map(float, std))})


def _are_numbers(values: object) -> bool:
    return isinstance(values, list | tuple) and 0 < len(values) <= MAX_CHANNELS and all(
        type(value) in NUMBER and abs(value) <= MAX_NUMBER for value in values)


def _malformed(name: str, accepted: str, value: object) -> DamagedCheckpointError:
    return DamagedCheckpointError(f'{name} in the {RECORD_KEY!r} record must be {accepted}, got '
                                  f'{value!r:.80}')


def describe_model(model: nn.Module) -> dict[str, object] | None:
    """Return the record of a model's encoder; None if it was not built from a config of registered types."""
    settings = getattr(getattr(model, 'backbone', None), 'settings', None)
    scale = getattr(model, 'data_preprocessor', None)
    if not isinstance(settings, Mapping) or not hasattr(scale, 'mean') or not is_plain(settings):
        return None
    return pack_record(EncoderWeights({}, settings, InputScale(
        tuple(scale.mean.flatten().tolist()), tuple(scale.std.flatten().tolist()), stated=True,
        view_px=getattr(model, 'view_px', None), reading=getattr(model, 'reading', None))))
