"""The official lists of 1 % and 10 % of ImageNet's training images."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mmsimclr.datasets.subsets import read_names
from mmsimclr.errors import InputError
from mmsimclr.files import atomic_writer, download

OFFICIAL_URL = 'https://raw.githubusercontent.com/google-research/simclr/master/imagenet_subsets/{name}'
# Images of each list: that share of 1,281,167, rounded down.
NUM_IMAGES = {'1percent.txt': 12_811, '10percent.txt': 128_116}
NUM_CLASSES = 1000
NAME = re.compile(r'(n\d{8})_\d+\.JPEG')


def prepare_imagenet_subsets(folder: str | Path, source: str | Path | None = None, url: str = OFFICIAL_URL,
                             timeout: float = 30.0, report: Callable[[str], None] = print) -> list[Path]:
    """Write ``1percent.txt`` and ``10percent.txt`` into a folder, checked; return their paths.

    They are taken from the folder ``source``, or fetched from ``url``, where ``{name}`` stands for the file's
    name. ValueError if the names of a list, their number or their classes are not those of the official one.
    """
    paths = []
    for name in NUM_IMAGES:
        path = Path(folder) / name
        origin = Path(source) / name if source is not None else path
        if source is None and not path.is_file():
            origin = download(url.format(name=name), path.with_name(f'{name}.fetched'), timeout=timeout)
        num_classes = check_list(origin, name)
        if origin != path:
            with atomic_writer(path) as file:
                file.write(origin.read_bytes())
            if source is None:
                origin.unlink()
        report(f'{path}: {NUM_IMAGES[name]} images of {num_classes} classes')
        paths.append(path)
    return paths


def check_list(path: Path, name: str) -> int:
    """Return the number of classes of a list, after checking that it may be the official one."""
    names = read_names(path)
    matches = [NAME.fullmatch(line) for line in names]
    if not all(matches):
        wrong = names[matches.index(None)]
        raise InputError(f'{path} is not the list {name}: {wrong!r} is no name of an image of ImageNet '
                         '(n01440764_10074.JPEG)')
    classes = Counter(match[1] for match in matches)
    if len(names) != NUM_IMAGES[name] or len(classes) != NUM_CLASSES:
        raise InputError(f'{path} is not the list {name}: it names {len(names)} images of {len(classes)} '
                         f'classes, and the official one {NUM_IMAGES[name]} of {NUM_CLASSES}')
    return len(classes)
