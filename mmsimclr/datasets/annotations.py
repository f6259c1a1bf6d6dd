"""Checks of VOC, COCO and segmentation annotations before training."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from PIL import ExifTags

from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import open_regular, opened_image, read_json, read_text, read_xml

# The end of a whole file, but for what cameras and editors append.
ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND'}
TAIL_BYTES = 4096
THREADS = 8
SLACK_PX = 1                                 # Boxes may reach so far beyond their image.
MIN_POLYGON_POINTS = 3
# Those of COCO have 0.5 GB, those of LVIS 1.1 GB.
MAX_ANNOTATION_BYTES = 2_000_000_000


class UnreadableImageError(InputError):
    """A file that is not an image, or not all of one."""


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height in pixels, as OpenCV loads an image: turned as its EXIF entry says.

    Only images whose end is missing are decoded; UnreadableImageError if one is not whole.
    """
    try:
        with opened_image(path) as image:
            with open_regular(path) as file:
                file.seek(max(0, path.stat().st_size - TAIL_BYTES))
                if image.format not in ENDS or ENDS[image.format] not in file.read():
                    image.load()
            width, height = image.size
            is_turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)    # quarter turns
    except MemoryError:
        raise
    except Exception as error:                   # decoders of foreign bytes raise almost anything
        raise UnreadableImageError(f'{path} is not an image that can be read: {error}') from error
    return (height, width) if is_turned else (width, height)


def read_mask(path: Path) -> np.ndarray:
    """Return a mask of classes, [H, W], with the numbers in the file; colours are refused."""
    try:
        with opened_image(path) as image:
            mask = np.asarray(image)
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(f'{path} is not a mask that can be read: {error}') from error
    if mask.ndim != 2:
        raise InputError(f'{path} has {mask.shape[2]} channels, a mask has one (a gray or palette image); '
                         'convert its colours to numbers of classes')
    return mask


def check_voc(list_file: str | Path, root: str | Path, classes: Sequence[str], images: str = 'JPEGImages',
              annotations: str = 'Annotations', share: slice = slice(None)) -> dict[str, int]:
    """Check the boxes of a list of a PASCAL VOC devkit; return the numbers of ``images`` and ``objects``.

    ``list_file`` names an image on each line; ``root`` is the folder of one year, ``VOCdevkit/VOC2007``, with
    ``NAME.jpg`` in ``images`` and ``NAME.xml`` in ``annotations``. ``share`` is the part of the list to open.
    FileNotFoundError if a file is missing, ValueError if the list, an image, a class or a box is wrong.
    """
    names = _read_list(Path(list_file))
    paths = [Path(root, images, f'{name}.jpg') for name in names]
    files = [Path(root, annotations, f'{name}.xml') for name in names]
    require_files(paths, f'images of {list_file}')
    require_files(files, f'annotations of {list_file}')
    counts = _each(lambda pair: _check_voc_image(*pair, classes), list(zip(paths, files, strict=True))[share])
    if len(counts) == len(names) and not sum(counts):
        raise InputError(f'{list_file} has images and not one object')
    return dict(images=len(names), objects=sum(counts))


def _read_list(path: Path) -> list[str]:
    """Return the lines of a list, which mmdet takes for names as they are, spaces and empty lines too."""
    require_files([path], 'lists')
    names = read_text(path, 'a list of images').splitlines()
    if not any(name.strip() for name in names):
        raise InputError(f'{path} lists no images')
    if '' in names:
        raise InputError(f'line {names.index("") + 1} of {path} is empty; take it out')
    _require_once(names, path, 'images')
    return names


def _check_voc_image(path: Path, file: Path, classes: Sequence[str]) -> int:
    root = read_xml(file, 'an annotation of boxes in VOC\'s form')
    try:
        boxes = [(entry.findtext('name'), int(entry.findtext('difficult', '0')), [
            float(entry.find('bndbox').findtext(side)) for side in ('xmin', 'ymin', 'xmax', 'ymax')])
            for entry in root.findall('object')]
        stated = root.find('size')
        if stated is not None:
            stated = tuple(int(stated.findtext(side)) for side in ('width', 'height'))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(f'{file} is not an annotation of boxes in VOC\'s form: {error}') from error
    size = image_size(path)
    if stated not in (None, size):
        raise InputError(f'{file} says that its image is {_x(stated)}, and {path} is {_x(size)}')
    for name, is_difficult, box in boxes:
        if name not in classes:
            raise InputError(f'{file} has an object of class {name!r}, which is not among the config\'s '
                             f'{len(classes)}: {_some(classes)}; correct it, or set '
                             'metainfo=dict(classes=...)')
        _check_box(box, size, f'{file}: {name}')
        x1, y1, x2, y2 = map(int, box)
        if not is_difficult and (x1 == x2 or y1 == y2):                    # of which losses become NaN
            raise InputError(f'{file}: {name} has the box ({x1}, {y1}) to ({x2}, {y2}), which has no area; '
                             'correct it, or mark the object as difficult')
    return len(boxes)


def check_segmentation(pairs: Sequence[tuple[str | Path, str | Path]], num_classes: int, origin: str,
                       ignore_index: int = 255, reduce_zero_label: bool = False,
                       share: slice = slice(None)) -> dict[str, int]:
    """Check images and their masks; return the numbers of ``images`` and, as ``objects``, of classes in each.

    ``pairs`` are files of an image and of its mask, ``origin`` is their name in messages. Labels are below
    ``num_classes``, or ``ignore_index``; with ``reduce_zero_label`` 0 does not count and classes begin at 1.
    Errors and ``share`` are those of :func:`check_voc`.
    """
    if not pairs:
        raise InputError(f'{origin} lists no images')
    pairs = [(Path(image), Path(mask)) for image, mask in pairs]
    _require_once([image for image, _ in pairs], origin, 'images')
    require_files([image for image, _ in pairs], f'images of {origin}')
    require_files([mask for _, mask in pairs], f'masks of {origin}')
    highest = num_classes if reduce_zero_label else num_classes - 1

    def check(pair: tuple[Path, Path]) -> int:
        path, file = pair
        size, mask = image_size(path), read_mask(file)
        if mask.shape[::-1] != size:
            raise InputError(f'{file} is {_x(mask.shape[::-1])}, and its image {path} is {_x(size)}')
        labels = np.unique(mask)
        wrong = labels[~np.isin(labels, [*range(highest + 1), ignore_index])]       # NaN among them
        if len(wrong):
            raise InputError(f'{file} has label {wrong[0]}, and labels are 0 to {highest} ({num_classes} '
                             f'classes) or {ignore_index}, which does not count')
        return int((labels <= highest).sum())

    return dict(images=len(pairs), objects=sum(_each(check, pairs[share])))


def check_coco(ann_file: str | Path, images: str | Path, classes: Sequence[str] | None, *,
               masks: bool = True, share: slice = slice(None)) -> dict[str, int]:
    """Check the boxes and masks of a COCO annotation file; return the numbers of ``images`` and ``objects``.

    Objects without area are in COCO itself; training leaves them out, and a warning counts them. ``classes``
    are the categories in the file's order (None accepts any); ``masks`` says whether each object must have
    one. Errors and ``share`` are those of :func:`check_voc`.
    """
    ann_file = Path(ann_file)
    require_files([ann_file], 'annotation files')
    # Where a number is NaN, the check of its annotation says which one.
    content = read_json(ann_file, 'a COCO annotation file', MAX_ANNOTATION_BYTES, finite=False)
    try:
        entries, categories, annotations = (
            [dict(entry) for entry in content[key]] for key in ('images', 'categories', 'annotations'))
        unique = {f'{what} ids': [entry['id'] for entry in listed] for what, listed in (
            ('image', entries), ('category', categories), ('annotation', annotations))}
        names = [entry['name'] for entry in categories]
        paths = [Path(images, entry['file_name']) for entry in entries]
        sizes = {entry['id']: (entry['width'], entry['height']) for entry in entries}
        for what, listed in {**unique, 'categories': names}.items():
            if strange := [each for each in listed if type(each) not in (int, str)]:
                raise TypeError(f'{what} must be numbers or texts, got {strange[0]!r:.80}')
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{ann_file} is not a COCO annotation file: {type(error).__name__}: '
                         f'{error}') from error
    for what, listed in {**unique, 'categories': names, 'images': paths}.items():
        _require_once(listed, ann_file, what)
    if not entries:
        raise InputError(f'{ann_file} lists no images')
    if classes is not None and list(names) != list(classes):
        absent = [name for name in classes if name not in names]
        unknown = [name for name in names if name not in classes]
        if absent or unknown:
            raise InputError(f'{ann_file} and the config differ in their classes: only the file has '
                             f'{_some(unknown)}, only the config has {_some(absent)}; set '
                             'metainfo=dict(classes=...)')
        raise InputError(f'{ann_file} has its categories in another order than the config, so that labels '
                         f'would be exchanged; set metainfo=dict(classes=...) to {_some(names)}')
    require_files(paths, f'images of {ann_file}')
    opened = paths[share]
    for path, stated, size in zip(
            opened, list(sizes.values())[share], _each(image_size, opened), strict=True):
        if stated != size:
            raise InputError(f'{ann_file} says that {path} is {_x(stated)}, and it is {_x(size)}')
    known, flat, num_counted = set(unique['category ids']), [], 0
    for annotation in annotations:
        if not _has_area(annotation, sizes, known, masks, ann_file):
            flat.append(annotation['id'])
        elif not annotation.get('iscrowd'):
            num_counted += 1
    if flat:
        print_log(f'{ann_file}: {len(flat)} of {len(annotations)} annotations have no area, the first is '
                  f'{flat[0]}; training leaves them out', 'current', logging.WARNING)
    if not num_counted:
        raise InputError(f'{ann_file} has images and not one object')
    return dict(images=len(entries), objects=len(annotations))


def _has_area(annotation: Mapping[str, Any], sizes: Mapping, categories: set, masks: bool,
              ann_file: Path) -> bool:
    """Check an annotation; return whether training would see it."""
    place = f'{ann_file}: annotation {annotation["id"]}'
    try:
        image, category, box, area, mask = (
            annotation.get(key) for key in ('image_id', 'category_id', 'bbox', 'area', 'segmentation'))
        if image not in sizes:
            raise InputError(f'{place} is of image {image!r}, which is not in the file')
        if category not in categories:
            raise InputError(f'{place} has category {category!r}, which is not in the file')
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise InputError(f'{place} must have a bbox of 4 numbers, got {box!r}')
        if not _is_number(area):
            raise InputError(f'{place} must have an area, the number of its pixels, got {area!r}')
        x, y, width, height = box
        _check_box((x, y, x + width, y + height), sizes[image], place)
        if min(width, height) < 1 or area <= 0:
            return False
        if mask and isinstance(mask, dict):
            _check_run_lengths(mask, *sizes[image], place)
        elif mask or masks:
            _check_polygons(mask, sizes[image], place)
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f'{place} cannot be read: {type(error).__name__}: {error}') from error
    return True


def _check_run_lengths(mask: Mapping[str, Any], width: int, height: int, place: str) -> None:
    if list(mask['size']) != [height, width]:
        raise InputError(f'{place} has a mask of {_x(mask["size"][::-1])} on an image of {width}x{height}')
    counts = mask['counts']
    if isinstance(counts, str):
        counts = _unpacked(counts, place)
    if not isinstance(counts, list) or not all(type(count) is int for count in counts):
        raise InputError(f'{place} has run lengths that are neither a list nor a text: {counts!r:.80}')
    if min(counts, default=-1) < 0 or sum(counts) != width * height:
        raise InputError(f'{place} has run lengths of {sum(counts)} pixels, or negative ones, on an image of '
                         f'{width}x{height}, which has {width * height}')


def _unpacked(text: str, place: str) -> list[int]:
    """Return the run lengths that pycocotools packed into a text (``rleFrString`` in its maskApi.c).

    A character less 48 has 5 bits of a number, the lowest first, and a sixth if more follow. The last has the
    sign, and from the fourth number on, each is less the one two before.
    """
    counts, value, shift = [], 0, 0
    for bits in (ord(character) - 48 for character in text):
        if not 0 <= bits < 64 or shift > 60:
            raise InputError(f'{place} has run lengths that pycocotools did not pack: {text!r:.80}')
        value, shift = value | (bits & 31) << shift, shift + 5
        if not bits & 32:
            value -= (bits & 16) << shift - 4
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts if not shift else [-1]


def _check_polygons(mask: Any, size: tuple[int, int], place: str) -> None:
    polygons = [polygon for polygon in mask if isinstance(polygon, list) and len(polygon) % 2 == 0
                and len(polygon) >= 2 * MIN_POLYGON_POINTS] if isinstance(mask, list) else []
    if not polygons or not all(_is_number(side) for polygon in mask for side in polygon):
        raise InputError(f'{place} must have a segmentation: run lengths, or a list of polygons of at least '
                         f'{MIN_POLYGON_POINTS} points x, y; got {str(mask)[:80]}')
    area = 0.0
    for polygon in polygons:
        x, y = polygon[::2], polygon[1::2]
        _check_box((min(x), min(y), max(x), max(y)), size, f'{place} (polygon)')
        area += abs(sum(x[i - 1] * y[i] - x[i] * y[i - 1] for i in range(len(x))))       # twice it
    if not area:
        raise InputError(f'{place} has polygons without area: {str(mask)[:80]}')


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)


def _check_box(box: Sequence[float], size: Sequence[int], place: str) -> None:
    """Raise if a box (x1, y1, x2, y2) does not lie in an image of a size (width, height)."""
    (x1, y1, x2, y2), (width, height) = box, size
    if not (-SLACK_PX <= x1 <= x2 <= width + SLACK_PX and -SLACK_PX <= y1 <= y2 <= height + SLACK_PX):
        raise InputError(f'{place} has the box ({x1:g}, {y1:g}) to ({x2:g}, {y2:g}), which does not lie in '
                         f'its image of {_x(size)} pixels')


def require_files(paths: Sequence[Path], what: str, advice: str = '') -> None:
    """Raise MissingFileError unless all of these files are there."""
    # Not Path.is_file, which raises for a name that is too long.
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise MissingFileError(f'{len(missing)} of {len(paths)} {what} missing, the first is {missing[0]}'
                               f'{advice and f". {advice}"}')


def _require_once(items: Iterable[Hashable], origin: str | Path, what: str) -> None:
    twice = [item for item, count in Counter(items).items() if count > 1]
    if twice:
        raise InputError(f'{origin} lists {len(twice)} {what} more than once, among them {twice[0]}')


def _each(function: Callable, items: Iterable) -> list:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


def _x(size: Iterable[int]) -> str:
    return 'x'.join(map(str, size))


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:20]) + (', ...' if len(names) > 20 else '') or 'none'
