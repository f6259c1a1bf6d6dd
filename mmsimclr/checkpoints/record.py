"""What an encoder needs beside its tensors, as it is written into every file made here.

The record is a dict of plain Python types, so that ``weights_only`` unpickling and JSON both carry it. It
lies under the key ``RECORD_KEY``: of ``meta`` in a .pth file, or of ``_metadata`` of a bare state
dict (an attribute that torch saves along), of the metadata in safetensors and ONNX (as JSON text), of the
pickled dict in a Detectron2 file.
"""

import json
from collections.abc import Mapping

from torch import nn

from mmsimclr.checkpoints.encoder_weights import EncoderWeights, InputScale
from mmsimclr.checkpoints.errors import DamagedCheckpointError, UnsupportedEncoderError

RECORD_KEY = 'mmsimclr'
VERSION = 1
NUMBER = (int, float)
# Arguments of ResNet that change what it computes, and of NonLinearNeck; JSON knows no other types.
ENCODER_TYPES = {'depth': (int,), 'width_multiplier': NUMBER, 'stem': (str,), 'stem_pool': (str,),
                 'stem_padding': (int,), 'project_first_shortcut': (bool,), 'norm_eps': NUMBER}
NECK_TYPES = {'in_channels': (int,), 'hid_channels': (int,), 'out_channels': (int,), 'num_layers': (int,),
              'with_bias': (bool,), 'with_last_bn': (bool,), 'with_last_bn_affine': (bool, str),
              'with_last_bias': (bool,), 'with_avg_pool': (bool,), 'norm_cfg': (dict,)}


def pack_record(encoder: EncoderWeights) -> dict[str, object]:
    """Return the record of an encoder.

    Args:
        encoder: Its settings, input scale, neck settings and origin are recorded, not its tensors.

    Returns:
        A dict of plain types: ``version``, ``encoder`` (arguments of ResNet), ``input`` (mean and std of
        RGB on the 0-255 scale, and whether the source stated them), ``neck`` (arguments of
        NonLinearNeck, where there is one), ``converted_from`` (layout, sha256 and file name, of an
        encoder that was read from a file).

    Raises:
        DamagedCheckpointError: If a setting is not one that the record knows, or has another type.
    """
    record = {
        'version': VERSION,
        'encoder': _arguments('encoder', encoder.settings, ENCODER_TYPES),
        'input': {'mean': list(map(float, encoder.input.mean)), 'std': list(map(float, encoder.input.std)),
                  'stated': encoder.input.stated},
    }
    if encoder.path:
        record['converted_from'] = {'layout': encoder.layout, 'sha256': encoder.sha256,
                                    'file': encoder.path.name}
    if encoder.neck:
        record['neck'] = _arguments('neck', encoder.neck_settings, NECK_TYPES)
    return record


def unpack_record(record: Mapping | str) -> tuple[dict[str, object], InputScale, dict[str, object]]:
    """Return what a record says, after checking it.

    Args:
        record: What lies under ``RECORD_KEY`` in a file; JSON text or a mapping.

    Returns:
        Arguments of ResNet, the input scale, and arguments of NonLinearNeck (empty without a neck).

    Raises:
        UnsupportedEncoderError: If the record has another version.
        DamagedCheckpointError: If it is malformed: not a mapping, or a value of an unknown name, of a
            wrong type or out of range.
    """
    if isinstance(record, str):
        try:
            record = json.loads(record)
        except ValueError as error:
            raise DamagedCheckpointError(f"the file's {RECORD_KEY!r} record is not JSON: {error}") from error
    _check_mapping('record', record)
    if record.get('version') != VERSION:
        raise UnsupportedEncoderError(
            f"the file's {RECORD_KEY!r} record has version {record.get('version')!r}, this mmsimclr reads "
            f'version {VERSION}: install the mmsimclr that wrote the file, or a newer one')
    return (_arguments('encoder', record.get('encoder'), ENCODER_TYPES), _scale(record.get('input')),
            _arguments('neck', record.get('neck', {}), NECK_TYPES))


def _arguments(name: str, values: object, types: Mapping[str, tuple[type, ...]]) -> dict[str, object]:
    _check_mapping(name, values)
    for key, value in values.items():
        if key not in types:
            raise DamagedCheckpointError(f'{name} in the {RECORD_KEY!r} record knows no {key!r}, only '
                                         f'{", ".join(types)}')
        # Not isinstance, for which True is an int.
        if type(value) not in types[key]:
            accepted = ' or '.join(kind.__name__ for kind in types[key])
            raise DamagedCheckpointError(f'{name}.{key} in the {RECORD_KEY!r} record must be {accepted}, '
                                         f'got {value!r}')
    return dict(values)


def _scale(values: object) -> InputScale:
    _check_mapping('input', values)
    for key in ('mean', 'std'):
        numbers = values.get(key)
        if (not isinstance(numbers, list | tuple) or len(numbers) != 3
                or any(type(number) not in NUMBER for number in numbers)
                or (key == 'std' and min(numbers) <= 0)):
            raise DamagedCheckpointError(f'input.{key} in the {RECORD_KEY!r} record must be three numbers'
                                         f'{" > 0" if key == "std" else ""}, got {numbers!r}')
    stated = values.get('stated', True)
    if type(stated) is not bool:
        raise DamagedCheckpointError(f'input.stated in the {RECORD_KEY!r} record must be bool, '
                                     f'got {stated!r}')
    return InputScale(tuple(map(float, values['mean'])), tuple(map(float, values['std'])), stated)


def _check_mapping(name: str, values: object) -> None:
    if not isinstance(values, Mapping):
        raise DamagedCheckpointError(f'{name} in the {RECORD_KEY!r} record must be a dict, '
                                     f'got {values!r:.80}')


def describe_model(model: nn.Module) -> dict[str, object] | None:
    """Return the record of a model's encoder; None if the encoder is not :class:`mmsimclr.models.ResNet`.

    Args:
        model: An algorithm with a ``backbone``, and a ``data_preprocessor`` with ``mean`` and ``std``.
    """
    settings = getattr(getattr(model, 'backbone', None), 'settings', None)
    scale = getattr(model, 'data_preprocessor', None)
    if settings is None or not hasattr(scale, 'mean'):
        return None
    return pack_record(EncoderWeights({}, settings, InputScale(
        tuple(scale.mean.flatten().tolist()), tuple(scale.std.flatten().tolist()), stated=True)))
