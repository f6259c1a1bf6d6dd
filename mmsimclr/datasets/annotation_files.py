"""Whether annotations of boxes and masks can be right: every file there, every value possible.

The libraries that train on them drop or clip in silence what is wrong with an annotation. Each function
here returns counts of images and objects, or raises an error that names file and value. A coordinate may be
off by one pixel, as in published sets that count from 0 and from 1.
"""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mmsimclr.datasets.whole_images import image_size, read_mask

SLACK_PX = 1
THREADS = 8


def check_voc(list_file: str | Path, root: str | Path, classes: Sequence[str], images: str = 'JPEGImages',
              annotations: str = 'Annotations', share: slice = slice(None)) -> dict[str, int]:
    """Check the boxes of a list of a PASCAL VOC devkit.

    Args:
        list_file: Text file with the name of an image on each line.
        root: Folder of one year, such as ``VOCdevkit/VOC2007``.
        classes: Names that objects may have.
        images: Folder of ``NAME.jpg`` below the root.
        annotations: Folder of ``NAME.xml`` below the root.
        share: Which of the list to check; the list is read as a whole. A share may have no objects.

    Raises:
        FileNotFoundError: If the list, an image or an annotation is missing.
        ValueError: If the list is empty, has an image twice or no objects, an image or annotation cannot be
            read, or its class, box or size is impossible.
    """
    names = _read_list(list_file)
    paths = [Path(root, images, f'{name}.jpg') for name in names]
    files = [Path(root, annotations, f'{name}.xml') for name in names]
    require_files(paths, f'images of {list_file}')
    require_files(files, f'annotations of {list_file}')
    counts = each(lambda pair: _check_voc_image(*pair, classes), list(zip(paths, files, strict=True))[share])
    if len(counts) == len(names):
        require_objects(sum(counts), list_file)
    return dict(images=len(names), objects=sum(counts))


def _check_voc_image(path: Path, file: Path, classes: Sequence[str]) -> int:
    try:
        # expat bounds what entities expand to, and ElementTree follows none to other files.
        root = ElementTree.parse(file).getroot()             # nosec B314
        boxes = [(entry.findtext('name'), int(entry.findtext('difficult', '0')), [
            float(entry.find('bndbox').findtext(side)) for side in ('xmin', 'ymin', 'xmax', 'ymax')])
            for entry in root.findall('object')]
        said = None if root.find('size') is None else tuple(
            int(root.find('size').findtext(side)) for side in ('width', 'height'))
    except (ElementTree.ParseError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f'{file} is not an annotation of boxes in VOC\'s form: {error}') from error
    size = image_size(path)
    if said is not None and said != size:
        raise ValueError(f'{file} says that its image is {said[0]}x{said[1]}, and {path} is '
                         f'{size[0]}x{size[1]}')
    for name, is_difficult, box in boxes:
        if name not in classes:
            raise ValueError(f'{file} has an object of class {name!r}, which is not among the '
                             f'config\'s {len(classes)}: {some(classes)}; correct it, or set '
                             'metainfo=dict(classes=...)')
        check_box(box, size, f'{file}: {name}')
        x1, y1, x2, y2 = map(int, box)
        if not is_difficult and (x1 == x2 or y1 == y2):                    # of which losses become NaN
            raise ValueError(f'{file}: {name} has the box ({x1}, {y1}) to ({x2}, {y2}), which has no area; '
                             'correct it, or mark the object as difficult')
    return len(boxes)


def check_segmentation(pairs: Sequence[tuple[str | Path, str | Path]], num_classes: int, origin: str,
                       ignore_index: int = 255, reduce_zero_label: bool = False,
                       share: slice = slice(None)) -> dict[str, int]:
    """Check images and their masks of classes.

    Args:
        pairs: Files of an image and of its mask.
        num_classes: Number of classes, so that labels are below.
        origin: What messages call the split.
        ignore_index: Label of pixels that do not count.
        reduce_zero_label: Whether 0 does not count either, and the classes begin at 1.
        share: Which of the pairs to open.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If there are no images, one comes twice or is not whole, or a mask has colours, is of
            another size or has another label.
    """
    if not pairs:
        raise ValueError(f'{origin} lists no images')
    require_once([str(image) for image, _ in pairs], origin, 'images')
    require_files([Path(image) for image, _ in pairs], f'images of {origin}')
    require_files([Path(mask) for _, mask in pairs], f'masks of {origin}')
    highest = num_classes if reduce_zero_label else num_classes - 1

    def check(pair: tuple) -> int:
        path, file = map(Path, pair)
        size = image_size(path)
        mask = read_mask(file)
        if mask.shape[::-1] != size:
            raise ValueError(f'{file} is {"x".join(map(str, mask.shape[::-1]))}, and its image {path} is '
                             f'{size[0]}x{size[1]}')
        labels = np.unique(mask)
        wrong = labels[(labels > highest) & (labels != ignore_index)]
        if len(wrong):
            raise ValueError(f'{file} has label {wrong[0]}, and labels are 0 to {highest} ({num_classes} '
                             f'classes) or {ignore_index}, which does not count')
        return int((labels <= highest).sum())

    return dict(images=len(pairs), objects=sum(each(check, list(pairs)[share])))


def _read_list(path: str | Path) -> list[str]:
    """Return the lines of a list, which mmdet takes for names as they are, spaces and empty lines too."""
    require_files([Path(path)], 'lists')
    try:
        names = Path(path).read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 text: {error}') from error
    if not any(name.strip() for name in names):
        raise ValueError(f'{path} lists no images')
    if '' in names:
        raise ValueError(f'line {names.index("") + 1} of {path} is empty; take it out')
    require_once(names, path, 'images')
    return names


def require_once(items: Iterable[Hashable], origin: str | Path, what: str) -> None:
    """Raise ValueError if one of the items is there twice."""
    twice = [item for item, count in Counter(items).items() if count > 1]
    if twice:
        raise ValueError(f'{origin} lists {len(twice)} {what} more than once, among them {twice[0]}')


def require_files(paths: Sequence[Path], what: str) -> None:
    """Raise FileNotFoundError if one of the files is missing."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(f'{len(missing)} of {len(paths)} {what} missing, the first is {missing[0]}')


def require_objects(count: int, origin: str | Path) -> None:
    """Raise ValueError if there is none."""
    if not count:
        raise ValueError(f'{origin} has images and not one object')


def check_box(box: Sequence[float], size: tuple[int, int], place: str) -> None:
    """Raise ValueError if a box (x1, y1, x2, y2) does not lie in an image of a size (width, height)."""
    x1, y1, x2, y2 = box
    if not all(-SLACK_PX <= low <= high <= side + SLACK_PX for low, high, side in (
            (x1, x2, size[0]), (y1, y2, size[1]))):
        raise ValueError(f'{place} has the box ({x1:g}, {y1:g}) to ({x2:g}, {y2:g}), which does not lie in '
                         f'its image of {size[0]}x{size[1]} pixels')


def each(function: Callable, items: Iterable) -> list:
    """Return the results of a function that waits for files."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


def some(names: Sequence[str]) -> str:
    """Return the first names of a list, for a message."""
    return ', '.join(names[:20]) + (', ...' if len(names) > 20 else '')
