"""Loading a config file with command-line options."""

import argparse
import ast
import difflib
import linecache
import traceback
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmsimclr.config.check import RUNNER_KEYS, check_config, check_variables, find_places
from mmsimclr.config.errors import ConfigError, raise_unknown
from mmsimclr.errors import InputError, MissingFileError


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


_CLOSING = {'(': ')', '[': ']'}
_WORDS = {'true': True, 'false': False, 'None': None}


class ConfigOptions(Action):
    """Collects ``KEY=VALUE`` into a dict; the values as :func:`parse_value` reads them."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Sequence[str],
                 option_string: str | None = None) -> None:
        """Add the options to those given before."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for text in values:
            key, equals, value = text.partition('=')
            if not key or not equals:
                raise argparse.ArgumentError(self, f'options must be KEY=VALUE, got {text!r}')
            try:
                options[key] = parse_value(value)
            except ValueError as error:
                raise argparse.ArgumentError(self, f'{key}: {error}') from error
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> Any:
    """Return the value that a text on the command line stands for.

    It reads what MMEngine's ``DictAction`` reads, and leaves spaces in texts and commas in quoted ones, as
    paths have them.

    Args:
        text: A number; true, false or None; ``[a,b]`` or ``a,b``, a list; ``(a,b)``, a tuple; else itself.
            In quotes it is a text whatever it looks like.

    Raises:
        ValueError: If brackets or quotes in it are not closed.
    """
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in '\'"' and text[0] not in text[1:-1]:
        return text[1:-1]
    items = _split(text)
    if len(items) > 1 or text.endswith(','):
        return [parse_value(item) for item in items]
    if text[:1] in _CLOSING and text.endswith(_CLOSING[text[0]]):
        inner = [parse_value(item) for item in _split(text[1:-1])]
        return tuple(inner) if text[0] == '(' else inner
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return _WORDS.get(text if text == 'None' else text.lower(), text)


def _split(text: str) -> list[str]:
    """Split at the commas that are in no brackets and no quotes."""
    items, open_brackets, quote = [''], [], ''
    for character in text:
        if quote:
            quote = '' if character == quote else quote
        elif character in '\'"' and not items[-1].strip():
            quote = character
        elif character in _CLOSING:
            open_brackets.append(_CLOSING[character])
        elif open_brackets and character == open_brackets[-1]:
            open_brackets.pop()
        elif character == ',' and not open_brackets:
            items.append('')
            continue
        items[-1] += character
    if open_brackets and ',' in text:
        raise InputError(f'{open_brackets[-1]} is missing in {text!r}; a text with commas and brackets '
                         'goes in quotes')
    return items if items[-1].strip() else items[:-1]


def load_config(path: str | Path, options: dict[str, Any] | None = None,
                work_dir: str | Path | None = None) -> Config:
    """Load a config of either dialect, merge options into it, and check it.

    Args:
        path: A Python config: lazy dialect (types as classes) or text dialect (types as strings).
        options: Values to override, keys dotted: ``{'train_cfg.max_epochs': 1}``. ``data_root`` moves
            every path of the config that begins with the file's own ``data_root``.
        work_dir: Where logs and checkpoints go; otherwise the config's, otherwise
            ``work_dirs/<name of the config>``.

    Returns:
        What the Runner reads of the config (the file's own variables are left out), with ``work_dir``,
        ``default_scope`` and ``launcher`` set.

    Raises:
        FileNotFoundError: If there is no such file; it suggests the nearest one beside it.
        ConfigError: If the file or one of its bases cannot be read or names what cannot be imported, a key
            or a type in it or in the options is unknown, or an option names a variable of the file, which
            would change nothing.
    """
    path = Path(path)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path('configs')
        names = [str(p) for p in folder.rglob('*.py')]
        near = difflib.get_close_matches(str(path), names, n=1, cutoff=0.4)
        raise MissingFileError(f'no config at {path}' + (f'; did you mean {near[0]}?' if near else ''))
    config = read_config(path)
    with explained_imports(path):
        check_variables(config)
        _apply(config, options)
        check_config(config)
    if config.get('default_scope') is None:
        config.default_scope = 'mmsimclr'
    config.setdefault('launcher', 'none')
    if work_dir is not None:
        config.work_dir = str(work_dir)
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / path.stem)
    return config


def _apply(config: Config, options: dict[str, Any] | None) -> None:
    """Merge options into a config, and take the file's own variables out."""
    if options and 'data_root' in options:
        options = dict(options)
        _move_data(config, options.pop('data_root'))
    if options:
        for key in options:
            _check_option(key, config)
        try:
            config.merge_from_dict(options)
        except (TypeError, KeyError, IndexError, ValueError) as error:
            raise ConfigError(f'the options {", ".join(options)} cannot be put into the config: '
                              f'{error}') from error
    # The file's own variables are used up, and an option may have made them untrue.
    for key in set(config) - RUNNER_KEYS:
        config.pop(key)


def _move_data(config: Config, root: str) -> None:
    """Put another folder in the place of the variable ``data_root``, wherever a path begins with it."""
    if not isinstance(config.get('data_root'), str):
        raise ConfigError("the config has no variable 'data_root' to be moved: its data are not in one "
                          'folder; override data_root of each of its datasets')
    if not isinstance(root, str) or not root:
        raise ConfigError(f'data_root must be the path of a folder, got {root!r}')
    old, new = config.data_root.rstrip('/'), root.rstrip('/') or '/'

    def move(parent: dict | list, place: Any, value: Any) -> None:
        if isinstance(value, str) and (value.rstrip('/') == old or value.startswith(f'{old}/')):
            parent[place] = new + value[len(old):]
        elif isinstance(value, dict):
            for key, inner in value.items():
                move(value, key, inner)
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                move(value, index, inner)

    for key, value in config.items():
        move(config, key, value)


def _check_option(key: str, config: Config) -> None:
    """Refuse an option that would change nothing."""
    root = key.split('.')[0]
    if root in RUNNER_KEYS:
        return
    if root not in config:
        raise_unknown(root, '', RUNNER_KEYS)
    read = {name: value for name, value in config.items() if name in RUNNER_KEYS}
    places = find_places(root, config[root], read)
    hint = f': {", ".join(places[:4])}' if places else ''
    raise ConfigError(f'{root!r} is a variable of the config file, and nothing reads it once the file '
                      f'is loaded; override what was made of it{hint}')
