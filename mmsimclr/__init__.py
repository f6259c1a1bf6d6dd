"""SimCLR pre-training and its benchmarks, assembled from registered components.

``import mmsimclr`` is enough for the type names of a config to resolve; the components themselves are
imported when first used.
"""

import contextlib
from importlib import import_module

from mmsimclr.version import __version__

# Something missing is reported by `python -m mmsimclr.doctor`, which must run all the same, and raised
# by whatever needs it.
with contextlib.suppress(ImportError):
    from mmsimclr import registry

_SUBPACKAGES = ('checkpoints', 'config', 'datasets', 'distributed', 'engine', 'evaluation', 'features',
                'models', 'prepare', 'protocols', 'reporting', 'runner', 'transforms')
_LAZY = {'Embedder': 'mmsimclr.features', 'get_model': 'mmsimclr.model_zoo',
         'list_models': 'mmsimclr.model_zoo'}

__all__ = ['__version__', 'registry', *_SUBPACKAGES, *_LAZY]


def __getattr__(name: str):
    if name in _SUBPACKAGES:
        return import_module(f'mmsimclr.{name}')
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f'module mmsimclr has no attribute {name!r}')
