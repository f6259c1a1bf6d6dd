"""Every leaf, at tiny size and on made-up images, makes a step through MMEngine's Runner."""

import cv2
import numpy as np
import pytest
import torch
from leaves import LEAVES, parse_name

from mmsimclr.config import load_config
from mmsimclr.engine.hooks.held_out import recorded
from mmsimclr.runner import build_runner
from mmsimclr.transforms import PackImage


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Write four JPEGs as ImageNet's train folder, and sixteen as its val folder."""
    root = tmp_path_factory.mktemp('images')
    generator = np.random.default_rng(0)
    for number in range(20):
        folder = root / ('train' if number < 4 else 'val') / f'n0000000{number % 2}'
        folder.mkdir(parents=True, exist_ok=True)
        noise = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{number}.JPEG'), cv2.resize(noise, (80, 60)))
    return root


@pytest.mark.filterwarnings('ignore:the 7x7 stem leaves little')
@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_leaf_trains_a_step(path, images, tmp_path):
    name = parse_name(path.stem)
    channels = 4 * 8 * (4 if name.depth >= 50 else 1) * name.width
    shapes = dict(type='Shapes', num_images=4, image_size=32)
    config = load_config(path, {
        'model.backbone.base_channels': 4,
        'model.neck.in_channels': channels,
        'model.neck.hid_channels': 8,
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'train_cfg.max_epochs': 1,
        'optim_wrapper.optimizer.lr': 0.1,                   # of two images, without warm-up
        'default_hooks.checkpoint.interval': 1,
    }, tmp_path / 'run')
    if 'warmup' in config.param_scheduler[0]:
        config.param_scheduler[0].warmup = 0
    dataset = config.train_dataloader.dataset
    if name.dataset == 'cifar10':
        config.train_dataloader.dataset = dict(**shapes, pipeline=dataset.pipeline)
    elif name.dataset == 'shapes':
        dataset.update(num_images=4)
    else:
        dataset.update(data_root=str(images if name.dataset == 'in1k' else images / 'train'))
        dataset.update(dict(metainfo=dict(classes=('cat', 'dog'))) if name.dataset == 'in1k' else
                       dict(split='all'))
    for hook in config.custom_hooks:
        if 'bank' in hook:
            hook.bank = hook.queries = dict(**shapes, pipeline=[dict(type=PackImage)])
        if 'held_out' in hook:
            hook.num_images = 16
            if name.dataset in ('cifar10', 'shapes'):
                hook.held_out.num_images = 16
            elif name.dataset in ('folder', 'multiband'):
                hook.held_out = dict(split='all', data_root=str(images / 'val'))
    runner = build_runner(config)
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    runner.train()
    assert runner.iter == 2
    at_start, at_end = recorded(runner)
    assert {'health/pooled_rankme', 'health/contrastive_loss'} <= at_start.keys() & at_end.keys()
    history = runner.message_hub.get_scalar('train/loss').data[0]
    assert len(history) == 2 and np.isfinite(history).all()
    after = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=False)['state_dict']
    for key in ('backbone.conv1.weight', 'neck.fc1.weight'):
        assert not torch.equal(before[key], after[key]), f'{key} did not move'
    assert all(torch.isfinite(value).all() for value in after.values())
