"""Configs and index that come with the package: beside it in a checkout, inside it in a wheel."""

import ast
import re
from pathlib import Path

from mmsimclr.errors import MissingFileError, did_you_mean, nearest_name

PACKAGE = Path(__file__).parents[1]
INDEX = 'model-index.yml'


def shipped_root() -> Path:
    """Return the folder that has ``model-index.yml`` and ``configs``."""
    roots = (PACKAGE / '.mim', PACKAGE.parent)
    for root in roots:
        if (root / INDEX).is_file():                         # of an editable install a link to the checkout
            return (root / INDEX).resolve().parent if (root / INDEX).is_symlink() else root
    raise MissingFileError(f'no {INDEX} in {roots[0]} or {roots[1]}: install mmsimclr again')


def shipped_configs() -> dict[str, Path]:
    """Return the configs that come with the package, by name; bases, which no command takes, are left out."""
    root = shipped_root() / 'configs'
    return {path.stem: path for path in sorted(root.rglob('*.py')) if '_base_' not in path.parts}


def find_config(name: str | Path) -> Path:
    """Return the path of a config: a file, or the name of one that comes with the package.

    Such a name may have folders before it and ``.py`` behind it: ``configs/simclr/NAME.py`` is found from any
    folder.

    Raises:
        MissingFileError: If there is neither; it suggests the nearest one.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_configs()
    found = shipped.get(path.name.removesuffix('.py'))
    if found and not path.is_absolute() and found.with_suffix('').parts[-len(path.parts):] == \
            path.with_name(found.stem).parts:
        return found
    near = nearest_name(path, path.parent.glob('*.py'), cutoff=0.4) if path.suffix == '.py' else None
    hint = f'; did you mean {near}?' if near else did_you_mean(path.stem, shipped, cutoff=0.4)
    raise MissingFileError(f'no config at {path}{hint} (mmsimclr configs list has those that come with it)')


def config_header(path: Path) -> dict[str, str]:
    """Return the labelled paragraphs of a config's docstring: Command, Hardware, Expected, Deviations."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    fields = re.split(r'^([A-Z][\w ]*?)(?: from the paper)?: ', text, flags=re.MULTILINE)
    return {name: ' '.join(body.split()) for name, body in zip(fields[1::2], fields[2::2], strict=False)}


def hardware_of(path: Path) -> str:
    """Return what the header of a config says under ``Hardware``; an empty text if it says nothing."""
    return config_header(path).get('Hardware', '')


def for_cpus(path: Path) -> Path | None:
    """Return the config to take without a GPU in the place of one that is meant for GPUs; None for others.

    It is one for the same data, or else the one for a folder of images.
    """
    if not (hardware := hardware_of(path)) or 'CPU' in hardware:
        return None
    beside = [each for each in shipped_configs().values() if each.parent.name == 'simclr'
              and 'CPU' in hardware_of(each)]
    endings = (f'_{path.stem.rpartition("_")[2]}', '_folder')
    return next((each for end in endings for each in beside if each.stem.endswith(end)), None)
