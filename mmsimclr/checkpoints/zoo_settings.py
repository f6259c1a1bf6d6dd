"""Where weights are looked for and kept: what environment variables and the user's config file say.

Environment variables, which go before the file:
    MMSIMCLR_MIRRORS: Where to look before the published hosts: folders, ``file://`` or ``http(s)://``
        addresses, separated by commas. A mirror holds a file under its name alone or under the path it was
        published under (``mmselfsup/1.x/simclr/...``).
    MMSIMCLR_CACHE: Folder of the cache; otherwise ``$XDG_CACHE_HOME/mmsimclr/checkpoints``, otherwise
        ``~/.cache/mmsimclr/checkpoints``.
    MMSIMCLR_CONFIG: The config file; otherwise ``$XDG_CONFIG_HOME/mmsimclr/config.yml``, otherwise
        ``~/.config/mmsimclr/config.yml``, which need not exist. It is YAML::

            mirrors: [/data/checkpoints, https://mirror.example]
            cache: /data/cache
"""

import difflib
import os
import re
from pathlib import Path

import yaml

KEYS = {'mirrors': 'a list of folders and addresses', 'cache': 'a folder'}


def mirrors() -> list[str]:
    """Return where to look before the published hosts: the environment's mirrors, then the file's.

    Raises:
        ValueError: If the config file is not as it should be; the message names it.
        FileNotFoundError: If MMSIMCLR_CONFIG names no file.
    """
    path, settings = _settings()
    listed = os.environ.get('MMSIMCLR_MIRRORS', '').split(',')
    return [*(mirror.strip() for mirror in listed if mirror.strip()),
            *(mirror if re.match(r'\w+://', mirror) else str(_beside(path, mirror))
              for mirror in settings.get('mirrors', ()))]


def cache_folder() -> Path:
    """Return the folder of the cache, which need not exist yet; errors are those of :func:`mirrors`."""
    if folder := os.environ.get('MMSIMCLR_CACHE'):
        return Path(folder).expanduser()
    path, settings = _settings()
    if folder := settings.get('cache'):
        return _beside(path, folder)
    return _xdg_folder('XDG_CACHE_HOME', '.cache') / 'mmsimclr' / 'checkpoints'


def config_file() -> Path:
    """Return the user's config file, which need not exist."""
    if named := os.environ.get('MMSIMCLR_CONFIG'):
        return Path(named).expanduser()
    return _xdg_folder('XDG_CONFIG_HOME', '.config') / 'mmsimclr' / 'config.yml'


def _settings() -> tuple[Path, dict]:
    """Return the user's config file and what it says."""
    path = config_file()
    if not path.is_file():
        if os.environ.get('MMSIMCLR_CONFIG'):
            raise FileNotFoundError(f'no file at {path}, which MMSIMCLR_CONFIG names')
        return path, {}
    try:
        settings = yaml.safe_load(path.read_text(encoding='utf-8')) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f'{path} is no YAML: {error}') from error
    _check(path, settings)
    return path, settings


def _check(path: Path, settings: object) -> None:
    accepted = '; '.join(f'{key}: {what}' for key, what in KEYS.items())
    if not isinstance(settings, dict):
        raise ValueError(f'{path} must hold keys and values ({accepted}), got {settings!r}')
    for key, value in settings.items():
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            raise ValueError(f'{path} has an unknown key {key!r}'
                             + (f'; did you mean {near[0]!r}?' if near else f' (accepted: {accepted})'))
        texts = value if key == 'mirrors' and isinstance(value, list) else [value]
        if (key == 'mirrors') != isinstance(value, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f'{path}: {key} must be {KEYS[key]}, got {value!r}')


def _beside(path: Path, folder: str) -> Path:
    """Return a folder that a config file names: below the file's own, unless absolute."""
    return path.parent / Path(folder).expanduser()


def _xdg_folder(variable: str, default: str) -> Path:
    # The XDG specification: an empty variable counts as unset.
    return Path(os.environ.get(variable) or Path.home() / default)
