"""Layers of the projection head as features, against a forward pass written out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import nn
from torch.testing import assert_close

from mmsimclr import checkpoints
from mmsimclr.checkpoints import UNIT_RANGE
from mmsimclr.datasets import Shapes
from mmsimclr.features import Embedder
from mmsimclr.models import NonLinearNeck, ResNet
from mmsimclr.protocols import KNN, Benchmark, EncoderSource, TransferLinear

SETTINGS = dict(depth=18, base_channels=4, stem='cifar', zero_init_residual=False)
STAGES = ('projection', 'pooled', 'projection.hidden2', 'layer2', 'projection.hidden1')


def write(path, with_neck: bool = True, **changes) -> dict[str, torch.Tensor]:
    """Write a model whose norms have statistics of their own; return its tensors."""
    torch.manual_seed(5)
    parts = dict(backbone=ResNet(**SETTINGS), neck=NonLinearNeck(32, 12, 6, num_layers=3, with_bias=True))
    tensors = {}
    for name, part in parts.items():
        for module in part.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)
        if name == 'backbone' or with_neck:
            tensors |= {f'{name}.{key}': value for key, value in part.state_dict().items()}
    tensors |= changes
    torch.save(dict(state_dict=tensors), path)
    return tensors


def by_hand(tensors: dict, pooled: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return every layer of the head, of pooled features, by torch's functions."""
    rows, found = pooled, {}
    for layer in range(3):
        rows = F.linear(rows, tensors[f'neck.fc{layer}.weight'], tensors.get(f'neck.fc{layer}.bias'))
        rows = F.batch_norm(rows, **{key: tensors[f'neck.bn{layer}.{key}'] for key in (
            'running_mean', 'running_var', 'weight', 'bias')})
        if layer < 2:
            rows = rows.clamp(min=0)
        found['projection' if layer == 2 else f'projection.hidden{layer + 1}'] = rows
    return found


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def test_layers_of_the_head_are_those_written_out_beside_the_encoders_own(tmp_path, images):
    tensors = write(tmp_path / 'model.pth')
    embedder = Embedder(tmp_path / 'model.pth', 'cpu', stages=STAGES)
    assert embedder.feat_dim == {'projection': 6, 'pooled': 32, 'projection.hidden2': 12, 'layer2': 8,
                                 'projection.hidden1': 12}
    got = embedder(images)
    assert list(got) == list(STAGES)
    for stage, want in by_hand(tensors, torch.from_numpy(got['pooled'])).items():
        assert_close(torch.from_numpy(got[stage]), want, rtol=1e-4, atol=1e-5)
        assert (want < 0).any() == (stage == 'projection')
    alone = Embedder(tmp_path / 'model.pth', 'cpu', stages='projection')(images)
    np.testing.assert_allclose(alone, got['projection'], rtol=1e-6)
    plain = Embedder(tmp_path / 'model.pth', 'cpu')(images)
    np.testing.assert_allclose(plain, got['pooled'], rtol=1e-6)


def test_a_checkpoint_without_a_head_a_backbone_and_a_random_encoder_are_refused_by_name(tmp_path):
    path = tmp_path / 'encoder.pth'
    write(path, with_neck=False)
    with pytest.raises(checkpoints.LayoutError, match=r"encoder\.pth has no projection head.*'pooled'"):
        Embedder(path, 'cpu', stages='projection')
    with pytest.raises(ValueError, match='projection: a backbone alone has no projection head'):
        Embedder(ResNet(**SETTINGS), 'cpu', stages='projection', input=UNIT_RANGE)
    with pytest.raises(ValueError, match='randomly initialised encoder has no projection head'):
        benchmark(tmp_path, None).features(shapes(4), 'projection')


def test_a_head_is_loaded_whole_or_not_at_all(tmp_path):
    for name, change in (('short', {'neck.fc1.weight': torch.ones(12, 11)}),
                         ('nan', {'neck.bn2.bias': torch.full((6,), torch.nan)})):
        write(tmp_path / f'{name}.pth', **change)
        with pytest.raises(checkpoints.CheckpointError, match=f'{name}.pth'):
            Embedder(tmp_path / f'{name}.pth', 'cpu', stages='projection.hidden1')
        Embedder(tmp_path / f'{name}.pth', 'cpu')                        # the encoder is whole


def test_a_layer_that_the_head_lacks_is_refused_with_those_it_has(tmp_path):
    write(tmp_path / 'model.pth')
    with pytest.raises(ValueError, match=r"map of 'projection\.hidden3'; .*hidden2, projection\."):
        Embedder(tmp_path / 'model.pth', 'cpu', stages='projection.hidden3')
    for wrong in ('projection.hidden0', 'projections', ['projection', 'projection']):
        with pytest.raises(ValueError, match=r'stages must be .* projection'):
            Embedder(tmp_path / 'model.pth', 'cpu', stages=wrong)


def test_the_fingerprint_knows_the_head_only_where_it_is_read(tmp_path):
    write(tmp_path / 'a.pth')
    backbone, _ = checkpoints.build_encoder(tmp_path / 'a.pth')
    heads = [checkpoints.build_projection_head(tmp_path / 'a.pth') for _ in range(2)]
    nn.init.ones_(heads[1].fc0.weight)
    for stages, same in (('pooled', True), ('projection', False)):
        a, b = (Embedder(backbone, 'cpu', stages=stages, input=UNIT_RANGE, projection_head=head).fingerprint()
                for head in heads)
        assert (a == b) == same


def shapes(num_images: int, split: str = 'train') -> dict:
    return dict(type='Shapes', num_images=num_images, image_size=16, split=split)


def benchmark(folder, checkpoint) -> Benchmark:
    source = EncoderSource(checkpoint, settings={} if checkpoint else SETTINGS)
    (folder / 'run').mkdir(exist_ok=True)
    return Benchmark(source, Config(dict(dataset_name='Shapes')), folder / 'run', folder / 'features',
                     device='cpu')


@pytest.mark.parametrize('feature', ['projection', 'projection.hidden1'])
def test_protocols_on_features_read_the_head_of_the_same_checkpoint(feature, tmp_path):
    write(tmp_path / 'model.pth')
    run = benchmark(tmp_path, tmp_path / 'model.pth')
    found = run.features(shapes(60), feature)
    want = Embedder(tmp_path / 'model.pth', 'cpu', stages=feature)(
        [run_image(i) for i in range(60)])
    np.testing.assert_allclose(found.stages[feature], want, rtol=1e-5, atol=1e-6)

    knn = KNN(shapes(60), shapes(40), k=(1,), feature=feature).run(run)
    assert knn.metrics['top_1_accuracy_k1_percent'] == 100               # each test image is in the bank
    assert 'projection head' in knn.settings['feature']
    task = dict(name='Shapes', metric='top_1_accuracy_percent', train=shapes(60), test=shapes(40, 'test'))
    results = {name: TransferLinear([task], [1e-2], feature=name).run(run) for name in (feature, 'pooled')}
    assert 'projection head' in results[feature].settings['feature']
    assert results['pooled'].settings['feature'] == 'average of the last map'


def run_image(index: int) -> np.ndarray:
    return Shapes(num_images=60, image_size=16, split='train', pipeline=[])[index]['img']
