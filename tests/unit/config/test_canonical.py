"""Canonical configs, compared and hashed: the same over dialects, processes, folders and versions."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop

from mmsimclr import registry as registries
from mmsimclr.config import canonical, config_sha256, differences, load_config, set_precision
from mmsimclr.config.canonical import LOCATIONS, name_of
from mmsimclr.config.check import REGISTRIES
from mmsimclr.engine import LARS, FiniteLossHook
from mmsimclr.errors import InputTypeError
from mmsimclr.models import SimCLR, ViewPreprocessor
from mmsimclr.runner.build import adapt

ROOT = Path(__file__).parents[3]
LEAVES = sorted(path for path in (ROOT / 'configs').rglob('*.py')
                if not {'_base_', 'studies'} & {*path.relative_to(ROOT).parts})
TEXT = dict(model=dict(type='SimCLR', head=dict(temperature=0.1)),
            optim_wrapper=dict(optimizer=dict(type='LARS', lr=1.0)), randomness=dict(seed=0))
# SHA-256 of the five plain values as JSON, made without the package.
HASH = 'e26eca2896f7914601a395d4957b8bbfd01bd702a6542f9a540ad34c9ff8485c'


def changed(**options) -> Config:
    config = Config(json.loads(json.dumps(TEXT)))
    config.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    return config


@pytest.mark.parametrize('name', [
    SimCLR, 'mmsimclr.SimCLR', 'mmsimclr.models.SimCLR', 'mmsimclr.models.algorithms.simclr.SimCLR'], ids=str)
def test_a_component_is_the_same_however_it_is_named(name):
    assert canonical(changed(model__type=name)) == canonical(TEXT)
    assert canonical(TEXT)['model.type'] == 'mmsimclr.SimCLR'


def test_a_name_of_0_1_is_that_of_today():
    log = dict(TEXT, custom_hooks=[dict(type='mmsimclr.engine.LARS')],
               model=dict(type='mmsimclr.models.heads.stage4_head.Stage4Head'))
    assert canonical(log)['model.type'] == 'mmsimclr.Stage4Head'
    assert canonical(log)['custom_hooks.mmsimclr.LARS.type'] == 'mmsimclr.LARS'


def test_the_lazy_dialect_is_the_same_as_text(tmp_path):
    lazy = tmp_path / 'lazy.py'
    lazy.write_text('from mmsimclr.engine import LARS\nfrom mmsimclr.models import SimCLR\n'
                    'lr = 1\nmodel = dict(type=SimCLR, head=dict(temperature=0.1))\n'
                    'optim_wrapper = dict(optimizer=dict(lr=lr, type=LARS))\nrandomness = dict(seed=0)\n')
    assert canonical(Config.fromfile(lazy)) == canonical(Config(TEXT)) == canonical(TEXT)


@pytest.mark.parametrize('kind', ['EpochBasedTrainLoop', EpochBasedTrainLoop], ids=str)
def test_a_loop_is_the_same_by_its_class_and_by_epoch(kind):
    by_class, by_epoch, other = (canonical(dict(train_cfg=dict(max_epochs=1, **loop))) for loop in (
        dict(type=kind), dict(by_epoch=True), dict(by_epoch=False)))
    assert by_class == by_epoch != other


@pytest.mark.parametrize('config', [
    dict(model=dict(type='harmful_for_canonical_test.Model')),
    dict(default_scope='harmful_for_canonical_test', model=dict(type='Model'))], ids=str)
def test_the_config_of_a_stranger_imports_nothing(config, tmp_path, monkeypatch):
    (tmp_path / 'harmful_for_canonical_test.py').write_text('raise SystemExit("run")')
    monkeypatch.syspath_prepend(tmp_path)
    assert canonical(config, may_import=False)['model.type'] == config['model']['type']
    with pytest.raises(SystemExit):
        canonical(config)


def test_in_another_scope_a_bare_name_is_that_scopes():
    pytest.importorskip('mmdet')
    from mmdet.models import ResNet
    by_text, by_class = (dict(default_scope='mmdet', model=dict(type=kind)) for kind in ('ResNet', ResNet))
    assert canonical(by_text) == canonical(by_class)
    assert canonical(by_text)['model.type'] == 'mmdet.models.backbones.resnet.ResNet'


@pytest.mark.parametrize('one, other', [
    ((1, 2.5), [1, 2.5]), (1.0, 1), (torch.float16, 'torch.float16'), (Path('a/b'), 'a/b'),
    (float('inf'), 'inf'), ({'a': ()}, {'a': []})], ids=str)
def test_values_that_are_the_same(one, other):
    left, right = (changed(model__size=value) for value in (one, other))
    assert canonical(left) == canonical(right) and config_sha256(left) == config_sha256(right)
    json.dumps(canonical(left), allow_nan=False)


@pytest.mark.parametrize('one, other', [
    (1, True), (0, False), (1, '1'), ([], {}), ([], None), ([[1], 2], [1, [2]]), ('SimCLR', 'SimCLR2'),
    ({'a.b': 1}, {'a': {'b': 1}}), (float('nan'), float('inf'))], ids=str)
def test_values_that_differ(one, other):
    left, right = (changed(model__size=value) for value in (one, other))
    assert differences(canonical(left), canonical(right))
    assert config_sha256(left) != config_sha256(right)


def test_what_cannot_be_told_from_others_is_refused():
    def own():
        pass
    for value in (lambda: 0, own, object(), type('Own<1>', (), {})):
        with pytest.raises(InputTypeError):
            canonical(dict(model=dict(type=value)))


@pytest.mark.parametrize('changes', [
    dict(work_dir='/elsewhere'), dict(resume=True), dict(train_dataloader=dict(num_workers=8)),
    dict(train_dataloader=dict(pin_memory=True)), dict(log_level='DEBUG'), dict(launcher='pytorch'),
    dict(env_cfg=dict(dist_cfg=dict(port=1))), dict(randomness__deterministic=True), dict(load_from=None),
    dict(custom_hooks=[dict(type=FiniteLossHook, interval=3)]), dict(auto_scale_lr=dict(base_batch_size=8)),
    dict(default_hooks=dict(logger=None)),
    dict(default_hooks=dict(logger=dict(type='LoggerHook', interval=9))), dict(my_variable=3)], ids=str)
def test_what_cannot_matter_does_not_count(changes):
    assert config_sha256(changed(**changes)) == config_sha256(TEXT)
    assert not differences(canonical(TEXT), canonical(changed(**changes)))


@pytest.mark.parametrize('changes, found', [
    (dict(model__head__temperature=0.5), ('model.head.temperature', 0.1, 0.5)),
    (dict(model__head__temperature=None), ('model.head.temperature', 0.1, None)),
    (dict(model__chunk_size=8), ('model.chunk_size', 'not set', 8)),
    (dict(model__chunk_size=None), ('model.chunk_size', 'not set', None)),
    (dict(randomness__seed=1), ('randomness.seed', 0, 1)),
    (dict(load_from='a.pth'), ('load_from', 'not set', 'a.pth')),
    (dict(auto_scale_lr=dict(enable=True)), ('auto_scale_lr.enable', 'not set', True)),
    (dict(optim_wrapper__optimizer__type='SGD'),
     ('optim_wrapper.optimizer.type', 'mmsimclr.LARS', 'torch.optim.sgd.SGD')),
    (dict(train_dataloader__sampler__shuffle=True), ('train_dataloader.sampler.shuffle', 'not set', True)),
    (dict(custom_hooks=[dict(type='EMAHook')]),
     ('custom_hooks.mmengine.EMAHook.type', 'not set', 'mmengine.EMAHook'))], ids=str)
def test_what_matters_counts_and_both_values_are_told(changes, found):
    config = changed(**changes)
    assert differences(canonical(TEXT), canonical(config)) == [found]
    assert config_sha256(config) != config_sha256(TEXT)


def test_hooks_are_compared_by_type_wherever_they_stand():
    knn = dict(type='OnlineKNNHook', bank=dict(type='Shapes', num_images=4))
    first = canonical(dict(custom_hooks=[knn, dict(type='EMAHook')]))
    second = canonical(dict(custom_hooks=[dict(type='FiniteLossHook'), dict(type='EMAHook'), knn]))
    assert not differences(first, second)
    assert differences(first, canonical(dict(custom_hooks=[knn, knn, dict(type='EMAHook')])))
    other = canonical(dict(custom_hooks=[dict(knn, bank=dict(type='Shapes', num_images=5)),
                                         dict(type='EMAHook')]))
    assert differences(first, other) == [('custom_hooks.mmsimclr.OnlineKNNHook.bank.num_images', 4, 5)]


def test_replacing_unreadable_images_changes_nothing_and_moved_data_may_be_passed_over():
    inner = dict(type='CIFAR10', data_root='data/a')
    plain = canonical(dict(train_dataloader=dict(dataset=inner)))
    replaced = canonical(dict(train_dataloader=dict(dataset=dict(
        type='mmsimclr.ReplaceUnreadable', dataset=inner, max_fraction=0.1))))
    moved = canonical(dict(train_dataloader=dict(dataset=dict(inner, data_root='/b'))))
    assert plain == replaced
    assert differences(plain, moved) == [('train_dataloader.dataset.data_root', 'data/a', '/b')]
    assert not differences(plain, moved, LOCATIONS)


@pytest.mark.slow
def test_the_hash_is_that_of_any_process_and_version():
    """Another hash would give every stored cell of a study another name."""
    text = json.dumps(TEXT)
    assert config_sha256(TEXT) == HASH
    code = ('import json, sys; from mmsimclr.config import config_sha256; '
            f'print(config_sha256(dict(reversed(json.loads({text!r}).items()))))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd='/', timeout=60,
                          env={**os.environ, 'PYTHONHASHSEED': '1', 'PYTHONPATH': str(ROOT)})
    assert done.stdout.strip() == HASH, done.stderr


def test_no_two_components_of_ours_have_one_name():
    found = {each for registry in REGISTRIES for each in registry.module_dict.values()
             if each.__module__.startswith('mmsimclr.')}
    names = [name_of(each) for each in found]
    assert len(names) == len(set(names)) > 50
    assert name_of(LARS) == 'mmsimclr.LARS' and registries.OPTIMIZERS.get('mmsimclr.LARS') is LARS


@pytest.mark.slow
@pytest.mark.parametrize('leaf', LEAVES, ids=lambda path: path.stem)
def test_what_a_run_of_a_leaf_dumps_is_read_as_what_ran(leaf, tmp_path):
    config = load_config(leaf, work_dir=tmp_path)
    asked = canonical(config)
    if config.get('train_dataloader'):
        if config.default_scope == 'mmsimclr':
            # As a protocol completes its model.
            preprocessor = config.model.get('data_preprocessor') or dict(type=ViewPreprocessor)
            config.model.data_preprocessor = {**preprocessor, 'mean': (1.0, 2.0, 3.0)}
        if 'simclr' in leaf.parts:
            config.views = 'device'
            set_precision(config, 'bf16')
        adapt(config)
        assert differences(asked, canonical(config)) or config.default_scope != 'mmsimclr'
    object.__setattr__(config, '_format_python_code', False)            # the same text, and sooner
    config.dump(tmp_path / 'dumped.py')
    assert canonical(load_config(tmp_path / 'dumped.py')) == canonical(config)
