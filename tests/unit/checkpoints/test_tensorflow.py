"""Files that make a TensorFlow checkpoint, and what is said of those that do not."""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from mmsimclr.checkpoints import DamagedCheckpointError, LayoutError, read_linear_classifier
from mmsimclr.checkpoints.tensorflow import (
    is_tensorflow,
    object_paths,
    read_tensorflow,
    read_tensorflow_encoder,
)
from mmsimclr.errors import MachineError

ARRAYS = {
    'base_model/conv2d/kernel': np.arange(24, dtype=np.float32).reshape(2, 2, 2, 3),
    'base_model/conv2d/kernel/Momentum': np.full((2, 2, 2, 3), 7, np.float32),
    'base_model/batch_normalization/gamma': np.array([3, 4, 5], np.float32),
    'base_model/batch_normalization/gamma/Momentum': np.full(3, 7, np.float32),
    'global_step': np.array(12, np.int64),
}
NAMES = {name for name in ARRAYS if not name.endswith('Momentum')}


@pytest.fixture(scope='module')
def tensorflow():
    return pytest.importorskip('tensorflow', reason='TensorFlow is not installed')


def write(tensorflow, prefix: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write a name-based checkpoint; return its data file."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    tensorflow.raw_ops.SaveV2(prefix=str(prefix), tensor_names=list(arrays), tensors=list(arrays.values()),
                              shape_and_slices=[''] * len(arrays))
    return Path(f'{prefix}.data-00000-of-00001')


@pytest.fixture
def data(tensorflow, tmp_path) -> Path:
    """Return the data file of a checkpoint ``model.ckpt-12`` with a ``checkpoint`` file beside it."""
    (tmp_path / 'checkpoint').write_text('model_checkpoint_path: "/home/someone/run/model.ckpt-12"\n'
                                         'all_model_checkpoint_paths: "model.ckpt-3"\n')
    return write(tensorflow, tmp_path / 'model.ckpt-12', ARRAYS)


def test_every_way_to_name_a_checkpoint_is_known(tmp_path):
    for name in ('model.ckpt-12.index', 'model.ckpt-12.data-00001-of-00002', 'weights.pth'):
        (tmp_path / name).touch()
    for name in ('model.ckpt-12', 'model.ckpt-12.index', 'model.ckpt-12.data-00001-of-00002'):
        assert is_tensorflow(tmp_path / name) and is_tensorflow(str(tmp_path / name))
    for name in ('', 'weights.pth', 'weights', 'model.ckpt-1', 'model.ckpt-13.index', 'nowhere'):
        assert not is_tensorflow(tmp_path / name)

    (tmp_path / 'checkpoint').write_text('not a list of checkpoints')
    assert not is_tensorflow(tmp_path)
    (tmp_path / 'checkpoint').write_text('model_checkpoint_path: "model.ckpt-12"')
    assert is_tensorflow(tmp_path)

    (tmp_path / 'saved' / 'variables').mkdir(parents=True)
    assert not is_tensorflow(tmp_path / 'saved')
    (tmp_path / 'saved' / 'variables' / 'variables.index').touch()
    assert is_tensorflow(tmp_path / 'saved')


def test_every_way_to_name_a_checkpoint_reads_its_variables(data):
    folder = data.parent
    for path in (folder, folder / 'model.ckpt-12', folder / 'model.ckpt-12.index', data, str(data)):
        variables = read_tensorflow(path)
        assert set(variables) == NAMES and len(variables) == 3
        for name in NAMES:
            np.testing.assert_array_equal(variables[name], ARRAYS[name])
        assert variables.path == data
        assert variables.sha256 == hashlib.sha256(data.read_bytes()).hexdigest()


def test_optimizer_slots_are_counted_and_not_read(data):
    content = data.read_bytes()
    slot = ARRAYS['base_model/conv2d/kernel/Momentum'].tobytes()
    assert content.count(slot) == 1
    data.write_bytes(content.replace(slot, bytes(len(slot))))   # its checksum is wrong now
    variables = read_tensorflow(data)
    assert variables.num_slots == 2 and dict(variables).keys() == NAMES


def test_a_damaged_array_is_named(data):
    content = data.read_bytes()
    kernel = ARRAYS['base_model/conv2d/kernel'].tobytes()
    data.write_bytes(content.replace(kernel, bytes(len(kernel))))
    variables = read_tensorflow(data)
    np.testing.assert_array_equal(variables['base_model/batch_normalization/gamma'], [3, 4, 5])
    with pytest.raises(DamagedCheckpointError, match=rf'{data.name} cannot be read at .*conv2d/kernel'):
        variables['base_model/conv2d/kernel']


def test_a_file_cut_off_by_one_byte_is_an_error_although_the_end_is_not_needed(data):
    content = data.read_bytes()
    data.write_bytes(content[:-1])
    with pytest.raises(DamagedCheckpointError,
                       match=rf'{data.name} is cut off: {len(content) - 1} bytes, .* {len(content)}'):
        read_tensorflow(data)


@pytest.mark.parametrize('damage', ['empty', 'cut off', 'a web page'])
def test_a_damaged_index_is_named(data, damage):
    index = data.parent / 'model.ckpt-12.index'
    content = index.read_bytes()
    index.write_bytes({'empty': b'', 'cut off': content[:-20], 'a web page': b'<html>' * 100}[damage])
    with pytest.raises(DamagedCheckpointError, match=r'model.ckpt-12.index cannot be read'):
        read_tensorflow(index)


def test_a_missing_index_is_named(data):
    (data.parent / 'model.ckpt-12.index').unlink()
    for path in (data, data.parent):
        with pytest.raises(DamagedCheckpointError, match=r'lacks model\.ckpt-12\.index'):
            read_tensorflow(path)


def test_a_missing_data_file_is_named(data):
    data.unlink()
    with pytest.raises(DamagedCheckpointError, match=rf'lacks {data.name}'):
        read_tensorflow(data.parent)


def test_two_data_files_are_one_checkpoint(tensorflow, tmp_path):
    parts = [tmp_path / 'part' / name for name in 'ab']
    write(tensorflow, parts[0], {'a': ARRAYS['global_step'], 'b': ARRAYS['base_model/conv2d/kernel']})
    write(tensorflow, parts[1], {'c': ARRAYS['base_model/batch_normalization/gamma']})
    tensorflow.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=list(map(str, parts)),
                                          destination_prefix=str(tmp_path / 'both'), delete_old_dirs=False)
    files = [tmp_path / f'both.data-0000{number}-of-00002' for number in (0, 1)]
    variables = read_tensorflow(tmp_path / 'both')
    np.testing.assert_array_equal(variables['c'], [3, 4, 5])
    assert variables['a'] == 12 and variables.path == files[0]
    assert variables.sha256 == hashlib.sha256(files[0].read_bytes() + files[1].read_bytes()).hexdigest()

    for gone, left in (files, files[::-1]):
        shutil.move(gone, tmp_path / 'elsewhere')
        with pytest.raises(DamagedCheckpointError, match=rf'lacks {gone.name}'):
            read_tensorflow(left)
        shutil.move(tmp_path / 'elsewhere', gone)


def test_objects_are_named_by_structure_and_their_slots_are_left_out(tensorflow, tmp_path):
    layer = tensorflow.Module()
    layer.kernel = tensorflow.Variable([[1., 2.]])
    root = tensorflow.Module()
    root.trainable_variables_list = [layer.kernel]      # the shorter path, under which it is stored
    root.model = tensorflow.Module()
    root.model.layers = [tensorflow.Module(), layer]
    prefix = tensorflow.train.Checkpoint(root).write(str(tmp_path / 'ckpt'))
    stored = [name for name, _ in tensorflow.train.list_variables(prefix)]
    assert 'trainable_variables_list/0/.ATTRIBUTES/VARIABLE_VALUE' in stored
    variables = read_tensorflow(prefix)
    assert list(variables) == ['model/layers/1/kernel'] and variables.num_slots == 0
    np.testing.assert_array_equal(variables['model/layers/1/kernel'], [[1, 2]])

    optimizer = tensorflow.Module()
    optimizer.rate = tensorflow.Variable(0.5)
    checkpoint = tensorflow.train.Checkpoint(model=root.model, optimizer=optimizer)
    variables = read_tensorflow(checkpoint.write(str(tmp_path / 'ckpt2')))
    assert list(variables) == ['model/layers/1/kernel'] and variables.num_slots == 1


def test_slots_of_the_object_form_are_left_out(tensorflow, tmp_path):
    value = '.ATTRIBUTES/VARIABLE_VALUE'
    data = write(tensorflow, tmp_path / 'ckpt', {
        f'model/a/{value}': np.ones(3), f'model/a/.OPTIMIZER_SLOT/optimizer/Momentum/{value}': np.ones(3)})
    variables = read_tensorflow(data)
    assert list(variables) == ['model/a'] and variables.num_slots == 1


@pytest.mark.parametrize('name', ['variables', 'trainable_variables', 'non_trainable_variables',
                                  'trainable_variables_list', 'keras_api'])
def test_a_list_beside_the_structure_names_no_variable(name, tensorflow):
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
    graph = TrackableObjectGraph()
    root, variable, model = graph.nodes.add(), graph.nodes.add(), graph.nodes.add()
    root.children.add(node_id=1, local_name=name)
    root.children.add(node_id=2, local_name='model')
    model.children.add(node_id=1, local_name='kernel')
    variable.attributes.add(name='VARIABLE_VALUE', checkpoint_key='key')
    assert object_paths(graph.SerializeToString()) == {'key': 'model/kernel'}


def test_a_malformed_object_graph_is_damage(tensorflow, tmp_path):
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
    graph = TrackableObjectGraph()
    graph.nodes.add().children.add(node_id=99, local_name='model')
    for malformed in (b'\xff\xff\xff', graph.SerializeToString()):
        data = write(tensorflow, tmp_path / 'ckpt', {'_CHECKPOINTABLE_OBJECT_GRAPH': np.array(malformed),
                                                     'a': np.ones(3, np.float32)})
        with pytest.raises(DamagedCheckpointError, match=rf'{data.name} cannot be read at _CHECKPOINTABLE'):
            read_tensorflow(data)


def test_what_is_no_checkpoint_is_not_found(tmp_path):
    for path in (tmp_path, tmp_path / 'model.ckpt-1'):
        with pytest.raises(FileNotFoundError, match=f'no TensorFlow checkpoint at {path}: give its prefix'):
            read_tensorflow(path)


def test_an_encoder_that_is_not_found_is_an_error_that_names_the_file(tensorflow, tmp_path):
    data = write(tensorflow, tmp_path / 'model.ckpt-1',
                 {'resnet_v1/a': np.ones(1), 'resnet_v1/a/Adam': np.ones(1)})
    with pytest.raises(LayoutError, match=rf'{data}: of 1 variables, none'):
        read_tensorflow_encoder(data)


def test_without_tensorflow_the_extra_to_install_is_named(tmp_path, monkeypatch):
    for name in ('model.ckpt-1.index', 'model.ckpt-1.data-00000-of-00001'):
        (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, 'tensorflow', None)
    with pytest.raises(MachineError, match=r"pip install 'mmsimclr\[tensorflow\]'"):
        read_tensorflow(tmp_path / 'model.ckpt-1')


@pytest.mark.parametrize(('before', 'after'), [(None, '2'), ('0', '0')])
def test_a_log_level_that_was_set_is_kept(before, after, data, monkeypatch):
    monkeypatch.setenv('TF_CPP_MIN_LOG_LEVEL', before or '')
    if before is None:
        monkeypatch.delenv('TF_CPP_MIN_LOG_LEVEL')
    read_tensorflow(data)
    assert os.environ['TF_CPP_MIN_LOG_LEVEL'] == after


def test_the_linear_classifier_of_a_checkpoint_is_transposed(tensorflow, tmp_path):
    kernel = np.arange(35, dtype=np.float32).reshape(5, 7)
    write(tensorflow, tmp_path / 'model.ckpt-1', {
        'head_supervised/linear_layer/dense_3/kernel': kernel,
        'head_supervised/linear_layer/dense_3/bias': np.arange(7, dtype=np.float32),
        'head_contrastive/nl_0/dense/kernel': np.zeros((5, 5), np.float32)})
    weight, bias = read_linear_classifier(tmp_path / 'model.ckpt-1', 7, 5)
    assert np.array_equal(weight.numpy(), kernel.T) and bias.tolist() == list(range(7))
