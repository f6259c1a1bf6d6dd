"""Whether a COCO annotation file can be right: every image there, every box and mask possible."""

import json
import logging
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmsimclr.datasets.annotation_files import (
    check_box,
    each,
    require_files,
    require_objects,
    require_once,
    some,
)
from mmsimclr.datasets.whole_images import image_size

POINTS = 3                                    # of a polygon, at the least


def check_coco(ann_file: str | Path, images: str | Path, classes: Sequence[str] | None, *,
               masks: bool = True, share: slice = slice(None)) -> dict[str, int]:
    """Check the boxes and masks of a COCO annotation file.

    Objects without area are in COCO itself; training leaves them out, and a warning counts them.

    Args:
        ann_file: ``instances_*.json``.
        images: Folder of the images.
        classes: Names of the categories, in the order of the file; None accepts any.
        masks: Whether each object must have a mask.
        share: Which of the images to open.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the file is not COCO's, has no images or no objects, an id or image twice, lacks a
            class or has them in another order, or an annotation's image, category, box, polygon or mask is
            impossible.
    """
    ann_file = Path(ann_file)
    require_files([ann_file], 'annotation files')
    try:
        content = json.loads(ann_file.read_text(encoding='utf-8'))
        entries, categories, annotations = (
            [dict(entry) for entry in content[key]] for key in ('images', 'categories', 'annotations'))
        ids = {f'{what} ids': [entry['id'] for entry in listed] for what, listed in (
            ('image', entries), ('category', categories), ('annotation', annotations))}
        names = [entry['name'] for entry in categories]
        paths = [Path(images, entry['file_name']) for entry in entries]
        sizes = {entry['id']: (entry['width'], entry['height']) for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{ann_file} is not a COCO annotation file: {type(error).__name__}: '
                         f'{error}') from error
    for what, listed in (*ids.items(), ('categories', names), ('images', paths)):
        require_once(listed, ann_file, what)
    if not entries:
        raise ValueError(f'{ann_file} lists no images')
    if classes is not None:
        _check_categories(names, classes, ann_file)
    require_files(paths, f'images of {ann_file}')
    opened = list(zip(sizes.values(), paths, strict=True))[share]
    for (said, path), size in zip(opened, each(image_size, [path for _, path in opened]), strict=True):
        if said != size:
            raise ValueError(f'{ann_file} says that {path} is {said[0]}x{said[1]}, and it is '
                             f'{size[0]}x{size[1]}')
    known = set(ids['category ids'])
    is_seen = [_has_area(annotation, sizes, known, masks, ann_file) for annotation in annotations]
    flat = [annotation['id'] for annotation, seen in zip(annotations, is_seen, strict=True) if not seen]
    if flat:
        print_log(f'{ann_file}: {len(flat)} of {len(annotations)} annotations have no area, the first is '
                  f'{flat[0]}; training leaves them out', 'current', logging.WARNING)
    require_objects(sum(seen and not annotation.get('iscrowd') for annotation, seen in zip(
        annotations, is_seen, strict=True)), ann_file)
    return dict(images=len(entries), objects=len(annotations))


def _check_categories(found: Sequence[str], classes: Sequence[str], ann_file: Path) -> None:
    absent = [name for name in classes if name not in found]
    unknown = [name for name in found if name not in classes]
    if absent or unknown:
        only = '; '.join(f'{len(names)} only in {where} ({some(names)})' for names, where in (
            (unknown, 'the file'), (absent, 'the config')) if names)
        raise ValueError(f'{ann_file} and the config differ in their classes: {only}; set '
                         'metainfo=dict(classes=...)')
    if list(found) != list(classes):
        raise ValueError(f'{ann_file} has its categories in another order than the config, so that labels '
                         f'would be exchanged; set metainfo=dict(classes=...) to {some(found)}')


def _has_area(annotation: Mapping[str, Any], sizes: Mapping, categories: set, masks: bool,
              ann_file: Path) -> bool:
    """Check an annotation; return whether training would see it."""
    place = f'{ann_file}: annotation {annotation["id"]}'
    try:
        if annotation.get('image_id') not in sizes:
            raise ValueError(f'{place} is of image {annotation.get("image_id")!r}, which is not in the file')
        if annotation.get('category_id') not in categories:
            raise ValueError(f'{place} has category {annotation.get("category_id")!r}, which is not in the '
                             'file')
        size, box, area = sizes[annotation['image_id']], annotation.get('bbox'), annotation.get('area')
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, Real) for side in box):
            raise ValueError(f'{place} must have a bbox of 4 numbers, got {box!r}')
        if not isinstance(area, Real):
            raise ValueError(f'{place} must have an area, the number of its pixels, got {area!r}')
        x, y, width, height = box
        check_box((x, y, x + width, y + height), size, place)
        if min(width, height) < 1 or area <= 0:
            return False
        mask = annotation.get('segmentation')
        if mask or masks:
            _check_mask(mask, size, place)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f'{place} cannot be read: {type(error).__name__}: {error}') from error
    return True


def _check_mask(mask: Any, size: tuple[int, int], place: str) -> None:
    width, height = size
    if isinstance(mask, dict):
        if list(mask['size']) != [height, width]:
            raise ValueError(f'{place} has a mask of {mask["size"][1]}x{mask["size"][0]} on an image of '
                             f'{width}x{height}')
        counts = mask['counts']
        if isinstance(counts, list) and sum(counts) != width * height:
            raise ValueError(f'{place} has run lengths of {sum(counts)} pixels on an image of '
                             f'{width}x{height}, which has {width * height}')
        if not counts or not isinstance(counts, str | list):
            raise ValueError(f'{place} has run lengths that are neither a list nor a text: {counts!r}')
        return
    if not isinstance(mask, list) or not any(_is_polygon(polygon) for polygon in mask):
        raise ValueError(f'{place} must have a segmentation: run lengths, or a list of polygons of at least '
                         f'{POINTS} points x, y; got {str(mask)[:80]}')
    for polygon in mask:
        if polygon:
            check_box((min(polygon[::2]), min(polygon[1::2], default=0), max(polygon[::2]),
                       max(polygon[1::2], default=0)), size, f'{place} (polygon)')


def _is_polygon(polygon: Any) -> bool:
    return isinstance(polygon, list) and len(polygon) >= 2 * POINTS and len(polygon) % 2 == 0
