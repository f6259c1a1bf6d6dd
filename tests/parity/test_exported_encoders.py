"""Written encoders, loaded by the libraries they are for, give the features they gave here."""

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from mmsimclr.checkpoints import build_encoder, read_checkpoint, read_encoder
from mmsimclr.checkpoints.export import convert_checkpoint
from mmsimclr.checkpoints.export.convert import usage
from mmsimclr.models import NonLinearNeck, ResNet

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
STATISTICS = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')


def write_source(path: Path, **settings) -> Tensor:
    """Write an encoder without a record, as others do; return its pooled features of ``IMAGES``."""
    torch.manual_seed(0)
    encoder = ResNet(**settings, zero_init_residual=False).eval()
    tensors = encoder.state_dict()
    for value in tensors.values():
        if value.ndim == 1:
            value.copy_(torch.rand(value.shape) + 0.5)
    torch.save({'state_dict': {f'backbone.{key}': value for key, value in tensors.items()}}, path)
    encoder.warns_of_small_images = False
    with torch.no_grad():
        return encoder(IMAGES)[-1].mean(dim=(2, 3))


def assert_same(got: Tensor, want: Tensor) -> None:
    assert got.shape == want.shape and want.abs().max() > 0
    assert (got - want).abs().max() <= 1e-5 * want.abs().max()


@pytest.mark.parametrize('depth', [18, pytest.param(50, marks=pytest.mark.slow)])
def test_torchvision_loads_it_strictly_and_gives_the_same_features(depth, tmp_path):
    want = write_source(tmp_path / 'source.pth', depth=depth)
    path = convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'out.pth', 'torchvision')
    model = getattr(torchvision.models, f'resnet{depth}')().eval()
    model.fc = nn.Identity()
    model.load_state_dict(torch.load(path, weights_only=True), strict=True)
    with torch.no_grad():
        assert_same(model(IMAGES), want)


@pytest.mark.parametrize('depth', [18, pytest.param(50, marks=pytest.mark.slow)])
def test_timm_loads_it_strictly_and_gives_the_same_features(depth, tmp_path):
    timm = pytest.importorskip('timm', reason='timm is not installed')
    want = write_source(tmp_path / 'source.pth', depth=depth)
    path = convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'out.pth', 'timm')
    model = timm.create_model(f'resnet{depth}', num_classes=0).eval()
    model.load_state_dict(torch.load(path, weights_only=True), strict=True)
    with torch.no_grad():
        assert_same(model(IMAGES), want)
    by_path = timm.create_model(f'resnet{depth}', num_classes=0, checkpoint_path=str(path)).eval()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in by_path.state_dict().items())


@pytest.mark.parametrize(('to', 'prefix'), [('openmmlab-backbone', {}),
                                            ('openmmlab', {'prefix': 'backbone.'})])
def test_mmpretrain_initialises_from_it_and_gives_the_same_features(to, prefix, tmp_path):
    backbones = pytest.importorskip(
        'mmpretrain.models.backbones', reason='mmpretrain (with mmcv) cannot be imported', exc_type=Exception)
    want = write_source(tmp_path / 'source.pth', depth=18)
    source = tmp_path / 'source.pth'
    if to == 'openmmlab':
        tree = torch.load(source)
        tree['state_dict'] |= {'neck.fc0.weight': torch.ones(4, 512)}
        torch.save(tree, source)
    path = convert_checkpoint(source, tmp_path / 'out.pth', to)
    model = backbones.ResNet(depth=18, init_cfg=dict(type='Pretrained', checkpoint=str(path), **prefix))
    model.init_weights()
    model.eval()                                             # returns None
    with torch.no_grad():
        assert_same(model(IMAGES)[-1].mean(dim=(2, 3)), want)


class Conv(nn.Conv2d):
    """A convolution that holds its norm, as Detectron2's do."""

    def __init__(self, channels_in, channels, kernel, stride=1):
        super().__init__(channels_in, channels, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.norm(super().forward(x))


class Block(nn.Module):
    """Detectron2's residual block; MSRA's has its stride in the first convolution."""

    def __init__(self, channels_in, middle, channels, stride, stride_in_1x1):
        super().__init__()
        if middle is None:
            convs = [Conv(channels_in, channels, 3, stride), Conv(channels, channels, 3)]
        else:
            first, second = (stride, 1) if stride_in_1x1 else (1, stride)
            convs = [Conv(channels_in, middle, 1, first), Conv(middle, middle, 3, second),
                     Conv(middle, channels, 1)]
        for place, conv in enumerate(convs, 1):
            self.add_module(f'conv{place}', conv)
        self.shortcut = Conv(channels_in, channels, 1, stride) if channels_in != channels else None
        self.num_convs = len(convs)

    def forward(self, x):
        out = x
        for place in range(1, self.num_convs + 1):
            out = getattr(self, f'conv{place}')(out)
            out = F.relu(out) if place < self.num_convs else out
        return F.relu(out + (x if self.shortcut is None else self.shortcut(x)))


def detectron2_resnet(config: dict) -> nn.Module:
    """Build the ResNet that a Detectron2 config describes, from its documented structure and defaults."""
    defaults = dict(STRIDE_IN_1X1=True, STEM_OUT_CHANNELS=64, WIDTH_PER_GROUP=64, RES2_OUT_CHANNELS=256)
    config = defaults | config
    blocks = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[config['DEPTH']]
    channels_in = config['STEM_OUT_CHANNELS']
    stem = nn.Module()
    stem.conv1 = Conv(3, channels_in, 7, 2)
    model = nn.Module()
    model.stem = stem
    for stage, count in enumerate(blocks):
        middle = None if config['DEPTH'] == 18 else config['WIDTH_PER_GROUP'] * 2**stage
        block = partial(Block, middle=middle, channels=config['RES2_OUT_CHANNELS'] * 2**stage,
                        stride_in_1x1=config['STRIDE_IN_1X1'])
        layers = []
        for place in range(count):
            layers.append(block(channels_in, stride=2 if stage and not place else 1))
            channels_in = config['RES2_OUT_CHANNELS'] * 2**stage
        model.add_module(f'res{stage + 2}', nn.Sequential(*layers))
    return model.eval()


@pytest.mark.parametrize('settings', [
    dict(depth=18), dict(depth=50, width_multiplier=0.25),
    pytest.param(dict(depth=50), marks=pytest.mark.slow)], ids=str)
def test_detectron2s_structure_takes_it_completely_and_gives_the_same_features(settings, tmp_path):
    want = write_source(tmp_path / 'source.pth', **settings)
    path = convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'out.pkl', 'detectron2')
    tree = pickle.loads(path.read_bytes())
    assert tree['__author__'] and tree['matching_heuristics'] is True
    lines = usage(read_encoder(tmp_path / 'source.pth'), path, 'detectron2')
    config = yaml.safe_load(lines.partition('images:\n')[2])
    assert config['INPUT']['FORMAT'] == 'RGB' and config['MODEL']['WEIGHTS'] == str(path)
    assert config['MODEL']['PIXEL_MEAN'] == [123.675, 116.28, 103.53]
    assert config['MODEL']['PIXEL_STD'] == [58.395, 57.12, 57.375]
    model = detectron2_resnet(config['MODEL']['RESNETS'])
    model.load_state_dict({key: torch.from_numpy(value) for key, value in tree['model'].items()}, strict=True)
    with torch.no_grad():
        x = F.max_pool2d(F.relu(model.stem.conv1(IMAGES)), 3, 2, 1)
        for stage in (model.res2, model.res3, model.res4, model.res5):
            x = stage(x)
    assert_same(x.mean(dim=(2, 3)), want)


def test_detectron2s_names_are_the_written_ones(tmp_path):
    write_source(tmp_path / 'source.pth', depth=18)
    path = convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'out.pkl', 'detectron2')
    layers = ['stem.conv1', 'res2.0.conv1', 'res2.0.conv2', 'res2.1.conv1', 'res2.1.conv2']
    for stage in ('res3', 'res4', 'res5'):
        layers += [f'{stage}.0.conv1', f'{stage}.0.conv2', f'{stage}.0.shortcut', f'{stage}.1.conv1',
                   f'{stage}.1.conv2']
    names = {f'{layer}.weight' for layer in layers} | {f'{layer}.norm.{kind}' for layer in layers
                                                       for kind in STATISTICS}
    model = pickle.loads(path.read_bytes())['model']
    assert model.keys() == names
    assert model['stem.conv1.weight'].shape == (64, 3, 7, 7)
    assert model['res5.0.shortcut.weight'].shape == (512, 256, 1, 1)


@pytest.mark.parametrize('to', ['openmmlab-backbone', 'safetensors'])
def test_an_encoder_of_the_official_kind_is_built_as_it_was(to, tmp_path):
    official = dict(depth=18, width_multiplier=0.25, stem_pool='same', project_first_shortcut=True)
    want = write_source(tmp_path / 'source.pth', **official)
    tree = torch.load(tmp_path / 'source.pth')
    tree['meta'] = {'mmsimclr': {'version': 1, 'encoder': official,
                                 'input': {'mean': [0., 0., 0.], 'std': [255., 255., 255.]}}}
    torch.save(tree, tmp_path / 'source.pth')
    suffix = '.safetensors' if to == 'safetensors' else '.pth'
    encoder, report = build_encoder(convert_checkpoint(tmp_path / 'source.pth', tmp_path / f'o{suffix}', to))
    encoder.warns_of_small_images = False
    with torch.no_grad():
        assert_same(encoder(IMAGES)[-1].mean(dim=(2, 3)), want)
    assert report.input.std == (255., 255., 255.)


@pytest.mark.parametrize('to', ['openmmlab', 'safetensors'])
def test_an_official_checkpoint_keeps_its_features_through_a_conversion(to, golden_file, tmp_path):
    pytest.importorskip('tensorflow', reason='TensorFlow is not installed')
    stored = np.load(golden_file('ckpt_tf1/r18_w0.125_cifar_expected.npz'))
    source = golden_file('ckpt_tf1/r18_w0.125_cifar/checkpoint').parent
    suffix = '.safetensors' if to == 'safetensors' else '.pth'
    path = convert_checkpoint(source, tmp_path / f'out{suffix}', to)
    encoder, report = build_encoder(path)
    assert report.input.mean == (0., 0., 0.) and report.input.std == (255., 255., 255.)
    images = torch.from_numpy(stored['input']).permute(0, 3, 1, 2)
    with torch.no_grad():
        maps = encoder(images)
    want = torch.from_numpy(stored['eval/final_avg_pool'])
    assert (maps[-1].mean(dim=(2, 3)) - want).abs().max() <= 1e-4 * want.abs().max()
    if to == 'openmmlab':
        record = read_checkpoint(path).meta['mmsimclr']
        neck = NonLinearNeck(**record['neck']).eval()
        weights = read_encoder(path).neck
        missing, unexpected = neck.load_state_dict(weights, strict=False)
        assert not unexpected and all(key.endswith('num_batches_tracked') for key in missing)
        want = torch.from_numpy(stored['eval/proj_head_output'])
        with torch.no_grad():
            assert (neck(maps)[0] - want).abs().max() <= 1e-4 * want.abs().max()
