"""Each key of a config dropped, misspelled or of another kind: refused by name, before any data is read."""

import re
from pathlib import Path

import pytest
from config_mutations import answers, plain
from leaves import CONFIGS

from mmsimclr.config import ConfigError, check_config, load_config

FUZZED = ['simclr/simclr_resnet50_8xb32-coslr-200e_in1k', 'simclr/simclr_resnet18-w16_1xb128-coslr-5e_shapes',
          'simclr/simclr_resnet50_1xb256-coslr-200e_folder',
          'benchmarks/classification/linear_1xb128-coslr-5e_shapes',
          'benchmarks/classification/semi-10pct_1xb32-coslr-20e_shapes',
          'benchmarks/classification/knn_shapes', 'benchmarks/classification/low-shot-svm_shapes',
          'benchmarks/classification/transfer-linear_shapes']
# Names that a user chooses: of heads, of parameters, of further hooks.
CHOSEN = re.compile(r'model\.heads\.\w+|.*\.custom_keys\..*|default_hooks\.preemption')


def loaded(name: str) -> dict:
    return plain(dict(load_config(CONFIGS / f'{name}.py').items()))


@pytest.fixture(scope='module', params=FUZZED, ids=lambda name: Path(name).stem)
def answered(request):
    return list(answers(loaded(request.param)))


def test_whatever_is_wrong_is_refused_by_the_projects_own_error(answered):
    assert len(answered) > 50
    failed = [(mutation, error) for mutation, error in answered
              if error is not None and not isinstance(error, ConfigError)]
    assert not failed


def test_no_misspelled_key_passes_and_the_message_names_it_and_the_right_one(answered):
    for mutation, error in answered:
        if mutation.kind != 'misspell' or CHOSEN.fullmatch(mutation.place):
            continue
        key = mutation.place.rpartition('.')[2]
        assert error is not None, f'{mutation} passed'
        assert key in str(error), f'{mutation}: {error}'


def test_no_value_of_another_kind_passes_and_the_message_names_its_place(answered):
    for mutation, error in answered:
        if mutation.kind == 'retype':
            assert error is not None, f'{mutation} passed'
            names = [part for part in mutation.place.split('.') if not part.isdigit()]
            assert names[-1] in str(error), f'{mutation}: {error}'


REQUIRED = ['model.type', 'model.backbone', 'model.neck.in_channels', 'model.head',
            'train_dataloader.dataset', 'train_dataloader.sampler', 'train_dataloader.batch_size',
            'train_dataloader.dataset.type',
            'optim_wrapper.optimizer', 'optim_wrapper.optimizer.type', 'train_cfg.max_epochs',
            'param_scheduler.0.type', 'custom_hooks.2.bank', 'randomness.seed',
            'train_dataloader.dataset.pipeline.0.transforms', 'auto_scale_lr.base_batch_size']


def test_a_missing_key_that_nothing_can_do_without_is_named(answered):
    dropped = {mutation.place: error for mutation, error in answered if mutation.kind == 'drop'}
    for place in set(REQUIRED) & set(dropped):
        if place == 'model.backbone' and 'protocol' in dropped:
            continue                                              # the encoder is the checkpoint's
        assert dropped[place] is not None, f'a config without {place} passed'
        assert place.rpartition('.')[2] in str(dropped[place])


def test_every_required_key_was_tried():
    places = {mutation.place for mutation, _ in answers(loaded(FUZZED[1]))}
    assert set(REQUIRED) <= places


@pytest.mark.parametrize(('path', 'value', 'message'), [
    ('train_dataloader.batch_size', '128', r"train_dataloader\.batch_size must be an integer, got '128'"),
    ('train_cfg.max_epochs', 5.5, r'train_cfg\.max_epochs must be an integer, got 5\.5'),
    ('optim_wrapper.optimizer.lr', '0.3', r"optim_wrapper\.optimizer\.lr must be a number.*, got '0\.3'"),
    ('model.head.temperature', None, r'model\.head\.temperature must be a number, got None'),
    ('model.backbone.norm_eval', 1, r'model\.backbone\.norm_eval must be True or False, got 1'),
    ('model.neck', None, r'model\.neck must be a dict, got None'),
    ('log_level', 'loud', r"log_level must be 'DEBUG' or 'INFO' or .*, got 'loud'"),
    ('model.backbone.type', 7, r'model\.backbone\.type must be a class or its registered name, got 7'),
    ('custom_hooks', dict(type='FiniteLossHook'), r'custom_hooks must be a list'),
])
def test_messages_say_what_was_received_and_what_is_accepted(path, value, message):
    config = loaded(FUZZED[1])
    node = config
    *parents, key = path.split('.')
    for parent in parents:
        node = node[parent]
    node[key] = value
    with pytest.raises(ConfigError, match=message):
        check_config(config)


@pytest.mark.parametrize(('path', 'value'), [
    ('train_dataloader.batch_sampler', None), ('optim_wrapper.optimizer.lr', 1),
    ('model.backbone.out_indices', [3]), ('model.init_cfg', None), ('load_from', 'epoch_1.pth'),
    ('randomness.seed', None), ('custom_hooks', []), ('compile', dict(mode='default')),
    ('optim_wrapper.clip_grad', dict(type='value', clip_value=1.0)),
    ('model.neck.norm_cfg', dict(type='BN1d', momentum=0.1, requires_grad=True)),
    ('data_preprocessor', dict(mean=[0., 0., 0.])),
])
def test_what_mmengine_accepts_is_accepted(path, value):
    config = loaded(FUZZED[1])
    node = config
    *parents, key = path.split('.')
    for parent in parents:
        node = node[parent]
    node[key] = value
    check_config(config)
