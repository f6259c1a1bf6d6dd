"""SimCLR pre-training and its benchmarks, assembled from registered components.

``import mmsimclr`` takes milliseconds and is enough for the type names of a config to resolve. The parts are
imported when first used, and the registries as soon as MMEngine's are.
"""

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder

from mmsimclr import moved
from mmsimclr.version import __version__

_SUBPACKAGES = ('checkpoints', 'config', 'datasets', 'distributed', 'engine', 'evaluation', 'features',
                'models', 'prepare', 'protocols', 'registry', 'reporting', 'runner', 'transforms')
_LAZY = {'Embedder': 'mmsimclr.features', 'get_model': 'mmsimclr.model_zoo',
         'list_models': 'mmsimclr.model_zoo', 'pretrain': 'mmsimclr.run', 'Run': 'mmsimclr.run',
         'explore': 'mmsimclr.exploration', 'simclr_views': 'mmsimclr.transforms',
         'UnlabeledImageFolder': 'mmsimclr.datasets', 'NTXentLoss': 'mmsimclr.models',
         'NonLinearNeck': 'mmsimclr.models', 'SimCLR': 'mmsimclr.models', 'LARS': 'mmsimclr.engine',
         'knn_accuracy': 'mmsimclr.evaluation'}

__all__ = ['__version__', *_SUBPACKAGES, *_LAZY]


def __getattr__(name: str):
    if name in _SUBPACKAGES:
        return import_module(f'mmsimclr.{name}')
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f'module mmsimclr has no attribute {name!r}')


class _RegistriesFollow(MetaPathFinder):
    """Imports our registries right after MMEngine's, whose root then finds our names."""

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        """Find MMEngine's registries only, and have ours imported once they are complete."""
        if name != 'mmengine.registry':
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        return spec and moved.run_after(spec, lambda _: import_module('mmsimclr.registry'))


moved.install()
if 'mmengine.registry' in sys.modules:
    import_module('mmsimclr.registry')
else:
    sys.meta_path.insert(0, _RegistriesFollow())
