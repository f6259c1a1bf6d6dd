"""Each key of a config dropped or misspelled: refused by name, before any data is read."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from leaves import CONFIGS

from mmsimclr.config import ConfigError, check_config, load_config

FUZZED = [
    'simclr/simclr_resnet18-w16_1xb128-coslr-5e_shapes', 'simclr/simclr_resnet50_1xb256-coslr-200e_folder',
    'benchmarks/classification/semi-10pct_1xb32-coslr-20e_shapes',
    'benchmarks/classification/knn_shapes', 'benchmarks/classification/transfer-linear_shapes']
# Names that a user chooses: of heads, of parameters, of further hooks; and changes to another dataset's
# config, which that dataset refuses when the run starts.
CHOSEN = re.compile(
    r'model\.heads\.\w+|.*\.custom_keys\..*|default_hooks\.preemption|custom_hooks\.\d+\.held_out\..*')


def plain(node: Any) -> Any:
    """Return a loaded config as dicts and lists, its types as classes."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.items()}
    return [plain(value) for value in node] if isinstance(node, list | tuple) else node


def mutations(config: dict | list, place: str = '') -> Iterator[tuple[str, str]]:
    """Drop and misspell one key of a config after another, in place, and undo it when the next is asked for.

    Yields:
        'drop' or 'misspell', and the key, dotted.
    """
    for key, value in list(config.items() if isinstance(config, dict) else enumerate(config)):
        here = f'{place}.{key}'.lstrip('.')
        if isinstance(config, dict):
            del config[key]
            yield 'drop', here
            config[f'{key}x'] = value
            yield 'misspell', here
            del config[f'{key}x']
            config[key] = value
        if isinstance(value, dict | list):
            yield from mutations(value, here)


def answers(config: dict) -> Iterator[tuple[str, str, Exception | None]]:
    """Yield each mutation of a config with what the check raised at it."""
    check_config(config)
    for kind, place in mutations(config):
        try:
            check_config(config)
        except Exception as error:
            yield kind, place, error
        else:
            yield kind, place, None


@pytest.fixture(scope='module', params=FUZZED, ids=lambda name: Path(name).stem)
def answered(request):
    return list(answers(plain(dict(load_config(CONFIGS / f'{request.param}.py').items()))))


@pytest.mark.slow
def test_a_misspelled_key_is_refused_by_the_projects_own_error_that_names_it(answered):
    assert len(answered) > 30
    for kind, place, error in answered:
        assert error is None or isinstance(error, ConfigError), f'{kind} {place}: {error!r}'
        if kind == 'misspell' and not CHOSEN.fullmatch(place):
            assert error is not None, f'{place} passed misspelled'
            assert place.rpartition('.')[2] in str(error), f'{place}: {error}'


REQUIRED = ['model.type', 'model.backbone', 'model.neck', 'model.neck.type',
            'train_dataloader.dataset', 'train_dataloader.sampler', 'train_dataloader.batch_size',
            'train_dataloader.dataset.type', 'optim_wrapper.optimizer', 'optim_wrapper.optimizer.type',
            'train_cfg.max_epochs', 'param_scheduler.0.type', 'custom_hooks.2.bank', 'randomness.seed',
            'train_dataloader.dataset.pipeline.0.transforms', 'auto_scale_lr.base_batch_size']


@pytest.mark.slow
def test_a_missing_key_that_nothing_can_do_without_is_named(answered):
    dropped = {place: error for kind, place, error in answered if kind == 'drop'}
    is_pretraining = 'protocol' not in dropped
    assert not is_pretraining or len(set(REQUIRED) & set(dropped)) >= len(REQUIRED) - 2
    for place in set(REQUIRED) & set(dropped):
        if place != 'model.backbone' or is_pretraining:           # otherwise it is the checkpoint's
            assert dropped[place] is not None, f'a config without {place} passed'
            assert place.rpartition('.')[2] in str(dropped[place])
