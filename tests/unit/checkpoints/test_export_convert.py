"""Conversions lose nothing that the format can hold, and refuse what it cannot."""

import runpy
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from export_sources import write_source

from mmsimclr.checkpoints import InputScale, LayoutError, UnsupportedEncoderError, read_encoder
from mmsimclr.checkpoints.export import FORMATS, convert_checkpoint

READABLE = [name for name in FORMATS if name not in ('onnx', 'detectron2')]
STOCK = ('torchvision', 'timm', 'detectron2')               # libraries with a ResNet of their own
OURS = [name for name in READABLE if name not in STOCK]
TENSORFLOWS = dict(stem_pool='same', norm_eps=1e-3, depth=18, project_first_shortcut=True)


def destination(folder, name):
    return folder / f'{name}{FORMATS[name].suffixes[0]}'


@pytest.mark.parametrize('name', READABLE)
def test_every_format_reads_back_bit_equal_and_tells_no_folder(name, tmp_path):
    settings = dict(depth=18, width_multiplier=1) if name in ('torchvision', 'timm') else {}
    backbone, tensors = write_source(tmp_path / 'source.pth', **settings)
    path = convert_checkpoint(tmp_path / 'source.pth', destination(tmp_path, name), name)
    got = read_encoder(path)
    want = {key: value for key, value in tensors.items()
            if name == 'openmmlab' or key.startswith('backbone.')}
    found = {f'backbone.{key}': value for key, value in got.tensors.items()}
    found |= {f'neck.{key}': value for key, value in got.neck.items()}
    assert found.keys() == want.keys()
    for key, value in want.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key], value), key
    assert got.input == InputScale((10., 20., 30.), (40., 50., 60.), stated=True)
    assert str(tmp_path).encode() not in path.read_bytes() and b'source.pth' in path.read_bytes()
    if name == 'safetensors':
        backbone.load_state_dict(safetensors.torch.load_file(path))
    elif name in ('torchvision', 'timm'):
        state_dict = torch.load(path, weights_only=True)
        assert all(isinstance(value, torch.Tensor) for value in state_dict.values())
        assert state_dict._metadata['mmsimclr']['input']['mean'] == [10., 20., 30.]


@pytest.mark.parametrize('name', OURS)
def test_what_tensors_do_not_show_comes_back(name, tmp_path):
    write_source(tmp_path / 'source.pth', **TENSORFLOWS)
    path = convert_checkpoint(tmp_path / 'source.pth', destination(tmp_path, name), name)
    assert read_encoder(path).settings == {'stem': 'imagenet', 'width_multiplier': 0.0625, **TENSORFLOWS}


def test_a_scale_that_was_assumed_stays_assumed(tmp_path):
    _, tensors = write_source(tmp_path / 'source.pth')
    torch.save({'state_dict': tensors}, tmp_path / 'silent.pth')
    path = convert_checkpoint(tmp_path / 'silent.pth', tmp_path / 'out.pth', 'openmmlab')
    assert read_encoder(path).input == read_encoder(tmp_path / 'silent.pth').input
    assert not read_encoder(path).input.stated


@pytest.mark.parametrize('name', STOCK)
@pytest.mark.parametrize(('settings', 'lacking'), [
    (dict(stem_pool='same'), "stem_pool='same'"),
    (dict(stem='cifar'), "stem='cifar'"),
    (dict(norm_eps=1e-3), 'norm_eps=0.001'),
    (dict(depth=18, project_first_shortcut=True), 'project_first_shortcut'),
    (dict(depth=18), 'width_multiplier=0.0625'),
])
def test_what_a_library_lacks_is_refused_and_nothing_written(name, settings, lacking, tmp_path):
    write_source(tmp_path / 'source.pth', **{**dict(width_multiplier=0.0625), **settings})
    with pytest.raises(UnsupportedEncoderError, match=rf'^(?i:{name}).*{lacking}'):
        convert_checkpoint(tmp_path / 'source.pth', destination(tmp_path, name), name)
    assert [path.name for path in tmp_path.iterdir()] == ['source.pth']


def test_wide_bottlenecks_are_for_detectron2_only(tmp_path):
    write_source(tmp_path / 'source.pth')
    convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'out.pkl', 'detectron2')
    for name in ('torchvision', 'timm'):
        with pytest.raises(UnsupportedEncoderError, match=r'width_multiplier=0\.0625'):
            convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'out.pth', name)


def test_a_source_without_a_head_has_no_full_model(tmp_path):
    write_source(tmp_path / 'source.pth', with_neck=False)
    with pytest.raises(UnsupportedEncoderError, match=r"no projection head.*'openmmlab-backbone'"):
        convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'out.pth', 'openmmlab')


def test_an_existing_file_is_replaced_only_on_demand_and_never_the_source(tmp_path):
    source, out = tmp_path / 'source.pth', tmp_path / 'out.pth'
    write_source(source)
    out.write_text('precious')
    with pytest.raises(FileExistsError, match=r'out.pth exists.*--overwrite'):
        convert_checkpoint(source, out, 'openmmlab')
    assert out.read_text() == 'precious'
    convert_checkpoint(source, out, 'openmmlab', overwrite=True)
    assert read_encoder(out).neck
    before = source.read_bytes()
    (tmp_path / 'folder').mkdir()
    with pytest.raises(FileExistsError, match='is the source itself'):
        convert_checkpoint(source, tmp_path / 'folder' / '..' / 'source.pth', 'openmmlab', overwrite=True)
    assert source.read_bytes() == before


@pytest.mark.parametrize(('name', 'to', 'message'), [
    ('out.pth', 'detectron2', r'must be a file.s name that ends in \.pkl, got .*out\.pth'),
    ('out.pkl', 'timm', r'ends in \.pth or \.pt'),
    ('out-0123abcd.pth', 'openmmlab', 'promises a SHA-256 that begins with 0123abcd'),
    ('out.pth', 'torchvison', "got 'torchvison'; did you mean 'torchvision'"),
])
def test_a_name_that_does_not_fit_is_refused(name, to, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(tmp_path / 'not_even_read.pth', tmp_path / name, to)


def test_files_hold_no_more_than_their_own_tensors(tmp_path):
    """A tensor that is a slice of a larger one would bring all of it along."""
    _, tensors = write_source(tmp_path / 'source.pth')
    tensors = {key: value for key, value in tensors.items() if value.is_floating_point()}
    everything = torch.cat([value.double().flatten() for value in tensors.values()] + [torch.ones(10**6)])
    places = np.cumsum([0, *(value.numel() for value in tensors.values())])
    tensors = {key: everything[start:start + value.numel()].view(value.shape)
               for start, (key, value) in zip(places, tensors.items(), strict=False)}
    torch.save({'state_dict': tensors}, tmp_path / 'slices.pth')
    assert (tmp_path / 'slices.pth').stat().st_size > 8e6
    for name in OURS:
        path = convert_checkpoint(tmp_path / 'slices.pth', destination(tmp_path, name), name)
        own = sum(value.numel() * 8 for value in tensors.values())
        assert path.stat().st_size < own + 400_000, name


def test_the_selected_encoder_is_the_one_written(tmp_path):
    _, tensors = write_source(tmp_path / 'source.pth', with_neck=False)
    both = {f'{which}.{key.removeprefix("backbone.")}': value + (which == 'encoder_b')
            for which in ('encoder_a', 'encoder_b') for key, value in tensors.items()}
    torch.save({'state_dict': both}, tmp_path / 'both.pth')
    with pytest.raises(LayoutError, match='several encoders'):
        convert_checkpoint(tmp_path / 'both.pth', tmp_path / 'out.pth', 'openmmlab-backbone')
    path = convert_checkpoint(tmp_path / 'both.pth', tmp_path / 'out.pth', 'openmmlab-backbone',
                              select='state_dict:encoder_b.')
    assert torch.equal(read_encoder(path).tensors['conv1.weight'], tensors['backbone.conv1.weight'] + 1)


@pytest.mark.parametrize('name', OURS)
@pytest.mark.parametrize('settings', [TENSORFLOWS, dict(depth=50)], ids=['official', 'stock'])
def test_the_account_has_the_facts_and_a_warning_where_other_resnets_would_misread(name, settings, tmp_path):
    source, out = tmp_path / 'source.pth', destination(tmp_path, name)
    write_source(source, std=(255., 255., 255.), **settings)
    said = []
    convert_checkpoint(source, out, name, say=said.append)
    encoder = read_encoder(source)
    for fact in (str(source), str(out), encoder.sha256, read_encoder(out).sha256,
                 f'{len(encoder.tensors)} tensors', f'depth={settings["depth"]}', '10 20 30', '255 255 255'):
        assert fact in said[0]
    assert str(out) in said[1] and ("stem_pool='same'" in said[1]) == (settings is TENSORFLOWS)


def test_the_tool_converts_once(tmp_path, monkeypatch, capsys, root):
    source, out = tmp_path / 'source.pth', tmp_path / 'out.pth'
    write_source(source)
    monkeypatch.setattr(sys, 'argv', ['convert_checkpoint.py', str(source), str(out), '--to', 'openmmlab'])
    with pytest.raises(SystemExit, match=r'^0$'):
        runpy.run_path(str(root / 'tools' / 'convert_checkpoint.py'), run_name='__main__')
    assert read_encoder(out).sha256 in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r'out\.pth exists'):
        runpy.run_path(str(root / 'tools' / 'convert_checkpoint.py'), run_name='__main__')


def test_the_page_on_checkpoints_has_a_row_and_a_command_for_each_format(root):
    page = (root / 'docs/how_to/checkpoints.md').read_text(encoding='utf-8')
    for name, chosen in FORMATS.items():
        row, = (line for line in page.splitlines() if line.startswith(f'| `{name}` |'))
        assert f'{chosen.suffixes[0]} --to {name}`' in row
