"""The ONNX graph computes what the encoder does, at any size, and says what it wants to be fed."""

import json
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from export_sources import write_source

from mmsimclr.checkpoints import CheckpointError, read_encoder
from mmsimclr.checkpoints.export import convert_checkpoint, onnx_graph
from mmsimclr.checkpoints.record import unpack_record
from mmsimclr.errors import MachineError

onnx = pytest.importorskip('onnx', reason='onnx is not installed')
onnxruntime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
pytest.importorskip('onnxscript', reason='onnxscript is not installed')

ENCODERS = {
    'official': dict(depth=18, stem_pool='same', project_first_shortcut=True, norm_eps=1e-3),
    'cifar': dict(depth=18, stem='cifar'),
}


@pytest.fixture(scope='module', params=ENCODERS)
def exported(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    backbone, _ = write_source(folder / 'source.pth', **ENCODERS[request.param])
    path = convert_checkpoint(folder / 'source.pth', folder / 'out.onnx', 'onnx')
    return backbone, path


@pytest.mark.slow
def test_features_and_map_equal_the_encoders_for_any_batch_and_size(exported):
    backbone, path = exported
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for shape in ((1, 3, 64, 64), (5, 3, 64, 64), (2, 3, 65, 90), (1, 3, 33, 48)):
        images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            want = backbone(images)[-1].numpy()
        features, last = session.run(['features', 'map'], {'images': images.numpy()})
        assert np.abs(last - want).max() <= 1e-5 * np.abs(want).max(), shape
        assert np.abs(features - want.mean(axis=(2, 3))).max() <= 1e-5 * np.abs(want).max(), shape


@pytest.mark.slow
def test_the_record_is_in_the_metadata_and_the_folder_is_not(exported):
    _, path = exported
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    settings, scale = unpack_record(metadata['mmsimclr'])
    encoder = read_encoder(path.with_name('source.pth'))
    assert settings == encoder.settings and scale == encoder.input
    assert json.loads(metadata['mmsimclr'])['converted_from']['sha256'] == encoder.sha256
    for folder in (path.parent, onnx_graph.__file__):
        assert str(folder).encode() not in path.read_bytes()


@pytest.mark.slow
def test_a_graph_that_differs_is_not_written(exported, tmp_path, monkeypatch):
    _, path = exported
    settings = read_encoder(path.with_name('source.pth')).settings
    write_source(tmp_path / 'source.pth', **{**settings, 'norm_eps': 0.01})
    monkeypatch.setattr(onnx_graph, '_graph', lambda *_: onnx.load(path))
    with pytest.raises(CheckpointError, match='differs from the encoder'):
        convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'out.onnx', 'onnx')
    assert [path.name for path in tmp_path.iterdir()] == ['source.pth']


@pytest.mark.parametrize('output, error, passes', [(0, 9e-6, True), (0, 1.2e-5, False), (1, 9e-5, True),
                                                   (1, 1.2e-4, False)])
def test_features_may_differ_by_1e_5_of_the_largest_and_the_map_by_1e_4(output, error, passes):
    class Session:
        def run(self, names, inputs):
            outputs = [value.numpy() for value in model(torch.from_numpy(inputs['images']))]
            outputs[output] = outputs[output] + np.float32(error) * np.abs(outputs[output]).max()
            return outputs

    def model(images):
        return images.mean(dim=(2, 3)), images
    model.channels = 3
    with nullcontext() if passes else pytest.raises(CheckpointError, match='differs from the encoder'):
        onnx_graph._compare(Session(), model)


@pytest.mark.parametrize('missing', ['onnx', 'onnxscript', 'onnxruntime'])
def test_what_is_missing_is_named_with_the_remedy(missing, tmp_path, monkeypatch):
    write_source(tmp_path / 'source.pth', depth=18)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MachineError, match=rf"{missing}.*pip install 'mmsimclr\[onnx\]'"):
        convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'out.onnx', 'onnx')
    assert not (tmp_path / 'out.onnx').exists()


def test_an_encoder_of_2_gib_is_refused(tmp_path, monkeypatch):
    write_source(tmp_path / 'source.pth', depth=18)
    monkeypatch.setattr(onnx_graph, 'PROTOBUF_BYTES', 1000)
    with pytest.raises(CheckpointError, match=r"2 GiB.*'safetensors'"):
        convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'out.onnx', 'onnx')
