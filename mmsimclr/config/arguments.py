"""Names of the arguments that the components of a config take."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from mmengine.dataset import BaseDataset
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model.weight_init import BaseInit
from mmengine.optim import BaseOptimWrapper, _ParamScheduler
from mmengine.runner import BaseLoop
from mmengine.visualization.vis_backend import BaseVisBackend
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer
from torch.utils.data import Sampler

# Packages whose components a config describes in full, with all that they hold.
OWN_PACKAGES = ('mmsimclr', 'mmengine', 'torch')

# Names that MMEngine's builders take out of a dict before they build the component, by base class.
_TAKEN_OUT: dict[type, set[str]] = {
    Hook: {'priority'},
    _ParamScheduler: {'convert_to_iter_based', 'epoch_length'},
    BaseOptimWrapper: {'constructor', 'paramwise_cfg', 'optimizer', 'clip_grad'},
    BaseInit: {'layer', 'override'},
    **{norm: {'requires_grad'} for norm in (_NormBase, nn.GroupNorm, nn.LayerNorm)},
}
# Names that the builders put in, so that a config need not.
_PUT_IN: dict[type, set[str]] = {
    _ParamScheduler: {'optimizer', 'param_name'},
    Optimizer: {'params'},
    BaseDataset: {'ann_file'},
    Sampler: {'dataset', 'data_source', 'sampler', 'batch_size', 'seed'},
    BaseLoop: {'runner', 'dataloader', 'evaluator'},
    BaseVisBackend: {'save_dir'},
    object: {'context'},                                      # of samplers of mmdet and mmseg
}


@dataclass(frozen=True)
class Arguments:
    """The arguments of a component: all names, those that must be given, and whether it takes any name."""

    names: frozenset[str]
    required: frozenset[str] = frozenset()
    takes_others: bool = False


@cache
def arguments_of(component: Any) -> Arguments:
    """Return the arguments of a class, with those of its bases that its ``**kwargs`` are handed on to.

    Those of a base, which the class may give, and of a function, which a builder completes, are not required.
    """
    if not inspect.isclass(component):
        return replace(_arguments_of_call(component), required=frozenset())
    names: set[str] = set()
    required, takes_others = None, False
    for cls in component.__mro__[:-1]:
        if 'build_iter_from_epoch' in vars(cls):
            names |= _arguments_of_call(cls.build_iter_from_epoch).names
        maker = next((name for name in ('__init__', '__new__') if name in vars(cls)), None)
        if maker and cls is not nn.Module:                      # whose own takes no arguments
            own = _arguments_of_call(getattr(cls, maker))
            names |= own.names
            if required is None:
                # Modules of other packages are given arguments by the modules that hold them.
                is_described = package_of(cls) in OWN_PACKAGES or not issubclass(component, nn.Module)
                required = own.required if is_described else frozenset()
            # CheckpointHook hands its **kwargs to a call that takes no more of them.
            takes_others = own.takes_others and cls is not CheckpointHook
            if not takes_others:
                break
    put_in = {'self', 'cls'}.union(*(_PUT_IN[base] for base in _PUT_IN if issubclass(component, base)))
    names = names.union(*(_TAKEN_OUT[base] for base in _TAKEN_OUT if issubclass(component, base)))
    required = {*(required or ())} - put_in
    if issubclass(component, BaseOptimWrapper):                 # built from a dict, which has to be there
        required.add('optimizer')
    return Arguments(frozenset(names - {'self', 'cls'}), frozenset(required), takes_others)


def package_of(component: Any) -> str:
    """Return the name of the package that defines a class or function."""
    return (getattr(component, '__module__', None) or '').partition('.')[0]


def _arguments_of_call(call: Callable) -> Arguments:
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):                             # a function written in C
        return Arguments(frozenset(), takes_others=True)
    named = [each for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    return Arguments(frozenset(each.name for each in named),
                     frozenset(each.name for each in named if each.default is each.empty),
                     any(each.kind is each.VAR_KEYWORD for each in parameters))


# Types that a file can give in full, by that of a signature, and what they are called.
PLAIN = {int: ((int,), 'an integer'), float: ((int, float), 'a number'), str: ((str,), 'text'),
         bool: ((bool,), 'True or False'), NoneType: ((NoneType,), 'None'),
         **dict.fromkeys((dict, Mapping), ((Mapping,), 'a dict')),
         **dict.fromkeys((list, tuple, Sequence), ((list, tuple), 'a list')),
         nn.Module: ((), 'a module')}


@cache
def types_of(component: Any) -> dict[str, tuple[tuple[type, ...], str]]:
    """Return the plain types that a component of this package takes, and their names, by argument.

    Arguments that take anything else as well, and those of other packages, are left out.
    """
    if package_of(component) != 'mmsimclr':
        return {}
    found = {}
    for name, hint in get_type_hints(component.__init__ if inspect.isclass(component) else component).items():
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        kinds = [PLAIN.get(get_origin(part) or part) for part in parts]
        if None not in kinds:
            found[name] = sum((types for types, _ in kinds), ()), ' or '.join(said for _, said in kinds)
    return found
