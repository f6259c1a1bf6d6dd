"""SimCLR pre-training and its benchmarks, assembled from registered components, imported when first used."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any

from mmsimclr import moved
from mmsimclr.version import __version__

if TYPE_CHECKING:                                              # what _LAZY names
    from mmsimclr.datasets import UnlabeledImageFolder
    from mmsimclr.engine import LARS
    from mmsimclr.evaluation import knn_accuracy
    from mmsimclr.exploration import explore
    from mmsimclr.features import Embedder
    from mmsimclr.model_zoo import get_model, list_models
    from mmsimclr.models import NonLinearNeck, NTXentLoss, SimCLR
    from mmsimclr.run import Run, pretrain
    from mmsimclr.transforms import simclr_views

_SUBPACKAGES = ('checkpoints', 'config', 'datasets', 'distributed', 'engine', 'evaluation', 'features',
                'models', 'prepare', 'protocols', 'registry', 'reporting', 'runner', 'transforms')
_LAZY = {'Embedder': 'mmsimclr.features', 'get_model': 'mmsimclr.model_zoo',
         'list_models': 'mmsimclr.model_zoo', 'pretrain': 'mmsimclr.run', 'Run': 'mmsimclr.run',
         'explore': 'mmsimclr.exploration', 'simclr_views': 'mmsimclr.transforms',
         'UnlabeledImageFolder': 'mmsimclr.datasets', 'NTXentLoss': 'mmsimclr.models',
         'NonLinearNeck': 'mmsimclr.models', 'SimCLR': 'mmsimclr.models', 'LARS': 'mmsimclr.engine',
         'knn_accuracy': 'mmsimclr.evaluation'}

__all__ = ['LARS', 'Embedder', 'NTXentLoss', 'NonLinearNeck', 'Run', 'SimCLR', 'UnlabeledImageFolder',
           '__version__', 'explore', 'get_model', 'knn_accuracy', 'list_models', 'pretrain', 'simclr_views']
__all__ += _SUBPACKAGES


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f'mmsimclr.{name}')
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f'module mmsimclr has no attribute {name!r}')


class _RegistriesFollow(MetaPathFinder):
    """Imports our registries right after MMEngine's, whose root then finds our names."""

    def find_spec(self, name: str, path: Sequence[str] | None = None,
                  target: object = None) -> ModuleSpec | None:
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
