"""The benchmarks that train a classifier: the numbers of both presets, and every leaf at tiny size."""

import json
import math
import re

import cv2
import numpy as np
import pytest
import torch
from leaves import CONFIGS
from mmengine.registry import init_default_scope

from mmsimclr.config import load_config
from mmsimclr.protocols import run_benchmark
from mmsimclr.registry import PARAM_SCHEDULERS

FOLDER = CONFIGS / 'benchmarks' / 'classification'
LEAVES = sorted(path for kind in ('linear', 'semi') for path in FOLDER.glob(f'{kind}*_*xb*.py'))
NAME = re.compile(r'(?P<protocol>linear|linear-per-layer|semi-1pct|semi-10pct)_(?P<gpus>\d+)xb(?P<batch>\d+)'
                  r'-(?P<schedule>coslr|steplr)-(?P<epochs>\d+)e_(?P<dataset>[a-z0-9]+)')
COSINE, STEPS_PER_EPOCH = 'cosine per step', 4

# Global batch, learning rate, weight decay, Nesterov, epochs, schedule: the tables of the protocols.
TABLE = {
    'linear_32xb128-coslr-90e_in1k': (4096, 1.6, 0, True, 90, COSINE),
    'linear_8xb512-coslr-90e_in1k': (4096, 1.6, 0, False, 90, 'cosine per epoch'),
    'linear_1xb512-coslr-100e_cifar10': (512, 0.2, 0, True, 100, COSINE),
    'linear-per-layer_8xb32-steplr-90e_in1k': (256, 0.01, 1e-4, True, 90, {60: 0.1, 80: 0.01}),
    'linear-per-layer_8xb32-steplr-28e_places205': (
        256, 0.01, 1e-4, True, 28, {7: 0.1, 14: 0.01, 21: 0.001}),
    'linear-per-layer_8xb32-steplr-84e_inat2018': (
        256, 0.01, 1e-4, True, 84, {24: 0.1, 48: 0.01, 72: 0.001}),
    'semi-1pct_32xb128-coslr-60e_in1k': (4096, 0.8, 0, True, 60, COSINE),
    'semi-10pct_32xb128-coslr-30e_in1k': (4096, 0.8, 0, True, 30, COSINE),
    'semi-1pct_4xb64-steplr-20e_in1k': (256, None, 5e-4, False, 20, {12: 0.2, 16: 0.04}),
    'semi-10pct_4xb64-steplr-20e_in1k': (256, None, 5e-4, False, 20, {12: 0.2, 16: 0.04}),
}
leaf = pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)


def rates(config) -> list[float]:
    """Return the factor on the learning rate at every step of a run of 4 steps an epoch."""
    init_default_scope('mmsimclr')
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    scheduler, = config.param_scheduler
    scheduler = {'end': config.train_cfg.max_epochs, **scheduler}              # as MMEngine's Runner does
    if scheduler.pop('convert_to_iter_based', False):
        kind = scheduler.pop('type')
        built = kind.build_iter_from_epoch(optimizer, **scheduler, epoch_length=STEPS_PER_EPOCH)
    else:
        built = PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=optimizer))
    found = []
    for step in range(config.train_cfg.max_epochs * STEPS_PER_EPOCH):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        if not built.by_epoch or (step + 1) % STEPS_PER_EPOCH == 0:
            built.step()
    return found


def expected_rate(schedule, step: int, epochs: int) -> float:
    if isinstance(schedule, dict):
        return min([1.0, *(factor for epoch, factor in schedule.items() if step >= epoch * STEPS_PER_EPOCH)])
    length = STEPS_PER_EPOCH if schedule == COSINE else 1
    progress = step if schedule == COSINE else step // STEPS_PER_EPOCH
    return 0.5 * (1 + math.cos(math.pi * progress / (epochs * length)))


@pytest.mark.parametrize('stem', TABLE)
def test_preset_has_the_numbers_of_the_tables(stem):
    batch, lr, decay, nesterov, epochs, schedule = TABLE[stem]
    config, name = load_config(FOLDER / f'{stem}.py'), NAME.fullmatch(stem)
    optimizer = config.optim_wrapper.optimizer
    assert config.train_dataloader.batch_size * int(name['gpus']) == batch
    assert optimizer.weight_decay == decay and optimizer.momentum == 0.9
    assert optimizer.get('nesterov', False) == nesterov
    assert 'paramwise_cfg' not in config.optim_wrapper and 'constructor' not in config.optim_wrapper
    if lr is None:
        assert config.protocol.grid == dict(lr=[0.1, 0.01, 0.001], head_lr_multiplier=[1, 10, 100])
    else:
        assert optimizer.lr == pytest.approx(lr) and 'grid' not in config.protocol
    assert config.train_cfg.max_epochs == epochs
    found = rates(config)
    assert len(found) == epochs * STEPS_PER_EPOCH
    assert found == pytest.approx([expected_rate(schedule, step, epochs) for step in range(len(found))])


def test_openmmlabs_linear_evaluation_uses_lars_and_the_paper_s_starts_at_zero():
    paper = load_config(FOLDER / 'linear_32xb128-coslr-90e_in1k.py')
    openmmlab = load_config(FOLDER / 'linear_8xb512-coslr-90e_in1k.py')
    assert paper.model.heads.pooled.init_std == 0 and openmmlab.model.heads.pooled.init_std == 0.01
    assert openmmlab.optim_wrapper.optimizer.type.__name__ == 'LARS'
    assert openmmlab.optim_wrapper.optimizer.trust_ratio == 'openmmlab'
    assert paper.optim_wrapper.optimizer.type is torch.optim.SGD


@leaf
def test_name_and_model_are_of_the_protocol(path):
    config, name = load_config(path), NAME.fullmatch(path.stem)
    assert name, path.stem
    assert config.train_dataloader.batch_size == int(name['batch'])
    assert config.train_cfg.max_epochs == int(name['epochs'])
    assert config.auto_scale_lr.base_batch_size == int(name['gpus']) * int(name['batch'])
    semi = name['protocol'].startswith('semi')
    assert config.model.frozen != semi and 'backbone' not in config.model
    if semi:
        share = '1%' if name['protocol'] == 'semi-1pct' else '10%'
        assert config.protocol.labels == share
        dataset = config.train_dataloader.dataset
        assert str(dataset.get('names', '')).endswith(f'/{share[:-1]}percent.txt') or \
            dataset.get('fraction') == float(share[:-1]) / 100
    assert list(config.model.heads) == (['stem', 'layer1', 'layer2', 'layer3', 'layer4']
                                        if name['protocol'] == 'linear-per-layer' else ['pooled'])
    assert all(head.get('norm', False) == ('per-layer' in path.stem or path.stem.endswith('_folder'))
               for head in config.model.heads.values())
    assert 'random' not in path.read_text().replace('random_encoder = dict', '')
    assert path.read_text().count(path.stem) == 1, 'the header says the command'


def steps(pipeline) -> list[str]:
    return [step['type'].__name__ for item in pipeline for step in (item.get('transforms') or [item])]


def test_augmentation_is_the_tables():
    plain = load_config(FOLDER / 'linear_8xb512-coslr-90e_in1k.py')
    crop_and_flip = ['LoadImage', 'RandomResizedCrop', 'RandomHorizontalFlip', 'PackImage']
    assert steps(plain.train_dataloader.dataset.pipeline) == crop_and_flip
    assert steps(load_config(FOLDER / 'semi-1pct_4xb64-steplr-20e_in1k.py')
                 .train_dataloader.dataset.dataset.pipeline) == crop_and_flip
    test = plain.test_dataloader.dataset.pipeline
    assert steps(test) == ['LoadImage', 'ResizeShortSide', 'CenterCrop', 'PackImage']
    assert (test[1]['size'], test[2]['size']) == (256, 224)
    for dataset, more in (('90e_in1k', ['ColorJitter', 'PCALighting']), ('28e_places205', []),
                          ('84e_inat2018', [])):
        config = load_config(FOLDER / f'linear-per-layer_8xb32-steplr-{dataset}.py')
        pipeline = config.train_dataloader.dataset.pipeline
        assert steps(pipeline) == [*crop_and_flip[:3], *more, 'PackImage']
        if more:
            jitter = pipeline[1]['transforms'][2]
            assert [jitter[key] for key in ('brightness', 'contrast', 'saturation', 'hue', 'prob')] == [
                0.4, 0.4, 0.4, 0.0, 1.0]


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Write a few JPEGs in the layouts of ImageNet, Places205 and iNaturalist 2018."""
    root, generator = tmp_path_factory.mktemp('data'), np.random.default_rng(0)
    lists = {'train': [], 'val': []}
    for split, items in lists.items():
        for number in range(4):
            path = root / split / f'n0000000{number % 2}' / f'n0000000{number % 2}_{number}.JPEG'
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            cv2.imwrite(str(path), cv2.resize(noise, (320, 260)))
            items.append((path, number % 2))
        (root / 'trainvalsplit_places205').mkdir(exist_ok=True)
        (root / f'trainvalsplit_places205/{split}_places205.csv').write_text(''.join(
            f'{path.relative_to(root)},{label}\n' for path, label in items))
        (root / f'{split}2018.json').write_text(json.dumps(dict(
            images=[dict(id=i, file_name=str(path.relative_to(root))) for i, (path, _) in enumerate(items)],
            annotations=[dict(image_id=i, category_id=label) for i, (_, label) in enumerate(items)])))
    (root / 'images256').symlink_to(root)
    (root / 'list.txt').write_text(''.join(f'{path.name}\n' for path, _ in lists['train']))
    return root


@leaf
def test_leaf_trains_and_evaluates(path, images, tmp_path):
    config = load_config(path, work_dir=tmp_path / 'run')
    at_home = 'cifar10' in path.stem or 'shapes' in path.stem
    config.random_encoder = dict(depth=18, base_channels=4, stem='cifar' if at_home else 'imagenet')
    # oneDNN, as of torch 2.11, crashes in the backward pass of 1x1 convolutions of stride 2 from fewer than
    # 16 channels laid out channels-last.
    config.model.data_preprocessor.channels_last = False
    config.train_cfg.max_epochs = 1
    config.optim_wrapper.optimizer.lr = 0.01
    for loader in (config.train_dataloader, config.test_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False)
        inner = loader.dataset.get('dataset') or loader.dataset
        if 'names' in loader.dataset:
            loader.dataset.names = str(images / 'list.txt')
        if 'fraction' in loader.dataset:
            loader.dataset.fraction = 0.5
        if 'cifar10' in path.stem:
            loader.dataset = dict(type='Shapes', num_images=20, pipeline=inner.pipeline)
        elif at_home:
            inner.num_images = 20
        else:
            inner.data_root = str(images)
            if inner.type.__name__ == 'ImageNet':
                inner.metainfo = dict(classes=('cat', 'dog'))
    if config.protocol.get('grid'):
        config.protocol.grid = dict(lr=[0.1], head_lr_multiplier=[10])
    result = run_benchmark(config, None, config_path=path)
    assert result.settings['init'] == 'random' and result.settings['steps'] >= 2
    assert (tmp_path / 'run' / 'result.json').is_file()
    assert len(result.metrics) >= (5 if 'per-layer' in path.stem else 1)


@pytest.mark.parametrize('name', ['linear_32xb128-coslr-90e_in1k', 'semi-1pct_32xb128-coslr-60e_in1k',
                                  'semi-10pct_32xb128-coslr-30e_in1k', 'linear_8xb512-coslr-90e_in1k'])
def test_the_papers_leaves_draw_crops_as_the_official_code_and_openmmlabs_as_torchvision(name):
    dataset = load_config(name).train_dataloader.dataset
    crop = dataset.get('dataset', dataset).pipeline[1].transforms[0]
    assert crop.get('style', 'torchvision') == ('official' if '_32xb128' in name else 'torchvision')
