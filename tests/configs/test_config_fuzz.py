"""Each key of a config dropped or misspelled: refused by name, before any data is read."""

import re
from pathlib import Path

import pytest
from config_mutations import answers, plain
from leaves import CONFIGS

from mmsimclr.config import ConfigError, load_config

FUZZED = [
    'simclr/simclr_resnet18-w16_1xb128-coslr-5e_shapes', 'simclr/simclr_resnet50_1xb256-coslr-200e_folder',
    'benchmarks/classification/semi-10pct_1xb32-coslr-20e_shapes',
    'benchmarks/classification/knn_shapes', 'benchmarks/classification/transfer-linear_shapes']
# Names that a user chooses: of heads, of parameters, of further hooks.
CHOSEN = re.compile(r'model\.heads\.\w+|.*\.custom_keys\..*|default_hooks\.preemption')


@pytest.fixture(scope='module', params=FUZZED, ids=lambda name: Path(name).stem)
def answered(request):
    return list(answers(plain(dict(load_config(CONFIGS / f'{request.param}.py').items()))))


@pytest.mark.slow
def test_a_misspelled_key_is_refused_by_the_projects_own_error_that_names_it(answered):
    assert len(answered) > 50
    for kind, place, error in answered:
        assert error is None or isinstance(error, ConfigError), f'{kind} {place}: {error!r}'
        if kind == 'misspell' and not CHOSEN.fullmatch(place):
            assert error is not None, f'{place} passed misspelled'
            assert place.rpartition('.')[2] in str(error), f'{place}: {error}'


REQUIRED = ['model.type', 'model.backbone', 'model.neck.in_channels', 'model.head',
            'train_dataloader.dataset', 'train_dataloader.sampler', 'train_dataloader.batch_size',
            'train_dataloader.dataset.type', 'optim_wrapper.optimizer', 'optim_wrapper.optimizer.type',
            'train_cfg.max_epochs', 'param_scheduler.0.type', 'custom_hooks.2.bank', 'randomness.seed',
            'train_dataloader.dataset.pipeline.0.transforms', 'auto_scale_lr.base_batch_size']


@pytest.mark.slow
def test_a_missing_key_that_nothing_can_do_without_is_named(answered):
    dropped = {place: error for kind, place, error in answered if kind == 'drop'}
    is_pretraining = 'protocol' not in dropped
    assert not is_pretraining or len(set(REQUIRED) & set(dropped)) >= len(REQUIRED) - 1
    for place in set(REQUIRED) & set(dropped):
        if place != 'model.backbone' or is_pretraining:           # otherwise it is the checkpoint's
            assert dropped[place] is not None, f'a config without {place} passed'
            assert place.rpartition('.')[2] in str(dropped[place])
