"""Write Shapes to files in the ImageFolder, Pascal VOC, COCO and Market-1501 layouts."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy import ndarray
from PIL import Image

from mmsimclr.datasets.shapes import Shapes, ShapesImage
from mmsimclr.datasets.shapes.rendering import render_scenes
from mmsimclr.datasets.shapes.scenes import Scenes, draw_scenes
from mmsimclr.errors import ExistingFileError, InputError

JPEG_QUALITY = 95
CAMERAS, IMAGES_PER_CAMERA = 4, 3                           # of each identity in Market-1501's layout


def write_image_folder(datasets: Mapping[str, Shapes], root: str | Path) -> Path:
    """Write ``root/SPLIT/CLASS/000000.png``, as torchvision's ImageFolder reads it; return ``root``.

    ``datasets`` are by split, 'train', 'val' or 'test'. FileExistsError if ``root`` holds anything.
    """
    root = _new_folder(datasets, root)
    for split, dataset in datasets.items():
        for name in dataset.classes:
            (root / split / name).mkdir(parents=True)
        for i, content in enumerate(map(dataset.render, range(len(dataset)))):
            folder = root / split / dataset.classes[content.label]
            Image.fromarray(content.image).save(folder / f'{i:06d}.png')
    return root


def write_voc(datasets: Mapping[str, Shapes], root: str | Path) -> Path:
    """Write boxes, image lists and both kinds of segmentation; return ``root/VOCdevkit/VOC2007``.

    Boxes are in VOC's convention: the first pixel is 1, and xmax and ymax are the last pixel inside.
    Segmentation images hold the class (1 to 10) or the object's number as colour index, 0 for the background.
    With both 'train' and 'val' the lists of 'trainval' are written as well.
    """
    base = _new_folder(datasets, root) / 'VOCdevkit' / 'VOC2007'
    for name in ('Annotations', 'JPEGImages', 'ImageSets/Main', 'ImageSets/Segmentation',
                 'SegmentationClass', 'SegmentationObject'):
        (base / name).mkdir(parents=True)
    lists: dict[str, dict[str, set[int]]] = {}
    number = 0
    for split, dataset in datasets.items():
        lists[split] = {}
        for content in map(dataset.render, range(len(dataset))):
            number += 1
            name = f'{number:06d}'
            lists[split][name] = set(content.labels.tolist())
            _save_jpeg(content.image, base / 'JPEGImages' / f'{name}.jpg')
            indexed_image(content.seg_map).save(base / 'SegmentationClass' / f'{name}.png')
            objects = np.zeros_like(content.seg_map)
            for k, mask in enumerate(content.masks, start=1):
                objects[mask] = k
            indexed_image(objects).save(base / 'SegmentationObject' / f'{name}.png')
            _voc_annotation(name, content, dataset.classes).write(base / 'Annotations' / f'{name}.xml')
    if 'train' in lists and 'val' in lists:
        lists['trainval'] = {**lists['train'], **lists['val']}
    for split, images in lists.items():
        for kind in ('Main', 'Segmentation'):
            _write_lines(base / 'ImageSets' / kind / f'{split}.txt', images)
        for label, name in enumerate(next(iter(datasets.values())).classes):
            _write_lines(base / 'ImageSets' / 'Main' / f'{name}_{split}.txt', (
                f'{image} {1 if label in labels else -1:2d}' for image, labels in images.items()))
    return base


def write_coco(datasets: Mapping[str, Shapes], root: str | Path) -> Path:
    """Write ``root/SPLIT2017/*.jpg`` and ``root/annotations/instances_SPLIT2017.json``; return ``root``.

    Masks are run-length encoded, so that holes and parts cut off by other objects are exact.
    """
    root = _new_folder(datasets, root)
    (root / 'annotations').mkdir()
    image_id = 0
    for split, dataset in datasets.items():
        folder = root / f'{split}2017'
        folder.mkdir()
        images: list[dict] = []
        annotations: list[dict] = []
        for content in map(dataset.render, range(len(dataset))):
            image_id += 1
            file_name = f'{image_id:012d}.jpg'
            _save_jpeg(content.image, folder / file_name)
            height, width = content.seg_map.shape
            images.append({'id': image_id, 'file_name': file_name, 'width': width, 'height': height})
            for label, (x1, y1, x2, y2), mask in zip(
                    content.labels.tolist(), content.boxes.tolist(), content.masks, strict=True):
                annotations.append({
                    'id': len(annotations) + 1, 'image_id': image_id, 'category_id': label + 1,
                    'bbox': [x1, y1, x2 - x1, y2 - y1], 'area': int(mask.sum()), 'iscrowd': 0,
                    'segmentation': run_length_encoding(mask)})
        categories = [{'id': i, 'name': name, 'supercategory': 'shape'}
                      for i, name in enumerate(dataset.classes, start=1)]
        document = {'info': {'description': f'mmsimclr Shapes, seed {dataset.seed}'},
                    'licenses': [], 'images': images, 'annotations': annotations,
                    'categories': categories}
        (root / 'annotations' / f'instances_{split}2017.json').write_text(json.dumps(document))
    return root


def write_market(datasets: Mapping[str, Shapes], root: str | Path) -> Path:
    """Write ``root/SPLIT/{query,bounding_box_test}/0001_c1s1_000001_00.png``; return ``root``.

    The object of each image of a dataset is an identity, with its class, colours and rotation. Each camera
    has a background and a light, and sees each identity several times, elsewhere and at another scale: once
    for the queries, then for the gallery. Arguments and errors are those of :func:`write_image_folder`.
    """
    root = _new_folder(datasets, root)
    camera = np.arange(CAMERAS * IMAGES_PER_CAMERA) // IMAGES_PER_CAMERA
    for split, dataset in datasets.items():
        for part in ('query', 'bounding_box_test'):
            (root / split / part).mkdir(parents=True)
        # Numbers behind those of the dataset are of other scenes.
        numbers = np.arange(len(dataset) * (1 + len(camera)) + CAMERAS)
        scenes = draw_scenes(numbers, dataset.seed, dataset.split, 'single', 1)
        for identity in range(len(dataset)):
            places = len(dataset) + CAMERAS + identity * len(camera) + np.arange(len(camera))
            seen = {field.name: getattr(scenes, field.name)[
                camera + len(dataset) if field.name in ('background_color', 'brightness', 'contrast') else
                places if field.name in ('center', 'radius') else identity + 0 * places]
                for field in dataclasses.fields(Scenes)}
            for view, image in enumerate(render_scenes(Scenes(**seen), dataset.image_size)[0]):
                part = 'bounding_box_test' if view % IMAGES_PER_CAMERA else 'query'
                name = f'{identity + 1:04d}_c{camera[view] + 1}s1_{view:06d}_00.png'
                Image.fromarray(image).save(root / split / part / name)
    return root


# Layout name -> its writer.
WRITERS = {'imagefolder': write_image_folder, 'voc': write_voc, 'coco': write_coco, 'market': write_market}


def run_length_encoding(mask: ndarray) -> dict:
    """Return COCO's run lengths of a mask, bool [H, W]: of zeros and ones in turn, down the columns."""
    flat = mask.ravel(order='F')
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return {'size': list(mask.shape), 'counts': [0, *runs] if flat[0] else runs}


def _new_folder(datasets: Mapping[str, Shapes], root: str | Path) -> Path:
    if not datasets:
        raise InputError("datasets must hold at least one split, e.g. {'train': Shapes()}, got {}")
    root = Path(root)
    if root.exists() and any(root.iterdir()):
        raise ExistingFileError(f'{root} is not empty; name a new folder or empty this one first')
    root.mkdir(parents=True, exist_ok=True)
    return root


def _save_jpeg(image: ndarray, path: Path) -> None:
    # Without chroma subsampling colours keep to the objects' edges.
    Image.fromarray(image).save(path, quality=JPEG_QUALITY, subsampling=0)


def indexed_image(index_map: ndarray) -> Image.Image:
    """Return an image of indices, uint8 [H, W], in Pascal VOC's colours."""
    image = Image.fromarray(index_map)
    image.putpalette(voc_palette().ravel().tolist())
    return image


def voc_palette() -> ndarray:
    """Return VOC's colours, uint8 RGB [256, 3]: bit b of an index is bit 7 - b // 3 of channel b % 3."""
    index, channel = np.arange(256)[:, None], np.arange(3)
    return sum(((index >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(3)).astype(np.uint8)


def _voc_annotation(name: str, content: ShapesImage, classes: tuple[str, ...]) -> ElementTree.ElementTree:
    root = ElementTree.Element('annotation')

    def add(parent: ElementTree.Element, **texts: object) -> None:
        for tag, text in texts.items():
            ElementTree.SubElement(parent, tag).text = str(text)

    height, width = content.seg_map.shape
    add(root, folder='VOC2007', filename=f'{name}.jpg')
    add(ElementTree.SubElement(root, 'source'), database='mmsimclr Shapes')
    add(ElementTree.SubElement(root, 'size'), width=width, height=height, depth=3)
    add(root, segmented=1)
    for label, box in zip(content.labels, content.boxes.astype(int), strict=True):
        element = ElementTree.SubElement(root, 'object')
        add(element, name=classes[label], pose='Unspecified', truncated=0, difficult=0)
        add(ElementTree.SubElement(element, 'bndbox'), xmin=box[0] + 1, ymin=box[1] + 1,
            xmax=box[2], ymax=box[3])
    ElementTree.indent(root)
    return ElementTree.ElementTree(root)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text(''.join(f'{line}\n' for line in lines))
