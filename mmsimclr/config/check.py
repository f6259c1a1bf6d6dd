"""Checking a config: unknown keys, unknown types and missing keys."""

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, get_args

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import TASK_UTILS, Registry
from mmengine.runner import LogProcessor, Runner

from mmsimclr import registry as ours
from mmsimclr.config.arguments import Argument, arguments_of, arguments_of_call, in_words, package_of
from mmsimclr.config.errors import ConfigError, raise_unknown
from mmsimclr.engine import LARSOptimWrapperConstructor
from mmsimclr.models import ResNet

REGISTRIES: tuple[Registry, ...] = (
    *(value for value in vars(ours).values() if isinstance(value, Registry)), TASK_UTILS)     # mmdet's


def resolve(name: Any, place: str, is_optional: bool = False) -> Any:
    """Return the component that a type stands for.

    Args:
        name: A class or a registered name.
        place: Where it is in the config.
        is_optional: Whether an unknown name is None rather than an error.

    Raises:
        ConfigError: If it is neither, or the name is unknown; it suggests the nearest.
    """
    if callable(name):
        return name
    if not isinstance(name, str):
        raise ConfigError(f'{place}.type must be a class or its registered name, got {name!r}')
    for registry in REGISTRIES:
        component = registry.get(name)
        if component is not None:
            return component
    if is_optional:
        return None
    scope = name.rpartition('.')[0]
    names = set()
    for registry in REGISTRIES:
        parent = registry.parent
        if scope and parent:
            sibling = parent.children.get(scope)
            names |= {f'{scope}.{known}' for known in (sibling.module_dict if sibling else ())}
        elif not scope:
            names |= {*registry.module_dict, *(parent.module_dict if parent else ())}
    raise_unknown(name, f'{place}.type', names, what='type')


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


def check_variable(key: str, value: Any, known: Mapping[str, Any], runner_keys: Collection[str]) -> None:
    """Refuse a variable that was surely meant to be read.

    Args:
        key: Its name.
        value: Its value.
        known: The part of the config that is read.
        runner_keys: Names of all that is read.

    Raises:
        ConfigError: If it is a dict that occurs nowhere in what is read and is no part on offer, or its name
            resembles one that is read.
    """
    if callable(value) or inspect.ismodule(value):        # what the config imported
        return
    used = any(_equal(value, node) for node in _nodes(known.values()))
    resembles_known = bool(difflib.get_close_matches(key, runner_keys, n=1, cutoff=0.8))
    if isinstance(value, Mapping):
        refused = not used and (resembles_known or not _is_part_on_offer(value))
    elif isinstance(value, list | tuple):
        refused = resembles_known and not used
    else:
        refused = resembles_known
    if refused:
        raise_unknown(key, '', runner_keys)


def _is_part_on_offer(node: Mapping) -> bool:
    """Whether a dict describes a hook, a dataset or a transform: a base may offer it and a leaf leave it."""
    kind = node.get('type')
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', None)
    return name is not None and any(
        registry.get(name) is not None and (kind == name or registry.get(name) is kind)
        for registry in (ours.HOOKS, ours.DATASETS, ours.TRANSFORMS))


def _equal(left: Any, right: Any) -> bool:
    try:
        return bool(left == right)
    except (RuntimeError, TypeError, ValueError):        # arrays and the like
        return left is right


def _nodes(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        yield value
        if isinstance(value, Mapping):
            yield from _nodes(value.values())
        elif isinstance(value, list | tuple):
            yield from _nodes(value)


def find_places(name: str, value: Any, node: Any, place: str = '') -> list[str]:
    """Return where in a config a variable went: entries of its name, and parts equal to it if a dict."""
    items = node.items() if isinstance(node, Mapping) else \
        enumerate(node) if isinstance(node, list | tuple) else ()
    found = []
    for key, child in items:
        child_place = f'{place}.{key}'.lstrip('.')
        if (key == name or isinstance(value, Mapping)) and _equal(child, value):
            found.append(child_place)
        else:
            found += find_places(name, value, child, child_place)
    return found


def _section(required: str = '', **annotations: Any) -> dict[str, Argument]:
    return {name: Argument(annotation, name in required.split()) for name, annotation in annotations.items()}


_LOADER = _section(
    'dataset sampler batch_size', dataset=dict, sampler=dict, batch_size=int, num_workers=int,
    batch_sampler=dict | None, collate_fn=Callable, pin_memory=bool, drop_last=bool, timeout=float,
    worker_init_fn=dict, multiprocessing_context=str | None, prefetch_factor=int | None,
    persistent_workers=bool, pin_memory_device=str, in_order=bool, num_batch_per_epoch=int)
PARAMWISE_CFG = _section(
    custom_keys=dict, bias_lr_mult=float, bias_decay_mult=float, norm_decay_mult=float, flat_decay_mult=float,
    dwconv_decay_mult=float, dcn_offset_lr_mult=float, bypass_duplicate=bool)
_PROPOSALS = _section('nms', nms_pre=int, max_per_img=int, nms=dict, min_bbox_size=float)
SECTIONS: dict[str, dict[str, Argument]] = {
    'train_dataloader': _LOADER, 'val_dataloader': _LOADER, 'test_dataloader': _LOADER,
    'train_cfg': _section('by_epoch', by_epoch=bool, max_epochs=int, max_iters=int, val_begin=int,
                          val_interval=int, dynamic_intervals=list | None),
    'bad_images': _section('max_fraction', max_fraction=float),
    'val_cfg': _section(fp16=bool), 'test_cfg': _section(fp16=bool),
    'randomness': _section('seed', seed=int | None, diff_rank_seed=bool, deterministic=bool),
    'env_cfg': _section(cudnn_benchmark=bool, mp_cfg=dict, dist_cfg=dict, resource_limit=int),
    'env_cfg.mp_cfg': _section(mp_start_method=Literal['fork', 'spawn', 'forkserver'],
                               opencv_num_threads=int),
    'env_cfg.dist_cfg': _section(backend=str, timeout=float, init_backend=str, init_method=str, port=int),
    'auto_scale_lr': _section('base_batch_size', base_batch_size=int, enable=bool,
                              rule=Literal['linear', 'sqrt', 'none']),
    'custom_imports': _section('imports', imports=str | list, allow_failed_imports=bool),
    'log_processor.custom_cfg': _section('data_src method_name', data_src=str, method_name=str, log_name=str,
                                         window_size=int | Literal['epoch', 'global']),
    'optim_wrapper.clip_grad': _section(
        type=Literal['norm', 'value'], max_norm=float, norm_type=float | str, clip_value=float,
        error_if_nonfinite=bool, foreach=bool | None),
    # Of mmdet's two-stage detectors.
    'model.train_cfg.rpn': _section('assigner sampler', assigner=dict, sampler=dict, allowed_border=float,
                                    pos_weight=float, debug=bool),
    'model.train_cfg.rpn_proposal': _PROPOSALS, 'model.test_cfg.rpn': _PROPOSALS,
    'model.train_cfg.rcnn': _section('assigner sampler', assigner=dict, sampler=dict, mask_size=int | list,
                                     pos_weight=float, debug=bool),
    'model.test_cfg.rcnn': _section('nms', score_thr=float, nms=dict, max_per_img=int,
                                    mask_thr_binary=float),
}
# What is built from a dict without a type.
DEFAULT_TYPES = {'optim_wrapper': OptimWrapper, 'log_processor': LogProcessor, 'encoder': ResNet}
TOP_LEVEL: dict[str, Argument] = {
    **{name: Argument(argument.annotation)
       for name, argument in arguments_of_call(Runner.__init__)[0].items() if name not in ('self', 'cfg')},
    **_section(
        default_scope=str | None, default_hooks=dict | None, runner_type=type, custom_imports=dict | None,
        sync_bn=Literal['torch', 'mmcv'] | None, compile=bool | dict, find_unused_parameters=bool,
        activation_checkpointing=Any,
        efficient_conv_bn_eval=Any, model_wrapper_cfg=dict | None,
        launcher=Literal['none', 'pytorch', 'slurm', 'mpi'],
        log_level=Literal['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'],
        # Of a benchmark: how the encoder is measured, what it is if it is to be random, and on which data.
        protocol=dict | None, encoder=dict | None, dataset_name=str | None, num_workers=int,
        views=Literal['loader', 'device'], bad_images=dict),
}


RUNNER_KEYS = {*TOP_LEVEL}
# Where a dict, or each dict of a list, describes what is built from it, so that it needs a type.
_COMPONENTS = {
    'model', 'backbone', 'neck', 'head', 'heads', 'loss', 'data_preprocessor', 'dataset', 'datasets',
    'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn', 'pipeline', 'transforms', 'optimizer',
    'param_scheduler', 'default_hooks', 'custom_hooks', 'bank', 'queries', 'classifier', 'visualizer',
    'vis_backends',
    'val_evaluator', 'test_evaluator', 'protocol', 'init_cfg',
    # Of mmdet and mmseg.
    'rpn_head', 'roi_head', 'shared_head', 'bbox_head', 'mask_head', 'decode_head', 'auxiliary_head',
    'bbox_roi_extractor', 'mask_roi_extractor', 'roi_layer', 'anchor_generator', 'bbox_coder', 'loss_cls',
    'loss_bbox', 'loss_mask', 'loss_decode', 'assigner', 'nms',
}
# Dicts of components, by names that the user chooses.
_COMPONENTS_BY_NAME = {'heads', 'default_hooks'}
_DATASETS_OF_PROTOCOLS = {'train', 'val', 'test', 'trainval'}
_PLAIN = str | bool | int | float
# MMEngine's own hooks.
_STANDARD_HOOKS = {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'}
# What protocols fill into the model they train.
_OF_ENCODER = frozenset({'backbone', 'num_classes', 'map_shape', 'in_channels', 'feat_channels',
                         'out_channels', 'featmap_strides', 'strides'})
# Dicts below these keys belong to the component that takes them.
_OPAQUE = ('metainfo', 'init_kwargs', 'paramwise_cfg', 'custom_keys', 'override')
# Whose transforms are Albumentations' own.
_OF_ALBUMENTATIONS = ('Albu', 'Albumentations')
# Looked up by name in mmcv.ops, not in a registry.
_OPS = ('nms', 'roi_layer')
_OF_SAMPLERS = frozenset({'dataset', 'seed', 'sampler', 'batch_size'})


def check_config(config: Mapping[str, Any]) -> None:
    """Check every key, every type name and every value's kind in a whole config.

    A component's arguments are those of its signature: unknown names are refused, missing ones that have no
    default, and values that its annotations exclude.

    The file's own variables are looked at as by :func:`check_variables`.

    Args:
        config: The loaded config, types as classes or as strings.

    Raises:
        ConfigError: At the first unknown key or type, with its place and the nearest known name; at the first
            missing key or value of a wrong kind, with its place and what is accepted.
    """
    check_variables(config)
    known = {key: value for key, value in config.items() if key in RUNNER_KEYS}
    given = _filled_in(config)
    for key, value in sorted(known.items(), key=lambda item: item[0] != 'protocol'):      # what it fills in
        _check_argument(value, key, TOP_LEVEL[key], given)


def check_variables(config: Mapping[str, Any]) -> None:
    """Refuse a top-level name that nothing reads and that is no variable of the file.

    A variable is a plain value, a part that occurs elsewhere in the config (configs build on such variables),
    or a hook, dataset or transform that a base offers and the leaf leaves, or it begins with an underscore.

    Raises:
        ConfigError: At the first other name.
    """
    known = {key: value for key, value in config.items() if key in RUNNER_KEYS}
    for key, value in config.items():
        if key not in RUNNER_KEYS and not key.startswith('_'):
            check_variable(key, value, known, RUNNER_KEYS)


def _filled_in(config: Mapping[str, Any]) -> frozenset[str]:
    """Return the arguments that need not be given: a protocol fills them in, or nothing is trained."""
    protocol = config.get('protocol')
    if isinstance(protocol, Mapping):
        return _OF_ENCODER | ({'dataset'} if 'tasks' in protocol else set())
    return frozenset() if 'optim_wrapper' in config else frozenset({'sampler', 'batch_size'})


def _check_argument(value: Any, place: str, argument: Argument, given: frozenset[str]) -> None:
    if not argument.accepts(value):
        raise ConfigError(f'{place} must be {in_words(argument.annotation)}, got {_short(value)}')
    if isinstance(value, _PLAIN) and _describes_component(place, argument):
        raise ConfigError(f'{place} must be a dict with a type, or a list of such dicts, got {_short(value)}')
    if isinstance(value, _PLAIN) and place in SECTIONS:
        raise ConfigError(f'{place} must be a dict, got {_short(value)}')
    _check_node(value, place, given, argument)


def _short(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 80 else f'{repr(value)[:77]}...'


def _describes_component(place: str, argument: Argument) -> bool:
    key = _last_key(place)
    if not argument.is_known:
        return False
    if place.startswith('protocol.'):
        return key in _DATASETS_OF_PROTOCOLS
    return key in _COMPONENTS and place != 'data_preprocessor'           # whose type the model may know


def _dataclass_in(annotation: Any) -> type | None:
    """Return the dataclass that an annotation, or that of a list's items, names."""
    if dataclasses.is_dataclass(annotation):
        return annotation
    return next(filter(None, map(_dataclass_in, get_args(annotation))), None)


def _check_node(node: Any, place: str, given: frozenset[str], argument: Argument) -> None:
    if isinstance(node, list | tuple):
        for index, item in enumerate(node):
            if isinstance(item, _PLAIN) and _describes_component(place, argument):
                raise ConfigError(f'{place}[{index}] must be a dict with a type, got {item!r}')
            _check_node(item, f'{place}[{index}]', given, argument)
    key_here = _last_key(place)
    if not isinstance(node, Mapping) or key_here in _OPAQUE or argument.package is None:
        return
    if key_here in ('bank', 'queries') and argument.is_known:
        check_pipeline(node, place)
    if place == 'default_hooks':
        _check_names_of_hooks(node)
    arguments, others = _arguments_at(node, place, argument)
    if key_here in ('sampler', 'batch_sampler'):
        given |= _OF_SAMPLERS
    for key, value in node.items():
        child = f'{place}.{key}'
        if key in arguments:
            _check_argument(value, child, arguments[key], given)
        elif key in ('type', '_scope_'):
            continue
        elif others is None:
            raise_unknown(key, place, {'type', *arguments})
        else:
            _check_argument(value, child, others, given)
    lacking = [name for name, argument in arguments.items()
               if argument.is_required and name not in node and name not in given]
    # Norms and the like are given the rest by those who build them.
    if lacking and (place.partition('[')[0] in SECTIONS or not _last_key(place).endswith('_cfg')):
        raise ConfigError(f'{place} lacks {", ".join(lacking)}: ' + '; '.join(
            f'{name} must be {in_words(arguments[name].annotation)}' for name in lacking))
    if place == 'optim_wrapper':
        _check_paramwise(node)


def _arguments_at(node: Mapping[str, Any], place: str,
                  argument: Argument) -> tuple[dict[str, Argument], Argument | None]:
    """Return the arguments of what a dict describes, and what others it may have besides; None for none.

    Raises:
        ConfigError: If the dict lacks a type, or its type is unknown.
    """
    section = SECTIONS.get(place.partition('[')[0], {})
    if section and ('type' not in node or 'type' in section):
        return section, None
    kind = node.get('type')
    if kind is None:
        component = _dataclass_in(argument.annotation) or DEFAULT_TYPES.get(place)
        if component is None:
            _check_needs_no_type(node, place, argument)
            return {}, Argument(package='mmsimclr' if argument.package == 'mmsimclr' else '')
    else:
        component = resolve(kind, place, is_optional=not _must_be_known(place, argument))
        if component is None:
            return {}, Argument(package=None)
    arguments, takes_others = arguments_of(component)
    if getattr(component, '__name__', None) in _OF_ALBUMENTATIONS:
        arguments = {**arguments, 'transforms': Argument(package=None)}
    return arguments, Argument(package=package_of(component)) if takes_others else None


def _must_be_known(place: str, argument: Argument) -> bool:
    """Whether the text that a dict has as its type surely names something registered."""
    key = _last_key(place)
    if key.endswith('_cfg') or key in _OPS:
        return False
    return argument.package == 'mmsimclr' or _describes_component(place, argument)


def _check_names_of_hooks(hooks: Mapping[str, Any]) -> None:
    """Refuse what must be meant for one of MMEngine's own hooks, and what is no hook."""
    for name, hook in hooks.items():
        resembles = difflib.get_close_matches(name, _STANDARD_HOOKS, n=1, cutoff=0.8)
        if name not in _STANDARD_HOOKS and resembles:
            raise_unknown(name, 'default_hooks', _STANDARD_HOOKS)
        if isinstance(hook, _PLAIN):
            raise ConfigError(f'default_hooks.{name} must be a dict with a type, got {hook!r}')


def _last_key(place: str) -> str:
    return place.rpartition('.')[2].partition('[')[0]


def _check_needs_no_type(node: Mapping[str, Any], place: str, argument: Argument) -> None:
    key, parent = _last_key(place), _last_key(place.rpartition('.')[0])
    is_component = _describes_component(place, argument) and (
        key not in _COMPONENTS_BY_NAME or place.endswith(']'))
    if is_component or (parent in _COMPONENTS_BY_NAME and argument.is_known):
        raise ConfigError(f'{place} lacks type: it must be the class of what is to be built, or its '
                          f'registered name; got {", ".join(map(str, node)) or "an empty dict"}')


def _check_paramwise(wrapper: Mapping[str, Any]) -> None:
    """Check the settings by parameter; other constructors than MMEngine's default may take any."""
    place = 'optim_wrapper.paramwise_cfg'
    paramwise, optimizer = wrapper.get('paramwise_cfg'), wrapper.get('optimizer')
    constructor = resolve(wrapper.get('constructor') or DefaultOptimWrapperConstructor,
                          'optim_wrapper.constructor')
    if not isinstance(paramwise, Mapping) or constructor not in (DefaultOptimWrapperConstructor,
                                                                 LARSOptimWrapperConstructor):
        return
    settings = {'lr_mult': Argument(float), 'decay_mult': Argument(float)}
    if isinstance(optimizer, Mapping) and optimizer.get('type') is not None:
        settings |= arguments_of(resolve(optimizer['type'], 'optim_wrapper.optimizer'))[0]
    _check_settings(paramwise, place, PARAMWISE_CFG)
    for name, custom in (paramwise.get('custom_keys') or {}).items():
        _check_argument(custom, f'{place}.custom_keys[{name!r}]', Argument(dict), frozenset())
        _check_settings(custom, f'{place}.custom_keys[{name!r}]', settings)


def _check_settings(node: Mapping[str, Any], place: str, accepted: Mapping[str, Argument]) -> None:
    for key, value in node.items():
        if key not in accepted:
            raise_unknown(key, place, accepted)
        _check_argument(value, f'{place}.{key}', accepted[key], frozenset())
