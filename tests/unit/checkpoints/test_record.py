"""The record that travels with an encoder: complete, plain, and checked on the way back."""

import io
import json
from pathlib import Path

import pytest
import torch

from mmsimclr.checkpoints import DamagedCheckpointError, EncoderWeights, InputScale, UnsupportedEncoderError
from mmsimclr.checkpoints.record import pack_record, unpack_record

SETTINGS = {'depth': 18, 'width_multiplier': 0.5, 'stem': 'imagenet', 'stem_pool': 'same',
            'project_first_shortcut': True, 'norm_eps': 1.001e-5}
NECK = {'in_channels': 256, 'hid_channels': 32, 'out_channels': 16, 'num_layers': 3,
        'with_last_bn_affine': 'scale', 'norm_cfg': {'type': 'BN1d', 'eps': 1e-3}}
SCALE = InputScale((1., 2., 3.), (4., 5., 6.), stated=False)


def encoder(**changes) -> EncoderWeights:
    return EncoderWeights(**{**dict(
        tensors={}, settings=SETTINGS, input=SCALE, layout='of a kind', neck={'fc0.weight': torch.ones(1)},
        neck_settings=NECK, path=Path('/home/someone/secret/file.pth'), sha256='ab' * 32), **changes})


def as_json(record):
    return json.dumps(record)


def as_torch_file(record):
    file = io.BytesIO()
    torch.save(record, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize('carrier', [as_json, as_torch_file])
def test_a_record_comes_back_as_it_was_packed(carrier):
    assert unpack_record(carrier(pack_record(encoder()))) == (SETTINGS, SCALE)
    assert unpack_record(carrier(pack_record(encoder(input=InputScale(stated=True)))))[1].stated is True


def test_the_origin_is_recorded_without_its_folder():
    record = pack_record(encoder())
    assert record['converted_from'] == {'layout': 'of a kind', 'sha256': 'ab' * 32, 'file': 'file.pth'}
    assert 'secret' not in json.dumps(record)
    assert 'converted_from' not in pack_record(encoder(path=None))


def test_an_encoder_without_a_head_has_no_neck():
    assert 'neck' not in pack_record(encoder(neck={})) and pack_record(encoder())['neck'] == NECK


@pytest.mark.parametrize('version', [0, 3, '1', None])
def test_another_version_is_refused(version):
    with pytest.raises(UnsupportedEncoderError, match=f'version {version!r}, this mmsimclr reads .* 1 and 2'):
        unpack_record({**pack_record(encoder()), 'version': version})


@pytest.mark.parametrize(('part', 'value', 'message'), [
    ('encoder', None, 'encoder .* must be a dict, got None'),
    ('encoder', {**SETTINGS, 'depth': '18'}, "encoder.depth .* must be int, got '18'"),
    ('encoder', {**SETTINGS, 'depth': True}, 'encoder.depth .* must be int, got True'),
    ('encoder', {**SETTINGS, 'init_cfg': {}}, "encoder .* knows no 'init_cfg'"),
    ('input', {'mean': [1, 2, 3]}, 'input.std .* must be a number > 0 for each channel, got None'),
    ('input', {'mean': [1, 2], 'std': [1, 1, 1]}, r'input.std .* got \[1, 1, 1\]'),
    ('input', {'mean': [1, 2], 'std': [1, 1], 'reading': dict(channels=3, dtype=None, value_range='dtype')},
     r'input.mean .* got \[1, 2\]'),
    ('input', {'mean': [1, 2], 'std': [1, 1], 'reading': {'channels': 2}}, r'input.reading .* dtype'),
    ('input', {'mean': [1], 'std': [1], 'reading': {'channels': '1'}}, r'input.reading.channels .* int'),
    ('input', {'mean': [1], 'std': [1], 'reading': {'path': 'x'}}, r'input.reading .* knows no .path.'),
    ('input', {'mean': [0, 0, 0], 'std': [1, 0, 1]}, r'input.std .* got \[1, 0, 1\]'),
    ('input', {'mean': '123', 'std': [1, 1, 1]}, "input.mean .* got '123'"),
    ('input', {'mean': [0, 0, 0], 'std': [1, 1, 1], 'stated': 'no'}, "input.stated .* got 'no'"),
])
def test_a_malformed_record_is_refused(part, value, message):
    with pytest.raises(DamagedCheckpointError, match=message):
        unpack_record({**pack_record(encoder()), part: value})


@pytest.mark.parametrize('record', [[], 'not JSON', '[]'])
def test_what_is_no_record_is_refused(record):
    with pytest.raises(DamagedCheckpointError, match=r'in JSON: |must be a dict'):
        unpack_record(record)


def test_a_setting_that_cannot_be_read_back_is_not_written():
    with pytest.raises(DamagedCheckpointError, match="knows no 'frozen_stages'"):
        pack_record(encoder(settings={**SETTINGS, 'frozen_stages': 1}))
