"""Names, shapes and refusals of the official TensorFlow encoders, on made-up variables."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from mmsimclr.checkpoints import (
    UNIT_RANGE,
    DamagedCheckpointError,
    IncompleteEncoderError,
    LayoutError,
    UnsupportedEncoderError,
    build_encoder,
)
from mmsimclr.checkpoints.tensorflow import find_tensorflow_encoder
from mmsimclr.models import NonLinearNeck, ResNet

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3),
          200: (3, 24, 36, 3)}
NORM = {'gamma': 'weight', 'beta': 'bias', 'moving_mean': 'running_mean', 'moving_variance': 'running_var'}


class Official:
    """Creates the variables as resnet.py and tf2/resnet.py do, one layer after the other.

    Attributes:
        tf1: Arrays by TensorFlow 1's names.
        tf2: The same arrays by TensorFlow 2's paths.
        keys: Our key for each of TensorFlow 1's names.
    """

    def __init__(self, depth=50, channels=2, stem_px=7, sk=False, se=False):
        self.random = np.random.default_rng(depth)
        self.tf1, self.tf2, self.keys = {}, {}, {}
        self.num_convs = self.num_norms = 0
        stem = 'initial_conv_relu_max_pool'
        if sk and stem_px == 7:
            self.conv(f'{stem}/0/conv2d', 'stem', (3, 3, 3, channels // 2))
            self.norm(f'{stem}/1/bn', 'stem', channels // 2)
            self.conv(f'{stem}/2/conv2d', 'stem', (3, 3, channels // 2, channels // 2))
            self.norm(f'{stem}/3/bn', 'stem', channels // 2)
            self.conv(f'{stem}/4/conv2d', 'stem', (3, 3, channels // 2, channels))
            self.norm(f'{stem}/6/bn', 'stem', channels)
        else:
            self.conv(f'{stem}/0/conv2d', 'conv1', (stem_px, stem_px, 3, channels))
            self.norm(f'{stem}/2/bn', 'bn1', channels)
        inputs = channels
        for group, blocks in enumerate(BLOCKS[depth]):
            for block in range(blocks):
                block_fn = self.residual_block if depth < 50 else self.bottleneck_block
                inputs = block_fn(f'block_groups/{group}/layers/{block}', f'layer{group + 1}.{block}',
                                  inputs, channels * (1, 2, 4, 8)[group], block == 0, sk, se)

    def add(self, tf1, tf2, key, shape):
        array = self.random.uniform(0.5, 1.5, shape).astype(np.float32)
        self.tf1[f'base_model/{tf1}'] = self.tf2[f'model/resnet_model/{tf2}'] = array
        self.keys[f'base_model/{tf1}'] = key

    def conv(self, tf2, key, shape, bias=False):
        name = 'conv2d' if self.num_convs == 0 else f'conv2d_{self.num_convs}'
        self.num_convs += 1
        self.add(f'{name}/kernel', f'{tf2}/kernel', f'{key}.weight', shape)
        if bias:
            self.add(f'{name}/bias', f'{tf2}/bias', f'{key}.bias', shape[-1:])

    def norm(self, tf2, key, channels):
        name = 'batch_normalization' if self.num_norms == 0 else f'batch_normalization_{self.num_norms}'
        self.num_norms += 1
        for variable, ours in NORM.items():
            self.add(f'{name}/{variable}', f'{tf2}/{variable}', f'{key}.{ours}', (channels,))

    def pooling(self, ours, sk):
        """Return the number of layers before the convolution of a shortcut: padding (at stride 2), pool."""
        return (1 if ours.startswith('layer1') else 2) if sk else 0

    def residual_block(self, tf2, ours, inputs, filters, projection, sk, se):
        if projection:
            shortcut, place = f'{tf2}/shortcut_layers', self.pooling(ours, sk)
            self.conv(f'{shortcut}/{place}/conv2d', f'{ours}.downsample.0', (1, 1, inputs, filters))
            self.norm(f'{shortcut}/{place + 1}/bn', f'{ours}.downsample.1', filters)
        self.conv(f'{tf2}/conv2d_bn_layers/0/conv2d', f'{ours}.conv1', (3, 3, inputs, filters))
        self.norm(f'{tf2}/conv2d_bn_layers/1/bn', f'{ours}.bn1', filters)
        self.conv(f'{tf2}/conv2d_bn_layers/2/conv2d', f'{ours}.conv2', (3, 3, filters, filters))
        self.norm(f'{tf2}/conv2d_bn_layers/3/bn', f'{ours}.bn2', filters)
        if se:
            self.squeeze(f'{tf2}/se_layer', filters)
        return filters

    def bottleneck_block(self, tf2, ours, inputs, filters, projection, sk, se):
        lists = f'{tf2}/conv_relu_dropblock_layers'
        if projection:
            shortcut, place = f'{tf2}/projection_layers', self.pooling(ours, sk)
            self.conv(f'{shortcut}/{place}/conv2d', f'{ours}.downsample.0', (1, 1, inputs, 4 * filters))
            self.norm(f'{shortcut}/{place + 1}/bn', f'{ours}.downsample.1', 4 * filters)
        self.conv(f'{lists}/0/conv2d', f'{ours}.conv1', (1, 1, inputs, filters))
        self.norm(f'{lists}/1/bn', f'{ours}.bn1', filters)
        if sk:
            self.conv(f'{lists}/3/conv2d_fixed_padding/conv2d', 'sk', (3, 3, filters, 2 * filters))
            self.norm(f'{lists}/3/batch_norm_relu/bn', 'sk', 2 * filters)
            self.conv(f'{lists}/3/conv2d_0', 'sk', (1, 1, filters, 32))
            self.norm(f'{lists}/3/batch_norm_relu_1/bn', 'sk', 32)
            self.conv(f'{lists}/3/conv2d_1', 'sk', (1, 1, 32, 2 * filters))
        else:
            self.conv(f'{lists}/3/conv2d', f'{ours}.conv2', (3, 3, filters, filters))
            self.norm(f'{lists}/4/bn', f'{ours}.bn2', filters)
        third = 5 if sk else 6
        self.conv(f'{lists}/{third}/conv2d', f'{ours}.conv3', (1, 1, filters, 4 * filters))
        self.norm(f'{lists}/{third + 1}/bn', f'{ours}.bn3', 4 * filters)
        if se:
            self.squeeze(f'{lists}/9', 4 * filters)
        return 4 * filters

    def squeeze(self, tf2, channels):
        self.conv(f'{tf2}/se_reduce', 'se', (1, 1, channels, 1), bias=True)
        self.conv(f'{tf2}/se_expand', 'se', (1, 1, 1, channels), bias=True)

    def forms(self):
        return self.tf1, self.tf2


def head(widths, form='tf1', scope='nl_{}'):
    """Return a projection head of the official structure: no dense bias, last norm without beta."""
    random, arrays = np.random.default_rng(1), {}
    for i, (width_in, width_out) in enumerate(pairwise(widths)):
        if form == 'tf1':
            layer, norm_layer = f'head_contrastive/{scope.format(i)}', 'batch_normalization'
        else:
            layer, norm_layer = f'model/_projection_head/linear_layers/{i}', 'bn_relu/bn'
        dense, norm = f'{layer}/dense', f'{layer}/{norm_layer}'
        arrays[f'{dense}/kernel'] = random.random((width_in, width_out), np.float32)
        for variable in NORM if i < len(widths) - 2 else set(NORM) - {'beta'}:
            arrays[f'{norm}/{variable}'] = random.random(width_out, np.float32)
    return arrays


def torch_layout(array):
    if array.ndim == 4:
        return torch.einsum('hwio->oihw', torch.from_numpy(array))
    return torch.from_numpy(array.T.copy())


@pytest.mark.parametrize(('depth', 'stem_px'), [
    (18, 7), (18, 3), (34, 7), (50, 7), (50, 3), (101, 7), (152, 7)])
def test_every_variable_goes_to_its_key(depth, stem_px):
    official = Official(depth, channels=2, stem_px=stem_px)
    for form in official.forms():
        encoder = find_tensorflow_encoder(form)
        assert set(encoder.tensors) == set(official.keys.values())
        for name, key in official.keys.items():
            assert torch.equal(encoder.tensors[key], torch_layout(official.tf1[name])), key
        stem = dict(stem='imagenet', stem_pool='same') if stem_px == 7 else dict(stem='cifar')
        assert encoder.settings == dict(depth=depth, width_multiplier=2 / 64, norm_eps=1e-5,
                                        project_first_shortcut=depth < 50, **stem)
        assert encoder.input == UNIT_RANGE and not encoder.neck and not encoder.others
        missing, unexpected = ResNet(**encoder.settings).load_state_dict(encoder.tensors, strict=False)
        assert not unexpected and all(key.endswith('num_batches_tracked') for key in missing)


@pytest.mark.parametrize('arguments', [
    dict(depth=50, sk=True), dict(depth=50, sk=True, stem_px=3), dict(depth=152, sk=True, channels=6),
    dict(depth=18, sk=True), dict(depth=50, se=True), dict(depth=18, se=True), dict(depth=200)])
def test_networks_that_are_not_built_here_are_refused(arguments):
    for form in Official(**arguments).forms():
        with pytest.raises(IncompleteEncoderError, match=r'\d+ (missing|left over) .*names end in sk0'):
            find_tensorflow_encoder(form)


@pytest.mark.parametrize('name', [
    'base_model/conv2d/kernel', 'base_model/conv2d_7/kernel', 'base_model/conv2d_52/kernel',
    'base_model/batch_normalization_52/moving_mean', 'base_model/batch_normalization/gamma'])
def test_a_missing_variable_is_named(name):
    official = Official(50)
    path = list(official.tf2)[list(official.tf1).index(name)]
    for form, gone in ((official.tf1, name), (official.tf2, path)):
        del form[gone]
        with pytest.raises(IncompleteEncoderError, match=gone):
            find_tensorflow_encoder(form)


def test_a_whole_missing_layer_is_named():
    official = Official(50)
    last = [name for name in official.tf1 if '_52/' in name]
    assert len(last) == 5
    for name in last:
        del official.tf1[name]
    with pytest.raises(IncompleteEncoderError, match=r'5 missing .*conv2d_52/kernel'):
        find_tensorflow_encoder(official.tf1)


def test_a_missing_block_of_the_object_form_is_named():
    official = Official(50)
    gone = [name for name in official.tf2 if 'block_groups/2/layers/5/' in name]
    for name in gone:
        del official.tf2[name]
    with pytest.raises(IncompleteEncoderError, match=rf'ResNet-50.*{len(gone)} missing .*groups/2/layers/5/'):
        find_tensorflow_encoder(official.tf2)


def test_a_variable_left_over_is_named():
    official = Official(18)
    extra = np.ones((1, 1, 16, 16), np.float32)
    last_block = 'model/resnet_model/block_groups/3/layers/1'
    for form, name in ((official.tf1, 'base_model/conv2d_21/kernel'),
                       (official.tf2, f'{last_block}/conv2d_bn_layers/4/conv2d/kernel')):
        with pytest.raises(IncompleteEncoderError, match=rf'1 left over \({name}\)'):
            find_tensorflow_encoder({**form, name: extra})


def test_a_mis_shaped_variable_is_named_with_both_shapes():
    variables = Official(18, channels=2).tf1
    variables['base_model/conv2d_6/kernel'] = np.ones((1, 1, 4, 2), np.float32)
    with pytest.raises(IncompleteEncoderError, match=r'\[2, 4, 1, 1\], expected \[4, 2, 1, 1\]'):
        build_encoder(find_tensorflow_encoder(variables))


@pytest.mark.parametrize('shape', [(3,), (), (7, 7, 3)])
def test_a_stem_of_other_axes_is_refused(shape):
    variables = {**Official(18).tf1, 'base_model/conv2d/kernel': np.ones(shape, np.float32)}
    with pytest.raises(UnsupportedEncoderError, match='axes'):
        find_tensorflow_encoder(variables)


def test_nan_is_an_error_that_names_the_variable():
    variables = Official(18).tf1
    variables['base_model/batch_normalization_3/moving_variance'][0] = np.nan
    with pytest.raises(DamagedCheckpointError, match=r'1 of 105.*_3/moving_variance'):
        find_tensorflow_encoder(variables)


@pytest.mark.parametrize('widths', [(16, 16, 16, 12), (16, 20, 12), (16, 12)])
@pytest.mark.parametrize('form', ['tf1', 'tf2'])
def test_the_official_head_fills_our_neck(widths, form):
    arrays = head(widths, form, 'l_{}' if len(widths) == 2 and form == 'tf1' else 'nl_{}')
    encoder = find_tensorflow_encoder({**getattr(Official(18), form), **arrays})
    assert not encoder.others
    neck = NonLinearNeck(**encoder.neck_settings).eval()
    missing, unexpected = neck.load_state_dict(encoder.neck, strict=False)
    assert not unexpected and all(key.endswith('num_batches_tracked') for key in missing)

    x = np.random.default_rng(2).random((5, 16))
    want = x
    layers = [arrays[name] for name in arrays if name.endswith('kernel')]
    for i, kernel in enumerate(layers):
        norm = {variable: array.astype(float) for name, array in arrays.items() for variable in NORM
                if name.endswith(f'/{variable}') and f'{i}/b' in name}
        want = (want @ kernel - norm['moving_mean']) / np.sqrt(norm['moving_variance'] + 1e-5) * norm['gamma']
        if i < len(layers) - 1:
            want = np.maximum(want + norm['beta'], 0)
    with torch.no_grad():
        got = neck((torch.from_numpy(x).float(),))[0]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize('change', [
    {'head_contrastive/nl_0/dense/bias': np.ones(16, np.float32)},
    {'head_contrastive/nl_2/batch_normalization/beta': np.ones(12, np.float32)},
    {'head_contrastive/nl_0/dense/kernel': np.ones(16, np.float32)},
    {'head_contrastive/nl_1/batch_normalization/gamma': None},
    {name: None for name in head((16, 16, 16, 12)) if '/nl_1/' in name}])
def test_a_head_of_another_structure_is_counted_and_not_guessed(change):
    arrays = {**head((16, 16, 16, 12)), **change}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    encoder = find_tensorflow_encoder({**Official(18).tf1, **arrays})
    assert not encoder.neck and not encoder.neck_settings
    assert encoder.others == {'head_contrastive': len(arrays)}


def test_a_finetuned_checkpoint_has_a_supervised_head_and_no_neck():
    variables = {**Official(50).tf1, 'head_supervised/linear_layer/dense/kernel': np.ones((64, 10)),
                 'head_supervised/linear_layer/dense/bias': np.ones(10), 'global_step': np.int64(3)}
    encoder = find_tensorflow_encoder(variables)
    assert not encoder.neck and encoder.others == {'head_supervised': 2, 'global_step': 1}


def test_the_trained_weights_are_taken_and_their_average_is_offered():
    """The published SimCLR v2 checkpoints hold both."""
    trained, average = Official(18), Official(18)
    variables = {**{f'ema_model/{name}': 2 * array for name, array in average.tf1.items()}, **trained.tf1,
                 **{f'ema_model/{name}': 2 * array for name, array in head((16, 16, 12)).items()},
                 **head((16, 16, 12))}
    encoder = find_tensorflow_encoder(variables)
    assert (encoder.address, encoder.alternatives) == (':base_model/', (':ema_model/base_model/',))
    assert encoder.others == {'ema_model': 105 + 9} and 'average' not in encoder.layout
    for select in (':ema_model/base_model/', 'ema_model/base_model/'):
        chosen = find_tensorflow_encoder(variables, select)
        assert (chosen.address, chosen.alternatives) == (':ema_model/base_model/', (':base_model/',))
        assert 'average' in chosen.layout and chosen.others == {'base_model': 105, 'head_contrastive': 9}
        for ours, twice in ((encoder.tensors, chosen.tensors), (encoder.neck, chosen.neck)):
            assert len(ours) == len(twice) > 0
            assert all(torch.equal(2 * tensor, twice[key]) for key, tensor in ours.items())
    with pytest.raises(LayoutError, match=r"':teacher/'; there is :base_model/, :ema_model/base_model/"):
        find_tensorflow_encoder(variables, ':teacher/')


def test_other_checkpoints_are_refused_by_what_their_names_begin_with():
    with pytest.raises(LayoutError, match=r'of 3 variables, none.*resnet_v1_50/block1 \(2\)'):
        find_tensorflow_encoder({'resnet_v1_50/block1/weights': np.ones(1), 'global_step': np.ones(1),
                                 'resnet_v1_50/block1/biases': np.ones(1)})
