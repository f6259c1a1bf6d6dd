"""Checking a config: unknown keys, unknown types, missing keys, and values that would fail late."""

import fnmatch
import inspect
import math
import re
import reprlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import TASK_UTILS, Registry
from mmengine.runner import LogProcessor, Runner

from mmsimclr import registry as ours
from mmsimclr.config.arguments import OWN_PACKAGES, Arguments, arguments_of, package_of, types_of
from mmsimclr.engine import LARSOptimWrapperConstructor
from mmsimclr.errors import ConfigError, nearest_name, raise_unknown
from mmsimclr.models import ResNet


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_not_negative(value: Any) -> bool:
    return value == 0 or _is_positive(value)


# Values with which components of MMEngine and torch fail late, with a traceback, or compute something else:
# what accepts them, and how that is said, by patterns of their places. A value that is not given is the
# component's own.
COUNT, POSITIVE = (_is_count, 'an integer >= 1'), (_is_positive, 'a number > 0')
NOT_NEGATIVE = (lambda value: value is None or _is_not_negative(value), 'a number >= 0')
VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    '*_dataloader.batch_size': COUNT,
    '*_dataloader.num_workers': (lambda value: value == 0 or _is_count(value), 'an integer >= 0'),
    '*_dataloader.prefetch_factor': (lambda value: value is None or _is_count(value),
                                     'an integer >= 1, or None'),
    'default_hooks.logger.interval': COUNT,
    'default_hooks.checkpoint.interval': (lambda value: value == -1 or _is_count(value),
                                          'an integer >= 1, or -1 for the end alone'),
    'log_processor.window_size': COUNT,
    'optim_wrapper.accumulative_counts': COUNT,
    # A negative norm turns the gradients round.
    'optim_wrapper.clip_grad.max_norm': POSITIVE,
    'optim_wrapper.clip_grad.clip_value': POSITIVE,
    'optim_wrapper.optimizer.lr': POSITIVE,
    # A rate below 0 goes up the gradient.
    'optim_wrapper.paramwise_cfg.*_mult': NOT_NEGATIVE,
    'param_scheduler.*gamma': POSITIVE,
    'param_scheduler.*eta_min': NOT_NEGATIVE,
    'param_scheduler.*eta_min_ratio': NOT_NEGATIVE,
    'train_cfg.val_interval': COUNT,
    'auto_scale_lr.base_batch_size': COUNT,
    'env_cfg.dist_cfg.timeout': (lambda value: value is None or _is_positive(value), 'seconds > 0'),
    'randomness.seed': (lambda value: value is None or value == 0 or (_is_count(value) and value < 2**32),
                        'an integer from 0 to 2**32 - 1, or None'),
}


def check_numbers(config: Mapping[str, Any]) -> None:
    """Raise ConfigError at the first number of ``VALUES`` that is not accepted."""
    values = dict(_walk(dict(config.items())))
    for pattern, (accepts, said) in VALUES.items():
        for place in fnmatch.filter(values, pattern):
            if not accepts(values[place]):
                raise ConfigError(f'{place} must be {said}, got {values[place]!r}')


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
    _paramwise(wrapper if isinstance(wrapper, Mapping) else {})          # which refuses what is no dict
    schedules = config.get('param_scheduler') or ()
    for number, schedule in enumerate([schedules] if isinstance(schedules, Mapping) else schedules):
        if isinstance(schedule, Mapping):
            length = config['train_cfg'].get('max_epochs') if schedule.get('by_epoch', True) else None
            begin, end = schedule.get('begin', 0), schedule.get('end', length or math.inf)
            if not (isinstance(begin, int | float) and isinstance(end, int | float) and 0 <= begin < end):
                raise ConfigError(f'param_scheduler.{number}.begin must be >= 0 and below its end, by '
                                  f'default that of the run; got begin={begin!r} and end={end!r}')


def _paramwise(wrapper: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the settings of an optimizer by place: those of all parameters first, then by custom key."""
    place = 'optim_wrapper.paramwise_cfg'
    found = {place: wrapper.get('paramwise_cfg') or {}, f'{place}.custom_keys': {}}
    if isinstance(found[place], Mapping):
        found[f'{place}.custom_keys'] = custom = found[place].get('custom_keys') or {}
        found |= {f'{place}.custom_keys[{key!r}]': settings
                  for key, settings in (custom.items() if isinstance(custom, Mapping) else ())}
    for where, settings in found.items():
        if not isinstance(settings, Mapping):
            raise ConfigError(f'{where} must be a dict, got {settings!r}')
    del found[f'{place}.custom_keys']
    return found


# TASK_UTILS is for components of MMDetection.
REGISTRIES = (*(value for value in vars(ours).values() if isinstance(value, Registry)), TASK_UTILS)
# Top-level keys that something reads; the last three are a benchmark's.
RUNNER_KEYS = {
    *inspect.signature(Runner.__init__).parameters, 'default_hooks', 'runner_type', 'custom_imports',
    'sync_bn', 'compile', 'graph', 'gradients', 'find_unused_parameters', 'activation_checkpointing',
    'efficient_conv_bn_eval', 'model_wrapper_cfg', 'num_workers', 'views', 'bad_images', 'protocol',
    'random_encoder', 'dataset_name',
} - {'self', 'cfg'}
PARTS_OF_DATA = {'train', 'val', 'test', 'trainval'}        # which may be numbers elsewhere
PLAIN_VALUES = (int, float, str, type(None), list, tuple, Mapping)
TRAINING_KEYS = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper')


# Sections and keys that no signature has; the file says what each part of it is.
_TABLE = yaml.safe_load(Path(__file__).with_name('sections.yml').read_text(encoding='utf-8'))
_SECTIONS = {place: Arguments(frozenset(' '.join(keys.values()).split()),
                              frozenset(keys.get('required', '').split()))
             for place, keys in _TABLE.pop('sections').items()}
_KEYS = {part: frozenset(keys.split()) for part, keys in _TABLE.items()}
_DEFAULT_TYPES = {'optim_wrapper': OptimWrapper, 'log_processor': LogProcessor, 'random_encoder': ResNet}


def check_config(config: Mapping[str, Any]) -> None:
    """Check every key and every type name of a config; raise ConfigError at the first that is wrong.

    The keys of a component are the arguments that its signature names. It checks their values when built.
    Checked here are those that no component of ours takes: sections that are no dict, and ``VALUES``.
    """
    check_variables(config)
    given: set[str] = set()
    if isinstance(protocol := config.get('protocol'), Mapping):
        given = _KEYS['of_encoder'] | ({'dataset'} if 'tasks' in protocol else set())
    elif 'optim_wrapper' not in config:                         # nothing is trained
        given = {'sampler', 'batch_size'}
    for key in sorted(RUNNER_KEYS & set(config), key=lambda key: (key != 'protocol', key)):
        _check(config[key], key, OWN_PACKAGES[0], given)
    check_numbers(config)


def check_variables(config: Mapping[str, Any]) -> None:
    """Raise ConfigError at a top-level name that nothing reads and that is no variable of the file.

    A variable is a plain value, a part that occurs elsewhere in the config, a hook, dataset or transform that
    the file does not use, or a name that begins with an underscore.
    """
    known = {key: value for key, value in config.items() if key in RUNNER_KEYS}
    for key, value in config.items():
        if key in known or key.startswith('_') or callable(value) or inspect.ismodule(value):
            continue
        if isinstance(value, Mapping | list | tuple) and any(_equal(value, part) for _, part in _walk(known)):
            continue
        if nearest_name(key, RUNNER_KEYS, cutoff=0.8) or (
                isinstance(value, Mapping) and not _is_part_on_offer(value)):
            raise_unknown(key, '', RUNNER_KEYS)


def check_trains(config: Mapping[str, Any]) -> None:
    """Raise ConfigError if a config lacks a part that training needs."""
    if lacking := [key for key in TRAINING_KEYS if not config.get(key)]:
        raise ConfigError(f'a config that trains needs {", ".join(TRAINING_KEYS)}, and this one lacks '
                          f'{", ".join(lacking)}')
    _check_pipeline(config['train_dataloader'].get('dataset'), 'train_dataloader.dataset')


def check_option(key: str, config: Mapping[str, Any], short_names: Collection[str] = ()) -> None:
    """Raise ConfigError at an option that would change nothing; it says what to override instead."""
    root, read = key.split('.')[0], {name: value for name, value in config.items() if name in RUNNER_KEYS}
    if root in RUNNER_KEYS:
        return
    if root not in config and root in short_names:
        raise ConfigError(f'{root!r} is a short name, which takes one value, {root}=VALUE; for {key} '
                          'override what it stands for')
    if root not in config:
        raise_unknown(root, '', {*RUNNER_KEYS, *short_names})
    places = [place for place, value in _walk(read) if _equal(value, config[root])
              and (_last_key(place).endswith(root) or isinstance(value, Mapping))]
    raise ConfigError(f'{root!r} is a variable of the config file, and nothing reads it once the file is '
                      f'loaded; override what was made of it: {", ".join(places[:4]) or "nothing was"}')


def _check(node: Any, place: str, owner: str, given: set[str]) -> None:
    """Check a part of a config; ``owner`` is the package of the component that takes it."""
    for index, item in enumerate(node if isinstance(node, list | tuple) else ()):
        _check(item, f'{place}[{index}]', owner, given)
    key, section = _last_key(place), _SECTIONS.get(re.sub(r'\[\d+\]$', '[]', place))
    if not isinstance(node, Mapping):
        _check_is_dict(node, place, section)
        is_part = owner in OWN_PACKAGES and key in _KEYS['components'] - PARTS_OF_DATA
        if is_part and isinstance(node, int | float):
            raise ConfigError(f'{place} must be a dict of a component, or a list of such; got {node!r}')
        return
    if key in _KEYS['unchecked']:
        return
    types: Mapping[str, Any] = {}
    if section and ('type' not in node or 'type' in section.names):
        arguments = section
    elif component := _component_of(node, place, owner):
        arguments, owner, types = arguments_of(component), package_of(component), types_of(component)
        if getattr(component, '__name__', '') in ('Albu', 'Albumentations'):     # names of that package
            node = {**node, 'transforms': None}
    elif 'type' in node:
        return
    else:
        arguments = Arguments(frozenset(), takes_others=True)
    if key in ('sampler', 'batch_sampler'):
        given = given | _KEYS['of_samplers']
    for name in set(node) - _KEYS['hooks_of_mmengine'] if place == 'default_hooks' else ():
        if nearest_name(name, _KEYS['hooks_of_mmengine'], cutoff=0.8):
            raise_unknown(name, place, _KEYS['hooks_of_mmengine'])
    for name, value in node.items():
        if name not in arguments.names and name not in ('type', '_scope_') and not arguments.takes_others:
            raise_unknown(name, place, {'type', *arguments.names})
        accepted, said = types.get(name, ((object,), ''))
        # True is an integer to Python only; None may stand for what a benchmark takes from the encoder.
        fits = isinstance(value, accepted) if not isinstance(value, bool) else {bool, object} & {*accepted}
        if isinstance(value, PLAIN_VALUES) and not fits and not (value is None and given):
            raise ConfigError(f'{place}.{name} must be {said}, got {value!r}')
        _check(value, f'{place}.{name}', owner, given)
    # Norms and the like are given the rest by those who build them.
    lacking = sorted(arguments.required - set(node) - given)
    if lacking and (section or not key.endswith('_cfg')):
        raise ConfigError(f'{place} lacks {", ".join(lacking)}; it has {", ".join(node) or "nothing"}')
    if key in ('bank', 'queries') and owner in OWN_PACKAGES:
        _check_pipeline(node, place)
    if place == 'optim_wrapper':
        _check_paramwise(node)


def _check_is_dict(value: Any, place: str, section: Arguments | None) -> None:
    """Raise ConfigError at a plain value or a list in the place of a dict."""
    items = _SECTIONS.get(f'{place}[]')
    is_dict = section or place in _KEYS['dicts'] or place.rpartition('.')[0] == 'default_hooks'
    if value is None or not (is_dict or items) or (items and isinstance(value, list | tuple)):
        return
    names = f' with {", ".join(sorted((section or items).names))}' if section or items else ''
    kind = 'a list of dicts' if items else 'a dict'
    raise ConfigError(f'{place} must be {kind}{names}, or None; got {value!r}')


def _component_of(node: Mapping[str, Any], place: str, owner: str) -> Any:
    """Return the class or function that a dict describes; None for a plain dict and one of unknown type."""
    key, parent = _last_key(place), _last_key(place.rpartition('.')[0])
    is_own = owner in OWN_PACKAGES
    if node.get('type') is not None:
        # Norms, activations and operations of other packages are not all registered.
        return _resolve(node['type'], place, must_be_known=is_own and not key.endswith('_cfg'))
    by_name = _KEYS['components_by_name']
    is_component = key in _KEYS['components'] and (key not in by_name or place.endswith(']')) \
        and place != 'data_preprocessor'                        # whose type the model may know
    if is_own and (is_component or parent in by_name):
        raise ConfigError(f'{place} lacks type: it must be the class of what is to be built, or its '
                          f'registered name; got {", ".join(node) or "an empty dict"}')
    return _DEFAULT_TYPES.get(place)


def _resolve(name: Any, place: str, must_be_known: bool = True) -> Any:
    """Return the component of a type; None if it is unknown and need not be known."""
    if callable(name):
        return name
    if not isinstance(name, str):
        raise ConfigError(f'{place}.type must be a class or its registered name, got {name!r}')
    for registry in REGISTRIES:
        if component := registry.get(name):
            return component
    scope, names = name.rpartition('.')[0], set()
    for registry in REGISTRIES:
        parent = registry.parent or registry
        if not scope:
            names |= {*registry.module_dict, *parent.module_dict}
        elif scope in parent.children:
            names |= {f'{scope}.{known}' for known in parent.children[scope].module_dict}
    if must_be_known or (scope and names):                      # names: of an installed package
        raise_unknown(name, f'{place}.type', names, what='type')
    return None


def _check_pipeline(dataset: Any, place: str) -> None:
    """Refuse a dataset that takes a ``pipeline`` and is given none."""
    if not isinstance(dataset, Mapping) or {'pipeline', 'dataset', 'datasets'} & set(dataset):
        return
    component = _resolve(dataset.get('type'), place)
    parameter = inspect.signature(component).parameters.get('pipeline')
    if 'pipeline' in arguments_of(component).names and (parameter is None or not parameter.default):
        raise ConfigError(f'{place} lacks pipeline: it must be a list of transforms, the last of which packs '
                          '(PackViews, PackImage)')


def _check_paramwise(wrapper: Mapping[str, Any]) -> None:
    """Check the settings by parameter; other constructors than MMEngine's and ours may take any."""
    constructor = wrapper.get('constructor') or DefaultOptimWrapperConstructor
    known = (DefaultOptimWrapperConstructor, LARSOptimWrapperConstructor)
    if _resolve(constructor, 'optim_wrapper.constructor') not in known:
        return
    of_optimizer = {'lr_mult', 'decay_mult'}
    if isinstance(optimizer := wrapper.get('optimizer'), Mapping) and 'type' in optimizer:
        of_optimizer |= arguments_of(_resolve(optimizer['type'], 'optim_wrapper.optimizer')).names
    for number, (place, settings) in enumerate(_paramwise(wrapper).items()):
        known = of_optimizer if number else _KEYS['paramwise']
        for name in set(settings) - known:
            raise_unknown(name, place, known)


def _is_part_on_offer(node: Mapping) -> bool:
    """Whether a dict describes a hook, a dataset or a transform: a base may offer it and a leaf leave it."""
    kind = node.get('type')
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', None)
    registered = [registry.get(name) for registry in (ours.HOOKS, ours.DATASETS, ours.TRANSFORMS) if name]
    return any(each is not None and kind in (name, each) for each in registered)


def _equal(left: Any, right: Any) -> bool:
    try:
        return bool(left == right)
    except (RuntimeError, TypeError, ValueError):        # arrays and the like
        return left is right


def _walk(node: Any, place: str = '') -> Iterator[tuple[str, Any]]:
    """Yield everything below a part of a config, with its place."""
    if not isinstance(node, Mapping | list | tuple):
        return
    for key, child in node.items() if isinstance(node, Mapping) else enumerate(node):
        child_place = f'{place}.{key}'.lstrip('.')
        yield child_place, child
        yield from _walk(child, child_place)


def _last_key(place: str) -> str:
    return place.rpartition('.')[2].partition('[')[0]
