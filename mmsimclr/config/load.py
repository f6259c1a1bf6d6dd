"""Loading a config file with options of the command line."""

import ast
import linecache
import os
import re
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmsimclr.config.check import RUNNER_KEYS, check_config, check_option, check_variables
from mmsimclr.config.short_names import SHORT_NAMES, apply_short_names, is_resnet, take_short_names
from mmsimclr.encoders import with_named_type
from mmsimclr.errors import ConfigError, InputError, did_you_mean
from mmsimclr.files import find_config

# MMEngine's Config._substitute_env_variables and _substitute_predefined_vars.
PASTED_VARIABLE = re.compile(r'\{\{\s*[\'"]?\s*\$')
PASTED_NAME = re.compile(r'\{\{\s*file(Dirname|Basename|BasenameNoExtension|Extname)\s*\}\}')
_CLOSING = {'(': ')', '[': ']'}


def load_config(path: str | Path, options: dict[str, Any] | None = None,
                work_dir: str | Path | None = None) -> Config:
    """Load a config of either dialect, merge options into it, and check it.

    Args:
        path: A Python config: lazy dialect (types as classes) or text dialect (types as strings).
        options: Values to override, keys dotted: ``{'train_cfg.max_epochs': 1}``. The name of a variable that
            the file assigns at its top level, such as ``epochs``, changes it before the file computes
            anything from it. Other short names (:data:`SHORT_NAMES`) change what they stand for after the
            rest. ``data_root`` moves every path that begins with the file's own ``data_root``.
        work_dir: Folder of logs and checkpoints; otherwise the config's, or ``work_dirs/<name of config>``.

    Returns:
        The config without the file's own variables, with ``work_dir``, ``default_scope`` and ``launcher``.

    Raises:
        MissingFileError: If there is no such file; it suggests the nearest one.
        ConfigError: If the file or a base cannot be read, a key, type or import is unknown, or an option
            would change nothing.
    """
    path = find_config(path)
    config, options = read_config(path), dict(options or {})
    if isinstance(options.get('encoder'), Mapping):
        options['encoder'] = with_named_type(options['encoder'])
    own = _variables(path) - RUNNER_KEYS - {'data_root'}
    if changed := {name: options.pop(name) for name in [*options] if name in own}:
        config = _read_changed(path, changed)
    stated = take_short_names(config)
    given = options | changed
    if 'width' not in given and not is_resnet(given.get('encoder') or ''):
        stated.pop('width', None)                            # the file's, of its ResNet
    check_variables(config)
    apply_short_names(config, stated)
    short = {name: options.pop(name) for name in SHORT_NAMES
             if name in options and name not in config
             and not (isinstance(options[name], dict) and config.get('protocol'))}
    if config.get('protocol'):
        options = {re.sub(r'^encoder(?=\.|$)', 'random_encoder', key): options[key] for key in options}
    _apply(config, options)
    apply_short_names(config, short)
    check_config(config)
    if config.get('default_scope') is None:
        config.default_scope = 'mmsimclr'
    config.setdefault('launcher', 'none')
    if work_dir is not None:
        config.work_dir = str(work_dir)
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / path.stem)
    return config


def read_config(path: str | Path) -> Config:
    """Read a config and its bases, and check no key of it; every config, also a study's, is read by this.

    Errors are those of :func:`load_config`.
    """
    path = find_config(path)
    _check_source(path)
    return _read(path)


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Return options ``KEY=VALUE`` as a dict of values that :func:`parse_value` reads.

    Raise InputError if an option is not of this form, or brackets in its value are not closed.
    """
    parsed = {}
    for option in options:
        key, equals, value = option.partition('=')
        if not key or not equals:
            raise InputError(f'options must be KEY=VALUE, got {option!r}')
        try:
            parsed[key] = parse_value(value)
        except InputError as error:
            raise InputError(f'{key}: {error}') from error
    return parsed


def parse_value(text: str) -> Any:
    """Return the value that a text on the command line stands for.

    It is a number; true, false or None; a list, ``[a,b]`` or ``a,b``; a tuple, ``(a,b)``; else, or in quotes,
    a text. Unlike MMEngine's ``DictAction`` this keeps spaces in texts and commas in quoted ones. Raise
    InputError if brackets are not closed.
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
        with suppress(ValueError):
            return kind(text)
    return {'true': True, 'false': False, 'None': None}.get(text if text == 'None' else text.lower(), text)


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


def _check_source(path: Path, readers: tuple[Path, ...] = ()) -> None:
    """Raise ConfigError if a config or a base of it is no Python, or has what MMEngine pastes into it."""
    # Of YAML and JSON, MMEngine's readers run what the file names (!!python/object/apply), though people take
    # them for data. Environment variables and names of folders would become source.
    if path.suffix != '.py':
        raise _error(path, None, 'a config and its bases must be Python (.py), which is run as code; other '
                     'formats are refused')
    source = path.read_text(encoding='utf-8', errors='replace') if path.is_file() else ''
    has_quotes = re.search(r'[\'"\\\n\r]', str(path.resolve()))
    for pattern, what in (
            (PASTED_VARIABLE, 'an environment variable would be pasted into the source; give the value on '
             'the command line (--cfg-options), or read it by os.environ'),
            (PASTED_NAME, has_quotes and 'the path would be pasted into the source, and it has quotes')):
        if what and (found := pattern.search(source)):
            raise _error(path, 1 + source.count('\n', 0, found.start()), what)
    readers = (*readers, path.resolve())
    for line, base, _ in _bases(path) if path.is_file() else ():
        if base is None:
            raise _error(path, line, '_base_ must be a path or a list of paths, each written out: a config '
                         'and its bases must be Python (.py), and a computed path is known too late')
        if base.resolve() in readers:
            raise _error(path, line, 'a config cannot be a base of itself')
        _check_source(base, readers)
        if not base.is_file():
            hint = did_you_mean(base.name, [each.name for each in base.parent.glob('*.py')])
            raise _error(path, line, f'there is no base config {base.resolve()}{hint}')


def _read(path: Path) -> Config:
    """Read a config; a ConfigError names the file at fault, which may be a base, and the line."""
    try:
        config = Config.fromfile(str(path), use_environment_variables=False)
        _import_types(config.items())
    except Exception as error:
        # The first base that cannot be read by itself is at fault.
        for line, base, names in _bases(path):
            known = _read(base)
            for name in names:
                if name not in known:
                    hint = did_you_mean(name, known)
                    raise _error(path, line, f'{base.name} has no {name!r}{hint}') from error
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
                 if Path(frame.filename).resolve() == path.resolve()]
        line, what = lines[-1] if lines else None, f'{type(error).__name__}: {error}'
        if isinstance(error, SyntaxError):
            line, what = error.lineno, f'{type(error).__name__}: {error.msg}'
        elif isinstance(error, RuntimeError) and not str(error):      # of MMEngine's stand-in for an import
            what = 'what is imported from a package can be named in a config, but not called or changed there'
        raise _error(path, line, what) from error
    return config


def _variables(path: Path) -> set[str]:
    """Return the names that a config file assigns at its top level."""
    return {target.id for node in ast.parse(path.read_text(encoding='utf-8')).body
            if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)}


def _read_changed(path: Path, values: dict[str, Any]) -> Config:
    """Read a config whose variables have other values, from a file beside links to its bases."""
    path = path.resolve()
    tree, bases = ast.parse(path.read_text(encoding='utf-8')), []
    for node in tree.body:
        names = [target.id for target in getattr(node, 'targets', ()) if isinstance(target, ast.Name)]
        if isinstance(node, ast.Assign) and len(names) == 1 and names[0] in values:
            node.value = ast.parse(repr(values[names[0]]), mode='eval').body
        elif names == ['_base_']:
            for text in ast.walk(node.value):
                if isinstance(text, ast.Constant) and isinstance(text.value, str) and '::' not in text.value:
                    text.value = str(path.parent / text.value)
        elif isinstance(node, ast.With):
            bases += [each for each in node.body if isinstance(each, ast.ImportFrom) and each.level]
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top, *['below'] * (max([each.level for each in bases], default=1) - 1))
        folder.mkdir(parents=True, exist_ok=True)
        for each in bases:
            first, _, rest = each.module.partition('.')
            upwards = Path(*['..'] * (each.level - 1))
            link = folder / upwards / (first if rest else f'{first}.py')
            if not link.exists():
                os.symlink((path.parent / upwards / link.name).resolve(), link)
        changed = folder / path.name
        changed.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding='utf-8')
        try:
            config = _read(changed)
        except ConfigError as error:
            given = ', '.join(f'{name}={value!r}' for name, value in values.items())
            raise ConfigError(f'{path} cannot be read with {given}: {error}') from error
    object.__setattr__(config, '_filename', str(path))
    return config


def _import_types(items: Iterator) -> None:
    """Have MMEngine import what a lazy config names, which it does as the items are asked for."""
    for _, value in items:
        if isinstance(value, dict):
            _import_types(value.items())
        elif isinstance(value, list | tuple):
            _import_types(enumerate(value))


def bases_of(path: Path) -> list[Path]:
    """Return the files of the bases that a config reads itself."""
    return [base for _, base, _ in _bases(path) if base is not None]


def _bases(path: Path) -> Iterator[tuple[int, Path | None, list[str]]]:
    """Yield the line, the file and the names that are asked for of each base; None for one to refuse."""
    statements = []
    with suppress(SyntaxError, ValueError, RecursionError):
        statements = ast.parse(path.read_text(encoding='utf-8')).body
    for node in statements:
        for each in node.body if isinstance(node, ast.With) else ():
            if isinstance(each, ast.ImportFrom) and each.level and each.module:
                base = os.path.join(path.parent, *['..'] * (each.level - 1), *each.module.split('.'))
                yield each.lineno, Path(f'{base}.py'), [each.name for each in each.names if each.name != '*']
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '_base_':
            for text in node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]:
                if not (isinstance(text, ast.Constant) and isinstance(text.value, str)) or (
                        '::' in text.value and not text.value.endswith('.py')):
                    yield node.lineno, None, []
                elif '::' not in text.value:
                    yield node.lineno, path.parent / text.value, []


def _error(path: Path, line: int | None, what: str) -> ConfigError:
    source = f', line {line}, in {linecache.getline(str(path), line).strip()!r}' if line else ''
    return ConfigError(f'{path.resolve()}{source}: {what}')


def _apply(config: Config, options: dict[str, Any]) -> None:
    """Merge options into a config, and take the file's own variables out."""
    if 'data_root' in options:
        _move_data(config, options.pop('data_root'))
    for key in options:
        check_option(key, config, SHORT_NAMES)
    try:
        config.merge_from_dict(options)
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise ConfigError(f'the options {", ".join(options)} do not fit into the config: {error}') from error
    for key in set(config) - RUNNER_KEYS:       # used up, and an option may have made them untrue
        config.pop(key)


def _move_data(config: Config, root: str) -> None:
    """Put another folder in the place of the variable ``data_root``, wherever a path begins with it."""
    if not isinstance(config.get('data_root'), str):
        raise ConfigError("the config has no variable 'data_root' to be moved: its data are not in one "
                          'folder; override data_root of each of its datasets')
    if not isinstance(root, str) or not root:
        raise ConfigError(f'data_root must be the path of a folder, got {root!r}')
    old, new = config.data_root.rstrip('/'), root.rstrip('/') or '/'

    def move(part: Config | dict | list) -> None:
        # Only what changes is assigned: other values may be types that are not imported yet.
        for key, value in part.items() if hasattr(part, 'items') else enumerate(part):
            if isinstance(value, str) and (value.rstrip('/') == old or value.startswith(f'{old}/')):
                part[key] = new + value[len(old):]
            elif isinstance(value, dict | list):
                move(value)

    move(config)
