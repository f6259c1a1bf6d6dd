from pathlib import Path

import pytest
from mmengine.config import Config
from tiny_run import tiny_config

from mmsimclr.config import ConfigError, load_config

LAZY = '''
from mmengine.config import read_base
from mmsimclr.engine import LARS
from mmsimclr.models import NTXentLoss

with read_base():
    from .lazy_base import *

global_batch = 512
model.head.update(temperature=0.2)
optim_wrapper.optimizer.update(lr=0.3 * global_batch / 256)
train_cfg.update(max_epochs=max_epochs)
'''
LAZY_BASE = '''
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop
from mmsimclr.engine import LARS
from mmsimclr.models import ContrastiveHead, NonLinearNeck, NTXentLoss, ResNet, SimCLR

max_epochs = 3
neck = dict(type=NonLinearNeck, in_channels=32, hid_channels=16, out_channels=8)
model = dict(
    type=SimCLR, backbone=dict(type=ResNet, depth=18, base_channels=4), neck=neck,
    head=dict(type=ContrastiveHead, loss=dict(type=NTXentLoss), temperature=0.1))
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=LARS, lr=0.3))
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=1)
'''
TEXT = '''
_base_ = ['text_base.py']
model = dict(head=dict(temperature=0.2))
train_cfg = dict(max_epochs=3)
'''


@pytest.fixture
def lazy(tmp_path) -> Path:
    (tmp_path / 'lazy_base.py').write_text(LAZY_BASE)
    (tmp_path / 'lazy_leaf.py').write_text(LAZY)
    return tmp_path / 'lazy_leaf.py'


@pytest.fixture
def text(tmp_path) -> Path:
    base = tiny_config(tmp_path)
    base.pop('work_dir')
    base.pop('default_scope')
    base.dump(tmp_path / 'text_base.py')
    (tmp_path / 'text_leaf.py').write_text(TEXT)
    return tmp_path / 'text_leaf.py'


@pytest.mark.parametrize('dialect', ['lazy', 'text'])
def test_both_dialects_load_with_what_they_inherit_and_override(dialect, request):
    config = load_config(request.getfixturevalue(dialect))
    assert (config.model.head.temperature, config.train_cfg.max_epochs) == (0.2, 3)
    assert config.model.neck.out_channels == 8
    assert (config.default_scope, config.launcher) == ('mmsimclr', 'none')


@pytest.mark.parametrize('dialect', ['lazy', 'text'])
def test_options_override_values_by_dotted_keys(dialect, request):
    config = load_config(request.getfixturevalue(dialect), {
        'train_cfg.max_epochs': 7, 'model.head.loss.normalize': False, 'model.head.loss.type': 'NTXentLoss'})
    assert config.train_cfg.max_epochs == 7
    assert config.model.head.loss.normalize is False
    assert config.model.head.temperature == 0.2


def test_work_dir_is_the_given_one_or_the_configs_or_named_after_the_config(text):
    assert load_config(text).work_dir == str(Path('work_dirs') / 'text_leaf')
    assert load_config(text, {'work_dir': 'elsewhere'}).work_dir == 'elsewhere'
    assert load_config(text, {'work_dir': 'elsewhere'}, Path('here')).work_dir == 'here'


@pytest.mark.parametrize('option, message', [
    ('optim_wraper.x', "unknown key 'optim_wraper' .*did you mean 'optim_wrapper'"),
    ('optim_wrapper.optimizer.lrr', "unknown key 'lrr' in optim_wrapper.optimizer; did you mean 'lr'"),
    ('train_dataloader.dataset.pipeline.0.num_viws', "unknown key 'num_viws' .*'num_views'"),
    ('model.backbone.depht', "unknown key 'depht' in model.backbone; did you mean 'depth'"),
])
def test_an_unknown_key_among_the_options_is_refused(text, option, message):
    with pytest.raises(ConfigError, match=message):
        load_config(text, {option: 1})


def test_an_unknown_type_among_the_options_is_refused(text):
    with pytest.raises(ConfigError, match=r"unknown type 'ResNett'.*did you mean 'ResNet'"):
        load_config(text, {'model.backbone.type': 'ResNett'})


def test_an_option_that_overrides_a_variable_already_used_up_is_refused(lazy):
    with pytest.raises(ConfigError, match=r"'max_epochs' is a variable .*train_cfg\.max_epochs"):
        load_config(lazy, {'max_epochs': 9})
    with pytest.raises(ConfigError, match=r'model\.neck'):
        load_config(lazy, {'neck.num_layers': 3})


def test_an_unknown_key_in_the_file_is_refused_in_either_dialect(lazy, text):
    lazy.write_text(LAZY + '\nmodel.head.update(temprature=0.1)\n')
    text.write_text(TEXT + '\nmodle = dict(head=dict(temperature=0.1))\n')
    with pytest.raises(ConfigError, match=r"'temprature' in model\.head; did you mean 'temperature'"):
        load_config(lazy)
    with pytest.raises(ConfigError, match=r"'modle' at the top level.*did you mean 'model'"):
        load_config(text)


def test_options_that_do_not_go_into_the_config_are_refused(text):
    for key in ('model.backbone.depth.0', 'param_scheduler.7.warmup', 'param_scheduler.first.warmup'):
        with pytest.raises(ConfigError, match=rf'{key}'):
            load_config(text, {key: 1})


def test_a_missing_file_is_refused_with_the_nearest_one(text):
    with pytest.raises(FileNotFoundError, match=r'did you mean .*text_leaf\.py'):
        load_config(text.with_name('text_laef.py'))


def test_a_loaded_config_can_be_dumped_and_loaded_again(lazy, tmp_path):
    config = load_config(lazy)
    config.dump(tmp_path / 'dumped.py')
    again = Config.fromfile(tmp_path / 'dumped.py')
    assert again.model.head.temperature == 0.2
    assert load_config(tmp_path / 'dumped.py').optim_wrapper.optimizer.lr == 0.6


def test_data_root_moves_every_path_of_the_data_and_nothing_else(tmp_path):
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(
        "data_root = 'data/voc'\n"
        "sampler = dict(type='DefaultSampler', shuffle=False)\n"
        "train_dataloader = dict(batch_size=1, sampler=sampler, dataset=dict("
        "type='mmsimclr.UnlabeledImageFolder', data_root=data_root))\n"
        "test_dataloader = dict(batch_size=1, sampler=sampler, dataset=dict(type='ConcatDataset', datasets=["
        "dict(type='mmsimclr.UnlabeledImageFolder', data_root='data/voc/sub'), "
        "dict(type='mmsimclr.UnlabeledImageFolder', data_root='data/voc2')]))\n")
    moved = load_config(leaf, {'data_root': '/mnt/images/', 'train_dataloader.batch_size': 2})
    assert moved.train_dataloader.dataset.data_root == '/mnt/images'
    parts = moved.test_dataloader.dataset.datasets
    assert [part.data_root for part in parts] == ['/mnt/images/sub', 'data/voc2']
    assert moved.train_dataloader.batch_size == 2


@pytest.mark.parametrize(('root', 'message'), [('', 'path of a folder'), (3, 'path of a folder')])
def test_a_data_root_that_is_no_path_is_refused(tmp_path, root, message):
    leaf = tmp_path / 'leaf.py'
    leaf.write_text("data_root = 'data/voc'\n")
    with pytest.raises(ConfigError, match=message):
        load_config(leaf, {'data_root': root})


def test_data_root_is_refused_where_the_data_are_not_in_one_folder(tmp_path):
    leaf = tmp_path / 'leaf.py'
    leaf.write_text('train_cfg = dict(by_epoch=True, max_epochs=1)\n')
    with pytest.raises(ConfigError, match='not in one folder'):
        load_config(leaf, {'data_root': '/mnt'})


def test_an_option_may_complete_what_the_file_leaves_open(text):
    text.write_text(TEXT.replace('temperature=0.2)', "temperature=0.2), neck=dict(_delete_=True, "
                                 "type='NonLinearNeck', hid_channels=16, out_channels=8)"))
    with pytest.raises(ConfigError, match=r'model\.neck lacks in_channels'):
        load_config(text)
    assert load_config(text, {'model.neck.in_channels': 32}).model.neck.in_channels == 32


@pytest.mark.parametrize('scope', ['default_scope = None', ''])
def test_without_a_scope_the_scope_is_ours(text, scope):
    text.write_text(f'{TEXT}{scope}\n')
    assert load_config(text).default_scope == 'mmsimclr'
