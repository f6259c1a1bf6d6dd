"""The record of an encoder: its settings and input scale, in every file written here.

It is a dict of plain types under ``RECORD_KEY``: in ``meta`` of a .pth file, in ``_metadata`` of a bare state
dict (an attribute that torch saves along), in the metadata of safetensors and ONNX (as JSON text), and in the
pickled dict of a Detectron2 file.
"""

from collections.abc import Mapping

from torch import nn

from mmsimclr.checkpoints.encoder_weights import EncoderWeights, InputScale
from mmsimclr.checkpoints.errors import DamagedCheckpointError, UnsupportedEncoderError
from mmsimclr.errors import InputError
from mmsimclr.files import parse_json

RECORD_KEY = 'mmsimclr'
VERSION = 1
NUMBER = (int, float)
MAX_CHANNELS = 10_000                        # of images
MAX_NUMBER = 1_000_000                       # of any setting, so that nothing huge is built
# Arguments of ResNet that change what it computes, and of NonLinearNeck; JSON knows no other types.
ENCODER_TYPES = {'depth': (int,), 'width_multiplier': NUMBER, 'stem': (str,), 'stem_pool': (str,),
                 'stem_padding': (int,), 'project_first_shortcut': (bool,), 'norm_eps': NUMBER,
                 'in_channels': (int,)}
READING_TYPES = {'channels': (int,), 'dtype': (str, type(None)), 'value_range': (str, list, tuple)}
NECK_TYPES = {'in_channels': (int,), 'hid_channels': (int,), 'out_channels': (int,), 'num_layers': (int,),
              'with_bias': (bool,), 'with_last_bn': (bool,), 'with_last_bn_affine': (bool, str),
              'with_last_bias': (bool,), 'with_avg_pool': (bool,), 'norm_cfg': (dict,)}


def pack_record(encoder: EncoderWeights, with_neck: bool = True) -> dict[str, object]:
    """Return the record of an encoder, with or without its projection head.

    It has ``version``, ``encoder`` (arguments of ResNet), ``input`` (mean and std of RGB on the 0-255 scale,
    whether the source stated them, and, where known, ``view_px``, the side of its views; of other images than
    8-bit RGB, ``reading``, the arguments of LoadChannels that read them), ``neck`` (arguments
    of NonLinearNeck, where there is one), and ``converted_from`` (layout, sha256 and file name, of an encoder
    that was read from a file).
    """
    scale = encoder.input
    record = dict(
        version=VERSION, encoder=_arguments('encoder', encoder.settings, ENCODER_TYPES),
        input=dict(mean=list(map(float, scale.mean)), std=list(map(float, scale.std)), stated=scale.stated,
                   **({'view_px': scale.view_px} if scale.view_px else {}),
                   **({'reading': dict(scale.reading)} if scale.reading else {})))
    if encoder.path:
        record['converted_from'] = dict(layout=encoder.layout, sha256=encoder.sha256, file=encoder.path.name)
    if encoder.neck and with_neck:
        record['neck'] = _arguments('neck', encoder.neck_settings, NECK_TYPES)
    return record


def unpack_record(record: Mapping | str) -> tuple[dict[str, object], InputScale, dict[str, object]]:
    """Check a record, a mapping or JSON text; return arguments of ResNet, input scale, arguments of a neck.

    Raise UnsupportedEncoderError if it has another version, DamagedCheckpointError if it is malformed.
    """
    if isinstance(record, str):
        try:
            record = parse_json(record, 'the file', f'one with a record {RECORD_KEY!r} in JSON')
        except InputError as error:
            raise DamagedCheckpointError(str(error)) from error
    if not isinstance(record, Mapping):
        raise _malformed('record', 'a dict', record)
    if record.get('version') != VERSION:
        raise UnsupportedEncoderError(
            f"the file's {RECORD_KEY!r} record has version {record.get('version')!r}, this mmsimclr reads "
            f'version {VERSION}: install the mmsimclr that wrote the file, or a newer one')
    return (_arguments('encoder', record.get('encoder'), ENCODER_TYPES), _scale(record.get('input')),
            _arguments('neck', record.get('neck', {}), NECK_TYPES))


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
    if not isinstance(values, Mapping):
        raise _malformed('input', 'a dict', values)
    mean, std, stated = values.get('mean'), values.get('std'), values.get('stated', True)
    if (reading := values.get('reading')) is not None:
        reading = _arguments('input.reading', reading, READING_TYPES)
        if reading.keys() != READING_TYPES.keys():
            raise _malformed('input.reading', f'a dict of {", ".join(READING_TYPES)}', reading)
    if not _are_numbers(mean) or len(mean) != (reading or {}).get('channels', len(mean)):
        raise _malformed('input.mean', 'a number for each channel', mean)
    if not _are_numbers(std) or len(std) != len(mean) or min(std) <= 0:
        raise _malformed('input.std', 'a number > 0 for each channel', std)
    if type(stated) is not bool:
        raise _malformed('input.stated', 'bool', stated)
    view_px = values.get('view_px')
    if view_px is not None and (type(view_px) is not int or not 0 < view_px <= MAX_NUMBER):
        raise _malformed('input.view_px', 'an integer > 0', view_px)
    return InputScale(tuple(map(float, mean)), tuple(map(float, std)), stated, view_px, reading)


def _are_numbers(values: object) -> bool:
    return isinstance(values, list | tuple) and 0 < len(values) <= MAX_CHANNELS and all(
        type(value) in NUMBER and abs(value) <= MAX_NUMBER for value in values)


def _malformed(name: str, accepted: str, value: object) -> DamagedCheckpointError:
    return DamagedCheckpointError(f'{name} in the {RECORD_KEY!r} record must be {accepted}, got '
                                  f'{value!r:.80}')


def describe_model(model: nn.Module) -> dict[str, object] | None:
    """Return the record of a model's encoder; None if it is not :class:`mmsimclr.models.ResNet`."""
    settings = getattr(getattr(model, 'backbone', None), 'settings', None)
    scale = getattr(model, 'data_preprocessor', None)
    if settings is None or not hasattr(scale, 'mean'):
        return None
    return pack_record(EncoderWeights({}, settings, InputScale(
        tuple(scale.mean.flatten().tolist()), tuple(scale.std.flatten().tolist()), stated=True,
        view_px=getattr(model, 'view_px', None), reading=getattr(model, 'reading', None))))
