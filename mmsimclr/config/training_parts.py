"""The parts that a config needs to train."""

import inspect
from collections.abc import Mapping
from typing import Any

from mmsimclr.config.arguments import arguments_of
from mmsimclr.config.component_types import resolve
from mmsimclr.config.errors import ConfigError

_TRAINING = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper')


def check_trains(config: Mapping[str, Any]) -> None:
    """Raise ConfigError if a config lacks a part that training needs, or a number is out of range."""
    lacking = [key for key in _TRAINING if not config.get(key)]
    if lacking:
        raise ConfigError(f'a config that trains needs {", ".join(_TRAINING)}, and this one lacks '
                          f'{", ".join(lacking)}')
    check_pipeline(config['train_dataloader'].get('dataset'), 'train_dataloader.dataset')
    _check_numbers(config)


def _check_numbers(config: Mapping[str, Any]) -> None:
    """Refuse numbers that torch and NumPy would refuse from the depths."""
    for key, least, most in (('train_dataloader.batch_size', 1, None),
                             ('train_dataloader.num_workers', 0, None), ('randomness.seed', 0, 2**32 - 1),
                             ('train_cfg.max_epochs', 1, None), ('train_cfg.max_iters', 1, None)):
        section, _, name = key.partition('.')
        value = (config.get(section) or {}).get(name)
        if isinstance(value, int) and (value < least or (most is not None and value > most)):
            raise ConfigError(f'{key} must be >= {least}' + (f' and <= {most}' if most else '')
                              + f', got {value}')


def check_pipeline(dataset: Any, place: str) -> None:
    """Refuse a dataset that would make its items into a model's inputs, and is not told how.

    Args:
        dataset: Its config.
        place: Where it is in the config.

    Raises:
        ConfigError: If it takes a ``pipeline`` and is given none.
    """
    if not isinstance(dataset, Mapping) or {'pipeline', 'dataset', 'datasets'} & set(dataset) \
            or dataset.get('type') is None:
        return
    component = resolve(dataset['type'], place)
    parameter = inspect.signature(component).parameters.get('pipeline')
    if 'pipeline' in arguments_of(component)[0] and (parameter is None or not parameter.default):
        raise ConfigError(f'{place} lacks pipeline: it must be a list of transforms, the last of which packs '
                          '(PackViews, PackImage)')
