"""The registries of mmsimclr, each a child of MMEngine's root registry of the same name."""

from collections.abc import Mapping
from typing import Any

from mmengine import registry as roots
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

SCOPE = 'mmsimclr'
MODULE2PACKAGE[SCOPE] = SCOPE                       # for mmengine.hub.get_config('mmsimclr::...')


def _child(parent: Registry, subpackage: str) -> Registry:
    """Return a registry that imports a subpackage when a name is first looked up in it."""
    return Registry(parent.name, parent=parent, scope=SCOPE, locations=[f'{SCOPE}.{subpackage}'])


MODELS = _child(roots.MODELS, 'models')
DATASETS = _child(roots.DATASETS, 'datasets')
TRANSFORMS = _child(roots.TRANSFORMS, 'transforms')
DATA_SAMPLERS = _child(roots.DATA_SAMPLERS, 'engine')
HOOKS = _child(roots.HOOKS, 'engine')
LOG_PROCESSORS = _child(roots.LOG_PROCESSORS, 'runner')
OPTIMIZERS = _child(roots.OPTIMIZERS, 'engine')
OPTIM_WRAPPERS = _child(roots.OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(roots.OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
PARAM_SCHEDULERS = _child(roots.PARAM_SCHEDULERS, 'engine')
METRICS = _child(roots.METRICS, 'engine')
WEIGHT_INITIALIZERS = _child(roots.WEIGHT_INITIALIZERS, 'checkpoints')
FUNCTIONS = _child(roots.FUNCTIONS, 'datasets')
# MMEngine has none of the kind.
PROTOCOLS = Registry('protocol', scope=SCOPE, locations=[f'{SCOPE}.protocols'])

# Empty: with them MMEngine finds our scope in every tree it builds from, and falls back to its own
# components without a warning.
LOOPS = _child(roots.LOOPS, 'engine')
VISUALIZERS = _child(roots.VISUALIZERS, 'engine')
VISBACKENDS = _child(roots.VISBACKENDS, 'engine')
MODEL_WRAPPERS = _child(roots.MODEL_WRAPPERS, 'engine')
RUNNERS = _child(roots.RUNNERS, 'engine')
EVALUATOR = _child(roots.EVALUATOR, 'engine')


def class_of(kind: Any, registry: Registry) -> Any:
    """Return the component that a config names, by its class or as text; None if there is none."""
    return registry.get(kind) if isinstance(kind, str) else kind


def is_of_type(part: Any, kind: type, registry: Registry = TRANSFORMS) -> bool:
    """Whether a part of a config is that of a component."""
    return isinstance(part, Mapping) and class_of(part.get('type'), registry) is kind


def in_own_scope(init_cfg: dict | list[dict] | None) -> list[dict] | None:
    """Return an ``init_cfg`` whose 'Pretrained' is ours, which is strict, whatever scope is current."""
    if init_cfg is None:
        return None
    init_cfgs = [dict(cfg) for cfg in ([init_cfg] if isinstance(init_cfg, dict) else init_cfg)]
    for cfg in init_cfgs:
        if cfg.get('type') in ('Pretrained', 'PretrainedInit', roots.WEIGHT_INITIALIZERS.get('Pretrained')):
            cfg['type'] = f'{SCOPE}.Pretrained'
    return sorted(init_cfgs, key=lambda cfg: cfg.get('type') == f'{SCOPE}.Pretrained')    # it goes last
