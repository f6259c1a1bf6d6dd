"""A user's own config, in either dialect, trains; so does what a run dumped."""

import shutil

import pytest
import torch
from leaves import CONFIGS

from mmsimclr.config import ConfigError, load_config
from mmsimclr.runner import build_runner

TEXT_BASE = '''
default_scope = 'mmsimclr'
custom_imports = dict(imports=['a_users_neck'], allow_failed_imports=False)
view = [dict(type='RandomResizedCrop', size=16), dict(type='RandomHorizontalFlip')]
model = dict(
    type='SimCLR',
    data_preprocessor=dict(type='ViewPreprocessor'),
    backbone=dict(type='ResNet', depth=18, stem='cifar', base_channels=4),
    neck=dict(type='AUsersNeck', in_channels=32, hid_channels=16, out_channels=8),
    head=dict(type='ContrastiveHead', loss=dict(type='NTXentLoss'), temperature=0.5))
train_dataloader = dict(
    batch_size=4, num_workers=0, drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='Shapes', num_images=8, image_size=16, pipeline=[
        dict(type='MultiView', num_views=2, transforms=view), dict(type='PackViews')]))
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='LARS', lr=1.0, weight_decay=1e-6),
    constructor='LARSOptimWrapperConstructor')
param_scheduler = [dict(type='CosineAnnealingLR', T_max=2, by_epoch=False)]
train_cfg = dict(by_epoch=True, max_epochs=5)
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
custom_hooks = [dict(type='FiniteLossHook'), dict(type='RunSummaryHook')]
'''
TEXT_LEAF = '''
_base_ = ['./base.py']
train_cfg = dict(max_epochs=1)
model = dict(head=dict(temperature=0.2))
'''
NECK = '''
from mmsimclr.models import NonLinearNeck
from mmsimclr.registry import MODELS


@MODELS.register_module(force=True)
class AUsersNeck(NonLinearNeck):
    """A component of the user's own."""
'''
LAZY_LEAF = '''
"""A run of a user."""

from mmengine.config import read_base

from mmsimclr.transforms import RandomSolarize

with read_base():
    from .._base_.datasets.simclr.shapes import *
    from .._base_.models.simclr_resnet18_cifar import *
    from .._base_.runtime import *
    from .._base_.schedules.lars_paper import *

max_epochs = 1
model.backbone.update(base_channels=4)
model.neck.update(in_channels=32, hid_channels=16)
train_dataloader.update(batch_size=4, num_workers=0, persistent_workers=False)
train_dataloader.dataset.update(num_images=8)
train_dataloader.dataset.pipeline[0].transforms.append(dict(type=RandomSolarize))
param_scheduler[0].update(warmup=0, total=max_epochs)
train_cfg.update(max_epochs=max_epochs)
default_hooks.checkpoint.update(interval=1)
'''


def write_text_config(folder, monkeypatch):
    folder.mkdir()
    (folder / 'base.py').write_text(TEXT_BASE)
    (folder / 'leaf.py').write_text(TEXT_LEAF)
    (folder / 'a_users_neck.py').write_text(NECK)
    monkeypatch.syspath_prepend(str(folder))
    return folder / 'leaf.py'


def write_lazy_config(folder, monkeypatch):
    shutil.copytree(CONFIGS / '_base_', folder / '_base_')
    (folder / 'mine').mkdir()
    (folder / 'mine' / 'leaf.py').write_text(LAZY_LEAF)
    return folder / 'mine' / 'leaf.py'


def train(path, work_dir):
    runner = build_runner(load_config(path, work_dir=work_dir))
    runner.train()
    assert runner.iter == 2
    return runner


@pytest.mark.parametrize('write', [write_text_config, write_lazy_config], ids=['text', 'lazy'])
def test_a_users_config_trains_and_what_it_dumps_trains_alike(write, tmp_path, monkeypatch):
    path = write(tmp_path / 'configs', monkeypatch)
    runner = train(path, tmp_path / 'run')
    assert type(runner.model).__module__.startswith('mmsimclr.')
    dumped = tmp_path / 'run' / 'leaf.py'
    assert dumped.is_file()

    again = load_config(dumped, {'experiment_name': 'again'}, tmp_path / 'again')
    assert again.model.head.temperature == runner.model.head.temperature
    build_runner(again).train()
    if write is write_lazy_config:                          # its seed is fixed, and its views seeded
        first, second = (torch.load(tmp_path / run / 'epoch_1.pth', weights_only=False)['state_dict']
                         for run in ('run', 'again'))
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_text_config_overrides_its_base_and_finds_a_users_component(tmp_path, monkeypatch):
    runner = train(write_text_config(tmp_path / 'configs', monkeypatch), tmp_path / 'run')
    assert runner.model.head.temperature == 0.2
    assert runner.max_epochs == 1
    assert type(runner.model.neck).__name__ == 'AUsersNeck'
    assert type(runner.optim_wrapper.optimizer).__name__ == 'LARS'


@pytest.mark.parametrize('line, said', [
    ("modle = dict(type='SimCLR')", "'modle' at the top level of the config; did you mean 'model'"),
    ("optim_wraper = dict(optimizer=dict(lr=1.0))", "did you mean 'optim_wrapper'"),
    ("custom_hook = [dict(type='FiniteLossHook')]", "did you mean 'custom_hooks'"),
    # Keys of OpenMMLab 1.x, which would be read by nothing.
    ("optimizer = dict(type='SGD', lr=0.1)", "unknown key 'optimizer'"),
    ("lr_config = dict(policy='CosineAnnealing')", "unknown key 'lr_config'"),
    ("data = dict(samples_per_gpu=32)", "unknown key 'data'"),
    ("model = dict(neck=dict(hidden_channels=5))", "did you mean 'hid_channels'"),
    ("model = dict(head=dict(type='ContrastivHead'))", "did you mean 'ContrastiveHead'"),
])
def test_what_nothing_would_read_is_refused(line, said, tmp_path, monkeypatch):
    path = write_text_config(tmp_path / 'configs', monkeypatch)
    path.write_text(f"_base_ = ['./base.py']\n{line}\n")
    with pytest.raises(ConfigError) as refusal:
        load_config(path)
    assert said in str(refusal.value)


def test_a_hook_that_a_base_offers_may_be_left(tmp_path, monkeypatch):
    path = write_lazy_config(tmp_path / 'configs', monkeypatch)
    assert 'online_knn' not in path.read_text()
    config = load_config(path)
    assert 'online_knn' not in config and len(config.custom_hooks) == 2
