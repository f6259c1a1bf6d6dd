"""Whether annotations of boxes and masks can be right: every file there, every value possible.

The libraries that train on them drop or clip in silence what is wrong with an annotation. Each function
here returns counts of images and objects, or raises an error that names file and value. A coordinate may be
off by one pixel, as in published sets that count from 0 and from 1.
"""

import json
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

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
        share: Which of the list to check; the list is read as a whole.

    Raises:
        FileNotFoundError: If the list, an image or an annotation is missing.
        ValueError: If the list is empty or has no objects, an annotation cannot be read, or its class, box or
            size is impossible.
    """
    names = _read_list(list_file)
    paths = [Path(root, images, f'{name}.jpg') for name in names]
    files = [Path(root, annotations, f'{name}.xml') for name in names]
    _require_files(paths, f'images of {list_file}')
    _require_files(files, f'annotations of {list_file}')
    counts = _each(lambda pair: _check_voc_image(*pair, classes), list(zip(paths, files, strict=True))[share])
    _require_objects(sum(counts), list_file)
    return dict(images=len(names), objects=sum(counts))


def _check_voc_image(path: Path, file: Path, classes: Sequence[str]) -> int:
    try:
        # expat bounds what entities expand to, and ElementTree follows none to other files.
        root = ElementTree.parse(file).getroot()             # nosec B314
        boxes = [(entry.findtext('name', '').strip(), [
            float(entry.find('bndbox').findtext(side)) for side in ('xmin', 'ymin', 'xmax', 'ymax')])
            for entry in root.findall('object')]
        said = None if root.find('size') is None else tuple(
            int(root.find('size').findtext(side)) for side in ('width', 'height'))
    except (ElementTree.ParseError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f'{file} is not an annotation of boxes in VOC\'s form: {error}') from error
    size = _image_size(path)
    if said is not None and said != size:
        raise ValueError(f'{file} says that its image is {said[0]}x{said[1]}, and {path} is '
                         f'{size[0]}x{size[1]}')
    for name, box in boxes:
        if name not in classes:
            raise ValueError(f'{file} has an object of class {name!r}, which is not among the '
                             f'config\'s {len(classes)}: {_some(classes)}; correct it, or set '
                             'metainfo=dict(classes=...)')
        _check_box(box, size, f'{file}: {name}')
    return len(boxes)


def check_coco(ann_file: str | Path, images: str | Path, classes: Sequence[str] | None,
               share: slice = slice(None)) -> dict[str, int]:
    """Check the boxes and masks of a COCO annotation file.

    Args:
        ann_file: ``instances_*.json``.
        images: Folder of the images.
        classes: Names of the categories, in the order of the file; None accepts any.
        share: Which of the images to open.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the file is not COCO's, is empty, lacks a class or has them in another order, or an
            annotation's image, category, box, polygon or mask is impossible.
    """
    ann_file = Path(ann_file)
    _require_files([ann_file], 'annotation files')
    try:
        content = json.loads(ann_file.read_text(encoding='utf-8'))
        entries = {entry['id']: entry for entry in content['images']}
        categories = {entry['id']: entry['name'] for entry in content['categories']}
        annotations = content['annotations']
        paths = {key: Path(images, entry['file_name']) for key, entry in entries.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{ann_file} is not a COCO annotation file: {error!r}') from error
    if not entries:
        raise ValueError(f'{ann_file} lists no images')
    if classes is not None:
        _check_categories(list(categories.values()), classes, ann_file)
    _require_files(list(paths.values()), f'images of {ann_file}')
    for key, size in zip(list(paths)[share], _each(_image_size, list(paths.values())[share]), strict=True):
        said = (entries[key]['width'], entries[key]['height'])
        if said != size:
            raise ValueError(f'{ann_file} says that {paths[key]} is {said[0]}x{said[1]}, and it is '
                             f'{size[0]}x{size[1]}')
    for annotation in annotations:
        _check_coco_annotation(annotation, entries, categories, ann_file)
    _require_objects(len(annotations), ann_file)
    return dict(images=len(entries), objects=len(annotations))


def _check_categories(found: Sequence[str], classes: Sequence[str], ann_file: Path) -> None:
    absent = [name for name in classes if name not in found]
    unknown = [name for name in found if name not in classes]
    if absent or unknown:
        only = '; '.join(f'{len(names)} only in {where} ({_some(names)})' for names, where in (
            (unknown, 'the file'), (absent, 'the config')) if names)
        raise ValueError(f'{ann_file} and the config differ in their classes: {only}; set '
                         'metainfo=dict(classes=...)')
    if list(found) != list(classes):
        raise ValueError(f'{ann_file} has its categories in another order than the config, so that labels '
                         f'would be exchanged; set metainfo=dict(classes=...) to {_some(found)}')


def _check_coco_annotation(annotation: Mapping[str, Any], entries: Mapping, categories: Mapping,
                           ann_file: Path) -> None:
    place = f'{ann_file}: annotation {annotation.get("id")}'
    if annotation.get('image_id') not in entries:
        raise ValueError(f'{place} is of image {annotation.get("image_id")!r}, which is not in the file')
    if annotation.get('category_id') not in categories:
        raise ValueError(f'{place} has category {annotation.get("category_id")!r}, which is not in the file')
    entry = entries[annotation['image_id']]
    size = (entry['width'], entry['height'])
    box = annotation.get('bbox')
    if not isinstance(box, list) or len(box) != 4:
        raise ValueError(f'{place} must have a bbox of 4 numbers, got {box!r}')
    x, y, width, height = box
    _check_box((x, y, x + width, y + height), size, place)
    mask = annotation.get('segmentation')
    if isinstance(mask, dict) and tuple(mask['size']) != (size[1], size[0]):
        raise ValueError(f'{place} has a mask of {mask["size"][1]}x{mask["size"][0]} on an image of '
                         f'{size[0]}x{size[1]} ({entry["file_name"]})')
    for polygon in mask if isinstance(mask, list) else ():
        _check_box((min(polygon[::2]), min(polygon[1::2]), max(polygon[::2]), max(polygon[1::2])), size,
                   f'{place} (polygon)')


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
        ValueError: If there are no images, or a mask is of another size or has another label.
    """
    if not pairs:
        raise ValueError(f'{origin} lists no images')
    _require_files([Path(image) for image, _ in pairs], f'images of {origin}')
    _require_files([Path(mask) for _, mask in pairs], f'masks of {origin}')
    highest = num_classes if reduce_zero_label else num_classes - 1

    def check(pair: tuple) -> int:
        path, file = map(Path, pair)
        size = _image_size(path)
        mask = _read_mask(file)
        if mask.ndim != 2 or mask.shape[::-1] != size:
            raise ValueError(f'{file} is {"x".join(map(str, mask.shape[::-1]))}, and its image {path} is '
                             f'{size[0]}x{size[1]}')
        labels = np.unique(mask)
        wrong = labels[(labels > highest) & (labels != ignore_index)]
        if len(wrong):
            raise ValueError(f'{file} has label {wrong[0]}, and labels are 0 to {highest} ({num_classes} '
                             f'classes) or {ignore_index}, which does not count')
        return int((labels <= highest).sum())

    return dict(images=len(pairs), objects=sum(_each(check, list(pairs)[share])))


def _read_list(path: str | Path) -> list[str]:
    _require_files([Path(path)], 'lists')
    names = [line.split()[0] for line in Path(path).read_text(encoding='utf-8').splitlines() if line.strip()]
    if not names:
        raise ValueError(f'{path} lists no images')
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f'{path} lists {len(twice)} images more than once, among them {twice[0]}')
    return names


def _require_files(paths: Sequence[Path], what: str) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(f'{len(missing)} of {len(paths)} {what} missing, the first is {missing[0]}')


def _require_objects(count: int, origin: str | Path) -> None:
    if not count:
        raise ValueError(f'{origin} has images and not one object')


def _image_size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except UnidentifiedImageError as error:
        raise ValueError(f'{path} is not an image') from error


def _read_mask(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f'{path} is not a mask that can be read: {error}') from error


def _check_box(box: Sequence[float], size: tuple[int, int], place: str) -> None:
    x1, y1, x2, y2 = box
    if not all(-SLACK_PX <= low <= high <= side + SLACK_PX for low, high, side in (
            (x1, x2, size[0]), (y1, y2, size[1]))):
        raise ValueError(f'{place} has the box ({x1:g}, {y1:g}) to ({x2:g}, {y2:g}), which does not lie in '
                         f'its image of {size[0]}x{size[1]} pixels')


def _each(function: Callable, items: Iterable) -> list:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:20]) + (', ...' if len(names) > 20 else '')
