"""A devkit of five images in the layout of PASCAL VOC."""

from pathlib import Path

import numpy as np
from PIL import Image

from mmsimclr.datasets import VOCMultiLabel

CLASSES = VOCMultiLabel.METAINFO['classes']
# Objects of each image, (class, difficult); 'b' has a cat twice, once difficult, 'c' a dog only difficult.
OBJECTS = {
    'a': [('person', 0)],
    'b': [('cat', 1), ('cat', 0), ('tvmonitor', 0)],
    'c': [('dog', 1), ('dog', 1), ('aeroplane', 0)],
    'd': [],
    'e': [('cat', 0), ('cat', 1), ('person', 1)],
}
SPLITS = {'trainval': 'bac', 'test': 'de'}


def label(name: str) -> list[int]:
    """Return the label of an image, class by class."""
    flags = [[difficult for cls, difficult in OBJECTS[name] if cls == wanted] for wanted in CLASSES]
    return [0 if not of_class else 1 if 0 in of_class else -1 for of_class in flags]


def make_devkit(root: Path) -> Path:
    """Write the images, their annotations and both kinds of lists."""
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    for number, (name, objects) in enumerate(OBJECTS.items()):
        pixels = np.full((20, 30 + number, 3), 40 * number, np.uint8)
        Image.fromarray(pixels).save(root / 'JPEGImages' / f'{name}.jpg')
        text = ''.join(f'<object><name>{cls}</name><difficult>{difficult}</difficult>'
                       f'<part><name>head</name></part></object>' for cls, difficult in objects)
        (root / 'Annotations' / f'{name}.xml').write_text(f'<annotation>{text}</annotation>')
    lists = root / 'ImageSets' / 'Main'
    for split, names in SPLITS.items():
        (lists / f'{split}.txt').write_text(''.join(f'{name}\n' for name in names))
        for place, cls in enumerate(CLASSES):
            flags = [{1: '1', 0: '-1', -1: '0'}[label(name)[place]] for name in names]
            (lists / f'{cls}_{split}.txt').write_text(
                ''.join(f'{name} {flag:>2}\n' for name, flag in zip(names, flags, strict=True)))
    return root
