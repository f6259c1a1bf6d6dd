"""Values that could only fail late, or give wrong numbers in silence, are refused before training."""

import re
from fnmatch import fnmatch

import pytest
from mmengine.config import Config
from processes import run_ranks
from refused_starts import refusal
from tiny_run import tiny_config

from mmsimclr.config import check_config
from mmsimclr.config.check import VALUES, check_values
from mmsimclr.errors import InputError, UserError
from mmsimclr.runner import build_runner

# Key, value, and what the message must say besides both.
REFUSED = [
    ('default_hooks.logger.interval', 0, '>= 1'), ('default_hooks.logger.interval', -1, '>= 1'),
    ('default_hooks.checkpoint.interval', 0, '-1'), ('log_processor.window_size', 0, '>= 1'),
    ('train_dataloader.prefetch_factor', 0, '>= 1'), ('train_dataloader.num_workers', -1, '>= 0'),
    ('train_dataloader.batch_size', 0, '>= 1'), ('train_dataloader.batch_size', 2.5, 'integer'),
    ('optim_wrapper.accumulative_counts', 0, '>= 1'),
    ('optim_wrapper.clip_grad.max_norm', -1, '> 0'),
    ('optim_wrapper.clip_grad.max_norm', float('nan'), '> 0'),
    ('optim_wrapper.clip_grad.clip_value', -0.5, '> 0'),
    ('optim_wrapper.optimizer.lr', 0, '> 0'), ('optim_wrapper.optimizer.lr', -0.1, '> 0'),
    ('optim_wrapper.optimizer.lr', '0.3', '> 0'), ('optim_wrapper.optimizer.lr', float('inf'), '> 0'),
    ('optim_wrapper.paramwise_cfg.bias_lr_mult', -0.5, '>= 0'), ('param_scheduler.0.gamma', -1, '> 0'),
    ('param_scheduler.0.eta_min', -1, '>= 0'), ('param_scheduler.0.eta_min_ratio', -0.5, '>= 0'),
    ('train_cfg.val_interval', 0, '>= 1'),
    ('auto_scale_lr.base_batch_size', 0, '>= 1'), ('env_cfg.dist_cfg.timeout', 0, '> 0'),
    ('randomness.seed', -1, '2**32'), ('randomness.seed', 2**32, '2**32'), ('randomness.seed', True, '2**32'),
]


def changed(work_dir, key, value) -> Config:
    config = tiny_config(work_dir)
    config.merge_from_dict({key: value})
    return config


@pytest.mark.parametrize('key, value, accepted', REFUSED, ids=lambda part: str(part))
def test_a_value_is_refused_by_key_with_what_is_accepted(key, value, accepted, tmp_path):
    with pytest.raises(InputError) as caught:
        build_runner(changed(tmp_path / 'run', key, value))
    message = str(caught.value)
    assert key in message and repr(value) in message and accepted in message and '\n' not in message
    assert not (tmp_path / 'run').exists(), 'nothing was begun'


@pytest.mark.parametrize('key, value', [
    ('optim_wrapper.optimizer.momentum', []), ('optim_wrapper.optimizer.eta', 'x'),
    ('optim_wrapper.optimizer.lars_exclude', [1]), ('param_scheduler.0.warmup', 'x'),
    ('param_scheduler.0.total', [2]), ('model.head.temperature', 'x'), ('model.head.temperature', [0.1]),
    ('train_dataloader.dataset.pipeline', [dict(type='MultiView', num_views=2, transforms=[])])],
    ids=str)
def test_a_value_of_another_kind_is_an_error_of_the_user(key, value, tmp_path):
    with pytest.raises(UserError, match=key.split('.')[-1]):
        build_runner(changed(tmp_path, key, value)).train()


@pytest.mark.parametrize('key', ['model.head', 'model', 'custom_hooks', 'train_dataloader.dataset',
                                 'train_dataloader.collate_fn', 'default_hooks.logger', 'param_scheduler'])
@pytest.mark.parametrize('value', [0, 0.5, True])
def test_a_number_is_no_component(key, value, tmp_path):
    with pytest.raises(InputError, match=rf'{key} must be .*[;,] got {value}'):
        check_config(changed(tmp_path, key, value))


def test_every_rule_has_a_case():
    assert not [pattern for pattern in VALUES if not any(fnmatch(key, pattern) for key, *_ in REFUSED)]


@pytest.mark.parametrize('key, value', [
    ('default_hooks.checkpoint.interval', -1), ('train_dataloader.prefetch_factor', None),
    ('optim_wrapper.clip_grad.max_norm', 0.5), ('randomness.seed', 0), ('randomness.seed', None),
    ('optim_wrapper.optimizer.lr', 1), ('train_dataloader.num_workers', 0), ('default_hooks.logger', None),
    ('param_scheduler', None), ('log_processor', None)])
def test_a_usual_value_is_not(key, value, tmp_path):
    config = tiny_config(tmp_path)
    *parents, last = key.split('.')
    node = config
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = value
    check_values(config)


@pytest.mark.parametrize('key, given', [('val_cfg', {}), ('test_cfg', {}), ('val_evaluator', [])])
def test_a_part_of_a_validation_alone_is_refused(key, given, tmp_path):
    part = key.split('_')[0]
    with pytest.raises(InputError, match=rf'{key} is .*{part}_dataloader.* is None: give all'):
        build_runner(tiny_config(tmp_path, **{key: given}))


@pytest.mark.parametrize('begin, end', [(5, 5), (7, 3), (-1, 3), (float('nan'), 3), (0, 0), ('a', 3)])
def test_a_schedule_that_ends_before_it_begins_is_refused(begin, end, tmp_path):
    schedule = dict(type='CosineAnnealingLR', T_max=3, begin=begin, end=end)
    with pytest.raises(InputError, match=rf'param_scheduler\.0\.begin .*begin={begin!r} and end={end!r}'):
        build_runner(tiny_config(tmp_path, param_scheduler=[schedule]))


@pytest.mark.parametrize('schedule', [
    dict(type='MultiStepLR', milestones=[1], gamma=-1), dict(type='StepLR', step_size=1, gamma=0),
    dict(type='ExponentialLR', gamma=-0.5), dict(type='CosineAnnealingLR', T_max=3, eta_min=-0.1),
    dict(type='PolyLR', eta_min=float('nan')), dict(type='CosineAnnealingLR', T_max=3, eta_min_ratio=-1)])
def test_a_schedule_that_turns_the_gradients_round_is_refused(schedule, tmp_path):
    key, value = list(schedule.items())[-1]
    with pytest.raises(InputError, match=rf'param_scheduler\.1\.{key} must be a number >=? ?0, got {value}'):
        build_runner(tiny_config(tmp_path, param_scheduler=[
            dict(type='ConstantLR', factor=1.0), {**schedule, 'begin': 0, 'end': 1}]))


@pytest.mark.parametrize('paramwise', [
    dict(custom_keys={'backbone.conv1': dict(lr_mult=-1)}), dict(bias_lr_mult=-0.5), dict(decay_mult=-1),
    dict(norm_decay_mult='a'), dict(custom_keys={'neck': dict(lr_mult=float('nan'))})], ids=str)
def test_a_factor_below_0_is_refused_by_any_optimizer(paramwise, tmp_path):
    wrapper = dict(optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=paramwise)
    with pytest.raises(InputError, match=r'optim_wrapper\.paramwise_cfg\..*_mult must be'):
        build_runner(tiny_config(tmp_path, optim_wrapper=wrapper))


@pytest.mark.parametrize('paramwise, place', [
    (5, ''), ([1], ''), (dict(custom_keys=3), r'\.custom_keys'), (dict(custom_keys=['bn']), r'\.custom_keys'),
    (dict(custom_keys=dict(cls_token=0)), r"\.custom_keys\['cls_token'\]")], ids=str)
def test_settings_by_parameter_that_are_no_dict_are_refused(paramwise, place, tmp_path):
    wrapper = dict(optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=paramwise)
    with pytest.raises(InputError, match=rf'optim_wrapper\.paramwise_cfg{place} must be a dict, got '):
        build_runner(tiny_config(tmp_path, optim_wrapper=wrapper))


def test_a_schedule_that_begins_after_the_run_is_refused(tmp_path):
    later = dict(type='CosineAnnealingLR', T_max=3, begin=10, by_epoch=True)
    with pytest.raises(InputError, match=r'param_scheduler\.0\.begin .*begin=10 and end=1'):
        build_runner(tiny_config(tmp_path, param_scheduler=later))


@pytest.mark.parametrize('batch, images, drop_last, said', [
    (1, 16, True, 'batch_size=1'), (1, 16, False, 'raise train_dataloader.batch_size'),
    (5, 16, False, 'drop_last=True'), (15, 16, False, '16 images')])
def test_a_batch_of_one_image_is_refused(batch, images, drop_last, said, tmp_path):
    config = tiny_config(tmp_path)
    config.train_dataloader.update(batch_size=batch, drop_last=drop_last)
    config.train_dataloader.dataset.num_images = images
    with pytest.raises(InputError, match='at least 2 images') as caught:
        build_runner(config).train()
    assert said in str(caught.value) and not list(tmp_path.glob('*.pth'))


@pytest.mark.parametrize('batch, images, drop_last', [(1, 16, True), (1, 16, False), (5, 16, False)])
def test_a_batch_of_one_image_is_refused_of_a_batch_sampler_too(batch, images, drop_last, tmp_path):
    config = tiny_config(tmp_path)
    config.train_dataloader.pop('drop_last')
    config.train_dataloader.update(batch_size=batch, batch_sampler=dict(
        type='torch.utils.data.BatchSampler', drop_last=drop_last))
    config.train_dataloader.dataset.num_images = images
    with pytest.raises(InputError, match='at least 2 images'):
        build_runner(config).train()


@pytest.mark.parametrize('norm', [True, False])
def test_nor_one_for_the_batch_norm_of_a_probe(norm, tmp_path):
    head = dict(type='LinearHead', map_shape=(32, 2, 2), num_classes=10, norm=norm)
    config = tiny_config(tmp_path, model=dict(
        type='Classifier', backbone=dict(type='ResNet', depth=18, base_channels=4, stem='cifar'),
        heads=dict(pooled=head), frozen=True), optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)))
    config.train_dataloader.update(batch_size=15, drop_last=False, collate_fn=dict(type='default_collate'))
    config.train_dataloader.dataset.pipeline = [dict(type='PackImage')]
    runner = build_runner(config)
    if norm:
        with pytest.raises(InputError, match=r'at least 2 images.*the last.*batch norm.*drop_last=True'):
            runner.train()
    else:
        runner.train()
        assert runner.iter == 2


@pytest.mark.parametrize('batch, drop_last', [(5, True), (7, False), (2, False)])
def test_another_last_batch_is_not(batch, drop_last, tmp_path):
    config = tiny_config(tmp_path, default_hooks=dict(checkpoint=None))
    config.train_dataloader.update(batch_size=batch, drop_last=drop_last)
    runner = build_runner(config)
    runner.train()
    assert runner.iter == (16 // batch if drop_last else -(-16 // batch))


@pytest.mark.slow
def test_two_processes_are_both_told(tmp_path):
    """Of two, each may have one image: the batch is of both."""
    cases = [{'train_dataloader.batch_size': 0}, {'default_hooks.logger.interval': 0},
             {'optim_wrapper.clip_grad.max_norm': -1}, {'optim_wrapper.accumulative_counts': 0},
             {'train_dataloader.batch_size': 1}, {'neck.num_layers': 10**9}, {'backbone.norm_eps': -1}]
    told = run_ranks(refusal, 2, str(tmp_path / 'run'), cases, folder=tmp_path / 'ranks')
    assert told[0] == told[1]
    for case, message in zip(cases, told[0], strict=True):
        if case == {'train_dataloader.batch_size': 1}:
            assert message is None
        else:
            (key, value), = case.items()
            assert re.search(key.split('.')[-1].removeprefix('norm_'), message) and str(value) in message
