"""From a config file and command-line options to a checked config."""

import difflib
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmsimclr.config.check import RUNNER_KEYS, ConfigError, check_config, find_places, raise_unknown


def load_config(path: str | Path, options: dict[str, Any] | None = None,
                work_dir: str | Path | None = None) -> Config:
    """Load a config of either dialect, merge options into it, and check it.

    Args:
        path: A Python config: lazy dialect (types as classes) or text dialect (types as strings).
        options: Values to override, keys dotted: ``{'train_cfg.max_epochs': 1}``.
        work_dir: Where logs and checkpoints go; otherwise the config's, otherwise
            ``work_dirs/<name of the config>``.

    Returns:
        What the Runner reads of the config (the file's own variables are left out), with ``work_dir``,
        ``default_scope`` and ``launcher`` set.

    Raises:
        FileNotFoundError: If there is no such file; it suggests the nearest one beside it.
        ConfigError: If the file is not Python or names what cannot be imported, a key or a type in it
            or in the options is unknown, or an option names a variable of the file, which would change
            nothing.
    """
    path = Path(path)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path('configs')
        names = [str(p) for p in folder.rglob('*.py')]
        near = difflib.get_close_matches(str(path), names, n=1, cutoff=0.4)
        raise FileNotFoundError(f'no config at {path}' + (f'; did you mean {near[0]}?' if near else ''))
    try:
        config = Config.fromfile(str(path))
        check_config(config)
    except (ImportError, SyntaxError) as error:        # MMEngine imports what a lazy config names at use
        raise ConfigError(f'{path} cannot be read: {error}') from error
    if options:
        for key in options:
            _check_option(key, config)
        config.merge_from_dict(options)
    # The file's own variables are used up, and an option may have made them untrue.
    for key in set(config) - RUNNER_KEYS:
        config.pop(key)
    check_config(config)
    config.setdefault('default_scope', 'mmsimclr')
    config.setdefault('launcher', 'none')
    if work_dir is not None:
        config.work_dir = str(work_dir)
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / path.stem)
    return config


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
