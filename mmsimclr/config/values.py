"""Values of a config that would fail late, or give wrong numbers in silence."""

import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from mmsimclr.config.errors import ConfigError


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_not_negative(value: Any) -> bool:
    return value == 0 or _is_positive(value)


# Values with which components of MMEngine and torch fail late, with a traceback, or compute something else:
# what accepts them, and how that is said. A value that is not given is the component's own.
COUNT, POSITIVE = (_is_count, 'an integer >= 1'), (_is_positive, 'a number > 0')
NOT_NEGATIVE = (lambda value: value is None or _is_not_negative(value), 'a number >= 0')
# Of a schedule, and of settings by parameter: a rate below 0 goes up the gradient.
SCHEDULE_VALUES = {'gamma': POSITIVE, 'eta_min': NOT_NEGATIVE, 'eta_min_ratio': NOT_NEGATIVE}
_LOADER_VALUES = {
    'batch_size': COUNT,
    'num_workers': (lambda value: value == 0 or _is_count(value), 'an integer >= 0'),
    'prefetch_factor': (lambda value: value is None or _is_count(value), 'an integer >= 1, or None')}
VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **{f'{part}_dataloader.{key}': rule
       for part in ('train', 'val', 'test') for key, rule in _LOADER_VALUES.items()},
    'default_hooks.logger.interval': COUNT,
    'default_hooks.checkpoint.interval': (lambda value: value == -1 or _is_count(value),
                                          'an integer >= 1, or -1 for the end alone'),
    'log_processor.window_size': COUNT,
    'optim_wrapper.accumulative_counts': COUNT,
    # A negative norm turns the gradients round.
    'optim_wrapper.clip_grad.max_norm': POSITIVE,
    'optim_wrapper.clip_grad.clip_value': POSITIVE,
    'optim_wrapper.optimizer.lr': POSITIVE,
    'train_cfg.val_interval': COUNT,
    'auto_scale_lr.base_batch_size': COUNT,
    'env_cfg.dist_cfg.timeout': (lambda value: value is None or _is_positive(value), 'seconds > 0'),
    'randomness.seed': (lambda value: value is None or value == 0 or (_is_count(value) and value < 2**32),
                        'an integer from 0 to 2**32 - 1, or None'),
}


def check_numbers(config: Mapping[str, Any]) -> None:
    """Raise ConfigError at the first number of ``VALUES`` that is not accepted."""
    for place, (accepts, said) in VALUES.items():
        first, *parents, key = place.split('.')
        node = config.get(first)
        for parent in parents:
            node = node.get(parent) if isinstance(node, Mapping) else None
        if isinstance(node, Mapping) and key in node and not accepts(node[key]):
            raise ConfigError(f'{place} must be {said}, got {node[key]!r}')


def check_values(config: Mapping[str, Any]) -> None:
    """Raise ConfigError at such numbers, and at parts of a training that do not fit each other."""
    check_numbers(config)
    for part in ('val', 'test'):
        keys = [f'{part}_{key}' for key in ('dataloader', 'cfg', 'evaluator')]
        given = [key for key in keys if config.get(key) is not None]
        if given and (missing := [key for key in keys if key not in given]):
            raise ConfigError(f'{given[0]} is {reprlib.repr(config[given[0]])}, and {", ".join(missing)} '
                              f'is None: give all of {", ".join(keys)}, or none of them')
    wrapper = config.get('optim_wrapper')
    paramwise = (wrapper.get('paramwise_cfg') or {}) if isinstance(wrapper, Mapping) else {}
    for settings in (paramwise, *(paramwise.get('custom_keys') or {}).values()):
        for key, value in settings.items():
            if key.endswith('_mult') and not NOT_NEGATIVE[0](value):
                raise ConfigError(f'{key} in optim_wrapper.paramwise_cfg must be {NOT_NEGATIVE[1]}, got '
                                  f'{value!r}')
    schedules = config.get('param_scheduler') or ()
    for number, schedule in enumerate([schedules] if isinstance(schedules, Mapping) else schedules):
        if isinstance(schedule, Mapping):
            for key, (accepts, said) in SCHEDULE_VALUES.items():
                if key in schedule and not accepts(schedule[key]):
                    raise ConfigError(f'param_scheduler.{number}.{key} must be {said}, got {schedule[key]!r}')
            length = config['train_cfg'].get('max_epochs') if schedule.get('by_epoch', True) else None
            begin, end = schedule.get('begin', 0), schedule.get('end', length or math.inf)
            if not (isinstance(begin, int | float) and isinstance(end, int | float) and 0 <= begin < end):
                raise ConfigError(f'param_scheduler.{number}.begin must be >= 0 and below its end, by '
                                  f'default that of the run; got begin={begin!r} and end={end!r}')
