"""Which arguments a component takes, and whether a value of a config can be one of them."""

import inspect
import os
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mmengine.dataset import BaseDataset
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.model.weight_init import BaseInit
from mmengine.optim import AmpOptimWrapper, BaseOptimWrapper, _ParamScheduler
from mmengine.runner import BaseLoop
from mmengine.visualization.vis_backend import BaseVisBackend
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer
from torch.utils.data import Sampler

# What MMEngine's builders take out of a component's dict before they build it, by base class.
_TAKEN_BY_BUILDERS: dict[type, dict[str, Any]] = {
    Hook: {'priority': int | str},
    # Parts of epochs may be turned into steps.
    _ParamScheduler: {'convert_to_iter_based': bool, 'epoch_length': int, 'begin': float, 'end': float},
    BaseOptimWrapper: {'constructor': type | str, 'paramwise_cfg': dict | None, 'optimizer': dict,
                       'clip_grad': dict | None},
    AmpOptimWrapper: {'loss_scale': float | str | dict},
    BaseInit: {'layer': str | list, 'override': dict | list},
    # Annotated too narrowly.
    EMAHook: {'ema_type': type | str},
    CheckpointHook: dict.fromkeys(('greater_keys', 'less_keys'), str | list | None),
    **{norm: {'requires_grad': bool} for norm in (_NormBase, nn.GroupNorm, nn.LayerNorm)},
}
# What builders put in, so that a config need not.
_PUT_IN: dict[type, set[str]] = {
    _ParamScheduler: {'optimizer', 'param_name'}, Optimizer: {'params'}, BaseDataset: {'ann_file'},
    Sampler: {'dataset', 'data_source', 'sampler', 'batch_size', 'seed'},
    BaseLoop: {'runner', 'dataloader', 'evaluator'}, BaseVisBackend: {'save_dir'},
    object: {'context'},                                      # of samplers of mmdet and mmseg
}
# Packages whose annotations are right.
_EXACT = ('mmsimclr', 'mmengine', 'torch')
_OPENMMLAB = ('mmcv', 'mmdet', 'mmpretrain', 'mmseg')
_WORDS = {bool: 'True or False', int: 'an integer', float: 'a number', str: 'a string', type(None): 'None',
          dict: 'a dict', list: 'a list'}
# What the default of an argument without an annotation says of it.
_OF_DEFAULTS = {bool: bool, str: str, Real: float, list: list | dict, tuple: list}


@dataclass(frozen=True)
class Argument:
    """An argument: its annotation, whether a config must give it, and the package that defines it.

    Without a package, ``None``, what lies in it is left to the component.
    """

    annotation: Any = Any
    is_required: bool = False
    package: str | None = 'mmsimclr'

    @property
    def is_exact(self) -> bool:
        """Whether the package's annotations are right."""
        return self.package in _EXACT

    @property
    def is_known(self) -> bool:
        """Whether the argument's name says what it is; a user's own ``heads`` may be a number."""
        return self.is_exact or self.package in _OPENMMLAB

    def accepts(self, value: Any) -> bool:
        """Tell whether a value can be meant.

        Of packages that annotate what takes a number or a list as a list, and the like, only what surely is
        wrong is refused: a text or a dict for something else, and a number for a text or a dict. What is
        annotated as a class may be made from either by the component.
        """
        if suits(value, self.annotation):
            return True
        if self.is_exact:
            return False
        parts = get_args(self.annotation) or (self.annotation,)
        if isinstance(value, str | Mapping):
            return any(isinstance(part, type) and not issubclass(part, Mapping)
                       and part.__module__ not in ('builtins', 'collections.abc') for part in parts)
        return not isinstance(value, Real) or not all(
            isinstance(part, type) and issubclass(part, str | Mapping | None) for part in parts)


@cache
def arguments_of(component: Any) -> tuple[dict[str, Argument], bool]:
    """Return the arguments of a component by name, and whether it takes others besides.

    A class that hands ``**kwargs`` on takes its base's arguments too, of which none is then required, since
    the class may give them itself.

    Args:
        component: A class, or a function, of which nothing is required: builders fill it in later.
    """
    if not inspect.isclass(component):
        arguments, takes_others = arguments_of_call(component)
        return {name: replace(argument, is_required=False) for name, argument in arguments.items()}, \
            takes_others
    found: dict[str, Argument] = {}
    takes_others, is_base = True, False
    for cls in component.__mro__[:-1]:
        for method in ('__init__', 'build_iter_from_epoch'):
            if method not in vars(cls):
                continue
            own, others = arguments_of_call(getattr(cls, method))
            for name, argument in own.items():
                # Modules of other packages are given arguments by the modules that hold them.
                required = argument.is_required and method == '__init__' and not is_base and (
                    argument.is_exact or not issubclass(component, nn.Module))
                found.setdefault(name, replace(argument, is_required=required))
            if method == '__init__':
                # CheckpointHook hands its **kwargs to a call that takes no more of them.
                takes_others, is_base = others and cls is not CheckpointHook, True
        if not takes_others:
            break
    found.pop('self', None)
    for base in [base for base in _PUT_IN if issubclass(component, base)]:
        for name in _PUT_IN[base] & set(found):
            found[name] = replace(found[name], is_required=False)
    for base in [base for base in _TAKEN_BY_BUILDERS if issubclass(component, base)]:
        for name, annotation in _TAKEN_BY_BUILDERS[base].items():
            required = name == 'optimizer'
            found[name] = Argument(annotation, required)
    return found, takes_others


def arguments_of_call(call: Callable) -> tuple[dict[str, Argument], bool]:
    """Return the arguments of a function or method by name, and whether it takes others by name."""
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):                             # of C
        return {}, True
    try:
        hints = get_type_hints(call)
    except (NameError, TypeError, AttributeError):              # names for type checkers only
        hints = {}
    package = package_of(call)
    arguments = {}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        annotation = hints.get(parameter.name, Any)
        if annotation is Any and package in _EXACT:
            annotation = next((meant for kind, meant in _OF_DEFAULTS.items()
                               if isinstance(parameter.default, kind)), Any)
        # 'x: int = None' is written too.
        if parameter.default is not parameter.empty and not suits(parameter.default, annotation):
            annotation = Union[annotation, type(parameter.default)]          # noqa: UP007
        arguments[parameter.name] = Argument(annotation, parameter.default is parameter.empty, package)
    return arguments, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def package_of(component: Any) -> str:
    """Return the name of the package that defines a class or function."""
    return (getattr(component, '__module__', None) or '').partition('.')[0]


def suits(value: Any, annotation: Any) -> bool:
    """Tell whether a value of a config can be an argument of an annotation; what is not understood suits.

    Lists serve as tuples, integers as numbers, and dicts with a ``type`` as what is built from them.
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(suits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    kind = origin or annotation
    if kind is None or kind is type(None):
        return value is None
    if kind is Any or not isinstance(kind, type) or getattr(kind, '_is_protocol', False):
        return True
    if kind is type:
        return isinstance(value, type | str)
    if kind is Callable:
        return callable(value) or isinstance(value, Mapping)
    if issubclass(kind, str | os.PathLike):
        return isinstance(value, str | os.PathLike)
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping) and (len(parts) != 2 or all(
            suits(item, parts[1]) for item in value.values()))
    if kind is bool or issubclass(kind, Integral | Real):
        return _is_number(value, kind)
    if issubclass(kind, Collection | Iterable) and kind.__module__ in ('builtins', 'collections.abc'):
        return _is_list(value, kind, parts)
    return isinstance(value, kind) or (isinstance(value, Mapping) and 'type' in value) or value == {}


def _is_number(value: Any, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, Integral if issubclass(kind, Integral) else Real)


def _is_list(value: Any, kind: type, parts: tuple) -> bool:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        return False
    if not isinstance(value, list | tuple) or not parts:
        return True
    if kind is tuple and parts[-1] is not Ellipsis:
        return len(value) == len(parts) and all(map(suits, value, parts))
    return all(suits(item, parts[0]) for item in value)


def in_words(annotation: Any) -> str:
    """Return what an annotation accepts, for a message: ``'an integer or None'``."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return ' or '.join(dict.fromkeys(in_words(part) for part in parts))
    if origin is Literal:
        return ' or '.join(map(repr, parts))
    kind = origin or annotation
    if kind in _WORDS or kind is Any or not isinstance(kind, type):
        return _WORDS.get(kind, 'anything')
    if kind is Callable:
        return 'a function'
    if kind is type:
        return 'a class or its registered name'
    if issubclass(kind, Mapping):
        return 'a dict'
    if issubclass(kind, os.PathLike):
        return 'a path'
    if issubclass(kind, Iterable) and kind.__module__ in ('builtins', 'collections.abc'):
        items = [part for part in parts if part is not Ellipsis]
        return f'a list of {len(items) if len(items) > 1 else ""} ({in_words(items[0])} each)'.replace(
            'of  ', '') if items else 'a list'
    return f'a dict with the type of a {kind.__name__}'
