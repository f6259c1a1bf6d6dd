"""From a config file and command-line options to a checked config."""

import difflib
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmsimclr.config.check import RUNNER_KEYS, check_config, raise_unknown


def load_config(path: str | Path, options: dict[str, Any] | None = None,
                work_dir: str | Path | None = None) -> Config:
    """Load a config of either dialect, merge options into it, and check it.

    Args:
        path: A Python config: lazy dialect (types as classes) or text dialect (types as strings).
        options: Values to override, keys dotted: ``{'train_cfg.max_epochs': 1}``.
        work_dir: Where logs and checkpoints go; otherwise the config's, otherwise
            ``work_dirs/<name of the config>``.

    Returns:
        The config, with ``work_dir``, ``default_scope`` and ``launcher`` set.

    Raises:
        FileNotFoundError: If there is no such file; it suggests the nearest one beside it.
        ConfigError: If a key or a type in the file or in the options is unknown.
    """
    path = Path(path)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path('configs')
        names = [str(p) for p in folder.rglob('*.py')]
        near = difflib.get_close_matches(str(path), names, n=1, cutoff=0.4)
        raise FileNotFoundError(f'no config at {path}' + (f'; did you mean {near[0]}?' if near else ''))
    config = Config.fromfile(str(path))
    for key in options or ():
        root = key.split('.')[0]
        if root not in config and root not in RUNNER_KEYS:
            raise_unknown(root, '', {*config, *RUNNER_KEYS})
    config.merge_from_dict(options or {})
    config.setdefault('default_scope', 'mmsimclr')
    config.setdefault('launcher', 'none')
    check_config(config)
    if work_dir is not None:
        config.work_dir = str(work_dir)
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / path.stem)
    return config
