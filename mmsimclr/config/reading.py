"""Reading the files of a config; what is wrong in one of them is said with its name and line."""

import ast
import difflib
import linecache
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmsimclr.config.errors import ConfigError


def read_config(path: Path) -> Config:
    """Read a config and its bases, of either dialect.

    Args:
        path: An existing file.

    Raises:
        ConfigError: Whatever goes wrong; it names the file, of the bases too, the line and what it says.
    """
    try:
        return Config.fromfile(str(path))
    except Exception as error:
        raise ConfigError(_explanation(error, path)) from error


@contextmanager
def explained_imports(path: Path) -> Iterator[None]:
    """Raise a ConfigError where a module cannot be imported: MMEngine imports what a file names at use."""
    try:
        yield
    except Exception as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if not isinstance(error, ImportError | SyntaxError) and frame.f_globals.get(
                '__name__') != 'mmengine.config.lazy':
            raise
        raise ConfigError(f'{path} cannot be read: {error}') from error


def _explanation(error: Exception, path: Path) -> str:
    file, line, known = _place(error, path)
    base = known.get('module_path', known.get('filename'))           # the former of lazy configs
    if isinstance(error, RuntimeError | OSError) and isinstance(base, str) and not Path(base).is_file():
        line, what = _line_of_base(file, known.get('base_module')), _missing_file(Path(base))
    elif isinstance(error, KeyError) and 'alias_node' in known:
        what = _missing_name(known['alias_node'].name, known['module'],
                             known['self'].base_dict[known['module']])
    elif isinstance(error, RuntimeError) and not str(error):         # of MMEngine's stand-in for an import
        what = 'what is imported from a package can be named in a config, but not called or changed there'
    else:
        what = f'{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}'
        what += ' (do its bases read one another?)' if isinstance(error, RecursionError) else ''
    source = linecache.getline(str(file), line).strip() if line else ''
    return f'{file.resolve()}' + (f', line {line}' if line else '') + (
        f', in {source!r}' if source else '') + f': {what}'


def _place(error: Exception, path: Path) -> tuple[Path, int | None, Mapping[str, Any]]:
    """Return the file and the line that an error is about, and what MMEngine's reader knew there.

    The code of a config runs without a ``__name__``; what MMEngine refuses before it runs is in the variables
    of its reader.
    """
    file, line, known = path, None, {}
    for frame, number in traceback.walk_tb(error.__traceback__):
        if '__name__' not in frame.f_globals:
            file, line = Path(frame.f_code.co_filename), number
        elif frame.f_globals['__name__'].startswith('mmengine.config'):
            name, node = frame.f_locals.get('filename'), frame.f_locals.get('node')
            if name is not None or 'alias_node' in frame.f_locals:
                known = frame.f_locals
            if isinstance(name, str) and Path(name).is_file():        # not a copy that is gone
                file, line = Path(name), None
            if isinstance(node, ast.stmt):
                line = node.lineno
    if isinstance(error, SyntaxError):
        line = error.lineno
    return file, line, known


def _line_of_base(file: Path, module: str | None) -> int | None:
    """Return the line that names a base: the import of a module, or ``_base_ =``."""
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        imports = isinstance(node, ast.ImportFrom) and '.' * node.level + (node.module or '') == module
        if imports or (isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', None) == '_base_'):
            return node.lineno
    return None


def _missing_file(base: Path) -> str:
    folder = base.resolve().parent
    names = [other.name for other in folder.glob('*.py')] if folder.is_dir() else []
    return f'there is no base config {base.resolve()}' + _nearest(base.name, names)


def _missing_name(name: str, module: str, names: Mapping[str, Any]) -> str:
    return f'the base config {module} has no {name!r}' + _nearest(name, names)


def _nearest(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f'; did you mean {near[0]!r}?' if near else ''
