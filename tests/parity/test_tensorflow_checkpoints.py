"""Encoders converted from TensorFlow checkpoints against the official code that wrote or ran them."""

import hashlib
import json
import lzma
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from official_names import head_key, images, made_kernel, resnet_keys, to_torch

from mmsimclr.checkpoints import UNIT_RANGE, LayoutError
from mmsimclr.checkpoints.tensorflow import find_tensorflow_encoder, object_paths, read_tensorflow_encoder
from mmsimclr.models import NonLinearNeck, ResNet

TOLERANCE = 1e-5  # of the endpoint's maximum
# Where the lists of a block in tf2/resnet.py have its layers.
BASIC = {'downsample.0': 'shortcut_layers/0/conv2d', 'downsample.1': 'shortcut_layers/1/bn',
         'conv1': 'conv2d_bn_layers/0/conv2d', 'bn1': 'conv2d_bn_layers/1/bn',
         'conv2': 'conv2d_bn_layers/2/conv2d', 'bn2': 'conv2d_bn_layers/3/bn'}
BOTTLENECK = {'downsample.0': 'projection_layers/0/conv2d', 'downsample.1': 'projection_layers/1/bn',
              'conv1': 'conv_relu_dropblock_layers/0/conv2d', 'bn1': 'conv_relu_dropblock_layers/1/bn',
              'conv2': 'conv_relu_dropblock_layers/3/conv2d', 'bn2': 'conv_relu_dropblock_layers/4/bn',
              'conv3': 'conv_relu_dropblock_layers/6/conv2d', 'bn3': 'conv_relu_dropblock_layers/7/bn'}


@pytest.fixture(scope='module')
def tensorflow():
    return pytest.importorskip('tensorflow', reason='TensorFlow is not installed')


def build(encoder, **arguments) -> ResNet:
    """Return the encoder that a checkpoint describes, filled completely."""
    net = ResNet(**{**encoder.settings, **arguments}, out_indices=(0, 1, 2, 3)).eval()
    net.warns_of_small_images = False
    missing, unexpected = net.load_state_dict(encoder.tensors, strict=False)
    assert not unexpected and all(key.endswith('num_batches_tracked') for key in missing)
    return net


def run(net: ResNet, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the official endpoints."""
    endpoints = {}
    for name, module in (('initial_conv', net.conv1), ('initial_max_pool', net.maxpool)):
        module.register_forward_hook(
            lambda _, __, out, name=name: endpoints.__setitem__(name, out.clone()))
    with torch.no_grad():
        maps = net(x)
    endpoints |= {f'block_group{i}': m for i, m in enumerate(maps, 1)}
    return endpoints | {'final_avg_pool': maps[-1].mean(dim=(2, 3))}


def errors(endpoints: dict[str, torch.Tensor], stored) -> dict[str, float]:
    """Return the largest error at each stored endpoint, in parts of its maximum.

    The copies in the repository keep a map's means and a corner of it only.
    """
    found = {}
    for name, got in endpoints.items():
        if f'eval/{name}' in stored:
            want = stored[f'eval/{name}']
            want = images(want) if want.ndim == 4 else torch.from_numpy(want)
            found[name] = float((got - want).abs().max() / want.abs().max())
        for part in ('mean', 'corner', 'value'):
            if f'eval/{name}/{part}' in stored:
                mine = {'mean': lambda got: got.mean(dim=(2, 3)), 'value': lambda got: got,
                        'corner': lambda got: got[:, :8, -3:, :4].permute(0, 2, 3, 1)}[part](got)
                want = torch.from_numpy(stored[f'eval/{name}/{part}'])
                found[f'{name}/{part}'] = float((mine - want).abs().max() / stored[f'eval/{name}/absmax'])
    assert found
    return found


@pytest.mark.parametrize('path', [
    'ckpt_tf1/r18_w0.125_cifar/model.ckpt-1234', 'ckpt_tf1/r18_w1_cifar',
    'ckpt_tf2/r18_w0.125_cifar/ckpt-1234', 'ckpt_tf2/r18_w0.125_cifar_savedmodel'])
def test_official_checkpoints_give_the_official_features(path, golden_file, tensorflow, tmp_path):
    tag = '/'.join(Path(path).parts[:2])
    stored = np.load(golden_file(f'{tag.removesuffix("_savedmodel")}_expected.npz'))
    if tag.endswith('w1_cifar'):
        with tarfile.open(golden_file(f'{tag}.tar.xz')) as archive:
            archive.extractall(tmp_path, filter='data')
        source = next(tmp_path.rglob('*.index'))
    else:
        source = golden_file(f'{tag}.json').parent.parent / path
    encoder = read_tensorflow_encoder(source)
    width = 1 if 'w1' in tag else 0.125
    assert encoder.settings == dict(depth=18, width_multiplier=width, stem='cifar', norm_eps=1e-5,
                                    project_first_shortcut=True)
    assert encoder.input == UNIT_RANGE

    endpoints = run(build(encoder), images(stored['input']))
    neck = NonLinearNeck(**encoder.neck_settings).eval()
    missing, unexpected = neck.load_state_dict(encoder.neck, strict=False)
    assert not unexpected and all(key.endswith('num_batches_tracked') for key in missing)
    with torch.no_grad():
        endpoints['proj_head_output'] = neck((endpoints['final_avg_pool'],))[0]
    found = errors(endpoints, stored)
    assert {'block_group4', 'final_avg_pool', 'proj_head_output'} < set(found)
    assert max(found.values()) < TOLERANCE, found


@pytest.fixture
def reference_run(reference_file, golden_file):
    """Return a function from a tag to the stored run and its variables by their official names.

    The runs at width 1 of ResNet-18 are in the repository.
    """
    def load(tag: str):
        if tag.startswith('r18'):
            stored = np.load(reference_file(f'resnet_{tag}.npz'))
            case = json.loads(str(stored['case']))
        else:
            stored = np.load(golden_file(f'resnet/{tag}.npz'))
            case = json.loads(golden_file('resnet/resnet.json').read_text())[tag]
        return case, stored, {
            variable['name']: made_kernel(variable['index'], tuple(variable['shape']))
            if variable['name'].endswith('kernel:0') else stored[f'bn/{variable["name"]}']
            for variable in case['variables']}
    return load


def name_in_tensorflow1(name: str) -> str:
    """``resnet/.../sync_batch_normalization_3/gamma:0`` is ``base_model/batch_normalization_3/gamma``."""
    layer, variable = name.removesuffix(':0').split('/')[-2:]
    return f'base_model/{layer.removeprefix("sync_")}/{variable}'


def write_tensorflow1(tensorflow, prefix: Path, variables: dict[str, np.ndarray]) -> None:
    arrays = {name_in_tensorflow1(name): array for name, array in variables.items()}
    arrays |= {'global_step': np.int64(7), 'base_model/conv2d/kernel/Momentum': np.ones(3, np.float32)}
    tensorflow.raw_ops.SaveV2(prefix=str(prefix), tensor_names=list(arrays), tensors=list(arrays.values()),
                              shape_and_slices=[''] * len(arrays))


def path_in_tensorflow2(key: str, variable: str, depth: int) -> str:
    """Return the path of the variable that has a key of ours, e.g. ``layer1.0.bn1.weight``, ``gamma``."""
    found = re.match(r'layer(\d)\.(\d+)\.(.+)\.\w+$', key)
    if not found:
        layer = '0/conv2d' if key.startswith('conv1') else '2/bn'
        return f'initial_conv_relu_max_pool/{layer}/{variable}'
    layer = (BASIC if depth < 50 else BOTTLENECK)[found[3]]
    return f'block_groups/{int(found[1]) - 1}/layers/{found[2]}/{layer}/{variable}'


def model_of_objects(tensorflow, variables: dict[str, np.ndarray], depth: int):
    """Return objects and lists that hold the variables as the official model's do."""
    keys = resnet_keys(list(variables))
    tree = {}
    for name, array in variables.items():
        path = path_in_tensorflow2(keys[name], name.removesuffix(':0').split('/')[-1], depth)
        *parents, last = path.split('/')
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = tensorflow.Variable(array)

    def build_object(node):
        if not isinstance(node, dict):
            return node
        if all(name.isdigit() for name in node):  # a list; what is missing has no variables
            return [build_object(node[str(i)]) if str(i) in node else tensorflow.Module()
                    for i in range(max(map(int, node)) + 1)]
        module = tensorflow.Module()
        for name, child in node.items():
            setattr(module, name, build_object(child))
        return module

    model = tensorflow.Module()
    model.resnet_model = build_object(tree)
    return model


@pytest.mark.slow
@pytest.mark.parametrize('tag', [
    'r18_w1_imagenet96', 'r18_w1_cifar32', 'r50_w1_imagenet64', 'r50_w2_imagenet64'])
def test_features_survive_the_tensorflow1_form(tag, reference_run, tensorflow, tmp_path):
    case, stored, variables = reference_run(tag)
    write_tensorflow1(tensorflow, tmp_path / 'model.ckpt-7', variables)
    encoder = read_tensorflow_encoder(tmp_path / 'model.ckpt-7')
    assert encoder.settings == dict(
        depth=case['depth'], width_multiplier=case['width'], stem=case['stem'], norm_eps=1e-5,
        project_first_shortcut=case['depth'] < 50,
        **(dict(stem_pool='same') if case['stem'] == 'imagenet' else {}))
    assert encoder.others == {'global_step': 1, 'optimizer': 1}
    data = tmp_path / 'model.ckpt-7.data-00000-of-00001'
    assert (encoder.path, encoder.sha256) == (data, hashlib.sha256(data.read_bytes()).hexdigest())
    with pytest.raises(LayoutError, match=f'{data}: no encoder at'):
        read_tensorflow_encoder(data, ':ema_model/base_model/')
    found = errors(run(build(encoder), images(stored['input'])), stored)
    assert max(found.values()) < TOLERANCE, found

    if case['stem'] == 'imagenet':
        found = errors(run(build(encoder, stem_pool='torch'), images(stored['input'])), stored)
        last = found.get('final_avg_pool', found.get('final_avg_pool/value'))
        assert 0.02 < last < 0.12, "torch's max pool should not reproduce TensorFlow's"


@pytest.mark.slow
@pytest.mark.parametrize(('tag', 'as_saved_model'), [
    ('r18_w1_imagenet96', False), ('r18_w1_imagenet96', True), ('r50_w1_imagenet64', False)])
def test_features_survive_the_tensorflow2_form(tag, as_saved_model, reference_run, tensorflow, tmp_path):
    case, stored, variables = reference_run(tag)
    model = model_of_objects(tensorflow, variables, case['depth'])
    if as_saved_model:
        saved = tensorflow.Module()
        saved.model = model
        # tf2/run.py lists these too, so that most variables are stored under their place in the list.
        saved.trainable_variables_list = list(model.trainable_variables)
        tensorflow.saved_model.save(saved, str(tmp_path))
        source = tmp_path
    else:
        source = tensorflow.train.Checkpoint(model=model).write(str(tmp_path / 'ckpt-7'))
    encoder = read_tensorflow_encoder(source)
    found = errors(run(build(encoder), images(stored['input'])), stored)
    assert max(found.values()) < TOLERANCE, found


@pytest.fixture(scope='module')
def official_names() -> dict:
    return json.loads((Path(__file__).parents[1] / 'data' / 'tf_names.json').read_text())


def test_names_of_both_forms_are_those_the_official_code_wrote(official_names):
    """Fill each variable with a number of its own and follow it to its key."""
    names = official_names['tf2']
    in_tensorflow1 = {}
    for variable in names.values():
        if variable.startswith('resnet/'):
            in_tensorflow1[name_in_tensorflow1(variable)] = variable
        elif variable.startswith('projection_head/'):
            scope, layer, *_, last = variable.split('/')[1:]
            layer = 'dense' if layer.startswith('dense') else 'batch_normalization'
            in_tensorflow1[f'head_contrastive/{scope}/{layer}/{last}'] = variable
    shapes = {in_tensorflow1[name]: shape for name, shape in official_names['tf1'].items()
              if name in in_tensorflow1}
    assert len(shapes) == 119 and set(official_names['tf1']) - set(in_tensorflow1) == {'global_step'}

    arrays = {variable: np.full(shape, number, np.float32)
              for number, (variable, shape) in enumerate(shapes.items())}
    keys = resnet_keys([variable for variable in arrays if variable.startswith('resnet/')])
    for form in ({name: arrays[variable] for name, variable in in_tensorflow1.items()},
                 {name: arrays[variable] for name, variable in names.items() if variable in arrays}):
        encoder = find_tensorflow_encoder(form)
        assert len(encoder.tensors) == len(keys) == 105
        for variable, key in keys.items():
            assert torch.equal(encoder.tensors[key], to_torch(arrays[variable])), (variable, key)
        head = [variable for variable in arrays if variable.startswith('projection_head/')]
        assert len(encoder.neck) == len(head) == 14
        for variable in head:
            key = head_key(f'{variable}:0')
            assert torch.equal(encoder.neck[key], to_torch(arrays[variable])), (variable, key)


def test_object_graph_of_an_official_savedmodel_gives_the_paths_of_a_checkpoint(official_names, tensorflow):
    stored = Path(__file__).parents[1] / 'data' / 'tf_savedmodel_graph.bin.xz'
    paths = object_paths(lzma.decompress(stored.read_bytes()))
    path_of = {variable: path for path, variable in official_names['tf2'].items()}
    for key, variable in official_names['savedmodel'].items():
        assert paths[f'{key}/.ATTRIBUTES/VARIABLE_VALUE'] == path_of[variable]
