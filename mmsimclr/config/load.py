"""From a config file and command-line options to a checked config."""

import difflib
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmsimclr.config.check import RUNNER_KEYS, check_config, check_variables
from mmsimclr.config.errors import ConfigError, raise_unknown
from mmsimclr.config.reading import explained_imports, read_config
from mmsimclr.config.variables import find_places


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
        raise FileNotFoundError(f'no config at {path}' + (f'; did you mean {near[0]}?' if near else ''))
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
