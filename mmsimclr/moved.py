"""Names of version 0.1, in code and dumped configs, found where they are now, with a DeprecationWarning."""

import json
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

# Each module of today with those of 0.1 whose names it has, and names that have changed.
_TABLE = json.loads(Path(__file__).with_suffix('.json').read_text(encoding='utf-8'))
MOVED: dict[str, list[str]] = _TABLE['moved']
RENAMED: dict[str, str] = _TABLE['renamed']
PLACES: dict[str, list[str]] = {}
for new, old_modules in MOVED.items():
    for old in old_modules:
        PLACES.setdefault(old, []).append(new)
for key in RENAMED:
    PLACES.setdefault(key.split(':')[0], [])
PLACES['checkpoints.key_maps'] = []                          # a package then, and nothing now


class _OldModules(MetaPathFinder, Loader):
    """Finds the modules of 0.1 that are gone, and the names that the others have lost."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a module of the table; Python's own finders find any other."""
        package, _, module = name.partition('.')
        if package != 'mmsimclr' or module not in PLACES:
            return None
        spec = PathFinder.find_spec(name, path)
        return run_after(spec, self.exec_module) if spec else ModuleSpec(name, self)

    def exec_module(self, module: ModuleType) -> None:
        """Let a module look up what it lacks, and import what was below it."""
        module.__getattr__ = lambda name: _find(module.__name__, name)
        if any(f'mmsimclr.{old}'.startswith(f'{module.__name__}.') for old in PLACES):
            vars(module).setdefault('__path__', [])


def _find(module: str, name: str) -> Any:
    old = module.removeprefix('mmsimclr.')
    renamed = RENAMED.get(f'{old}:{name}')
    places = [renamed.split(':')] if renamed else [(place, name) for place in PLACES[old]]
    folder = vars(sys.modules[module]).get('__path__')
    if name.startswith('__') or (folder and PathFinder.find_spec(f'{module}.{name}', folder)):
        places = []                                          # a file of the package, which comes next
    for place, new_name in places:
        found = getattr(import_module(f'mmsimclr.{place}'), new_name, None)
        if found is not None and not isinstance(found, ModuleType):
            warnings.warn(f'{module}.{name} is now mmsimclr.{place}.{new_name}', DeprecationWarning, 3)
            return found
    raise AttributeError(f'module {module!r} has no attribute {name!r}')


def run_after(spec: ModuleSpec, action: Callable[[ModuleType], object]) -> ModuleSpec:
    """Have a function called with a module as soon as it is imported."""
    execute = spec.loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        action(module)
    spec.loader.exec_module = exec_module
    return spec


def install() -> None:
    """Let Python's import find the modules of 0.1."""
    sys.meta_path.insert(0, _OldModules())
