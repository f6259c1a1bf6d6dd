"""COCO annotation files that cannot be right are refused, with the file and the value."""

import json
import logging

import pytest
from PIL import Image

from mmsimclr.datasets import Shapes
from mmsimclr.datasets.annotations import check_coco
from mmsimclr.prepare.shapes import write_coco

CLASSES = Shapes.METAINFO['classes']


@pytest.fixture
def coco(tmp_path):
    shapes = Shapes(num_images=4, image_size=48, split='train', objects='multi', max_objects=3)
    return write_coco(dict(train=shapes), tmp_path / 'coco')


def checked(root, classes=CLASSES, **options):
    return check_coco(root / 'annotations/instances_train2017.json', root / 'train2017', classes, **options)


def content_of(root):
    path = root / 'annotations/instances_train2017.json'
    return path, json.loads(path.read_text())


def changed(root, **changes):
    """Change the second annotation; None takes an entry out."""
    path, content = content_of(root)
    annotation = content['annotations'][1]
    annotation.update(changes)
    content['annotations'][1] = {key: value for key, value in annotation.items() if value is not None}
    path.write_text(json.dumps(content))


def test_what_is_right_is_counted(coco):
    _, content = content_of(coco)
    assert checked(coco) == dict(images=4, objects=len(content['annotations']))


@pytest.mark.parametrize(('change', 'message'), [
    (dict(bbox=[40, 5, 20, 5]), r'annotation 2 has the box \(40, 5\) to \(60, 10\).*48x48'),
    (dict(bbox=[1, 2, 3]), r'annotation 2 must have a bbox of 4 numbers, got \[1, 2, 3\]'),
    (dict(bbox=[1, 2, '3', 4]), r"annotation 2 must have a bbox of 4 numbers, got \[1, 2, '3', 4\]"),
    (dict(bbox=[10, 10, -5, 5]), r'annotation 2 has the box \(10, 10\) to \(5, 15\)'),
    (dict(bbox=[10, 10, float('nan'), 5]), r'annotation 2 has the box \(10, 10\) to \(nan, 15\)'),
    (dict(area=None), 'annotation 2 must have an area, the number of its pixels, got None'),
    (dict(category_id=11), 'annotation 2 has category 11'),
    (dict(image_id=99), 'annotation 2 is of image 99'),
    (dict(image_id=[1]), 'annotation 2 cannot be read: TypeError'),
    (dict(segmentation=dict(size=[40, 48], counts=[1920])), r'annotation 2 has a mask of 48x40 .* of 48x48'),
    (dict(segmentation=dict(size=[48, 48], counts=[1920])), 'run lengths of 1920 pixels on .* has 2304'),
    (dict(segmentation=dict(size=[48, 48], counts=7)), 'run lengths that are neither .*: 7'),
    (dict(segmentation=dict(counts=[2304])), "annotation 2 cannot be read: KeyError: 'size'"),
    (dict(segmentation=[[1, 1, 1, 60, 5, 5]]), r'annotation 2 \(polygon\) has the box \(1, 1\) to \(5, 60\)'),
    (dict(segmentation=[[1, 1, 5, 5]]), r'polygons of at least 3 points x, y; got \[\[1, 1, 5, 5\]\]'),
    (dict(segmentation=[[1, 1, 5, 5, 7, 7, 9]]), r'polygons of at least 3 points'),
    (dict(segmentation=[1, 1, 5, 5, 7, 7]), r'polygons of at least 3 points'),
    (dict(segmentation=[]), r'annotation 2 must have a segmentation: .* got \[\]'),
    (dict(segmentation=None), r'annotation 2 must have a segmentation: .* got None'),
])
def test_values_that_cannot_be_are_refused(coco, change, message):
    changed(coco, **change)
    with pytest.raises(ValueError, match=message):
        checked(coco)


def test_masks_that_can_be_pass(coco):
    for mask in ([[1, 1, 5, 5, 1, 5]], [[1, 1], [1, 1, 5, 5, 1, 5]], dict(size=[48, 48], counts='abc')):
        changed(coco, segmentation=mask)
        assert checked(coco)['images'] == 4
    changed(coco, segmentation=None)
    assert checked(coco, masks=False)['images'] == 4


def test_objects_without_area_are_counted_in_a_warning(coco, monkeypatch):
    said = []
    monkeypatch.setattr('mmsimclr.datasets.annotations.print_log', lambda *words: said.append(words))
    for change in (dict(bbox=[5, 5, 0, 4]), dict(bbox=[5, 5, 4, 4], area=0)):
        changed(coco, **change)
        assert checked(coco)['objects'] == len(content_of(coco)[1]['annotations'])
        message, _, level = said.pop()
        assert '1 of' in message and 'the first is 2;' in message and level == logging.WARNING


@pytest.mark.parametrize('change', [dict(iscrowd=1), dict(bbox=[5, 5, 0, 0])])
def test_a_file_whose_objects_all_do_not_count_is_refused(coco, change):
    path, content = content_of(coco)
    for annotation in content['annotations'][1:]:
        annotation.update(change)
    path.write_text(json.dumps(content))
    assert checked(coco)['images'] == 4
    content['annotations'][0].update(change)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match='not one object'):
        checked(coco)


@pytest.mark.parametrize(('part', 'what'), [
    ('images', 'image ids'), ('annotations', 'annotation ids'), ('categories', 'category ids')])
def test_ids_must_be_there_once(coco, part, what):
    path, content = content_of(coco)
    content[part].append(content[part][0])
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf'2017\.json lists 1 {what} more than once, among them 1$'):
        checked(coco)


@pytest.mark.parametrize(('part', 'key', 'what'), [
    ('images', 'file_name', r'images more than once, among them .*01\.jpg'),
    ('categories', 'name', 'categories more than once, among them circle')])
def test_names_must_be_there_once(coco, part, key, what):
    path, content = content_of(coco)
    content[part][1][key] = content[part][0][key]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=what):
        checked(coco)


def test_classes_must_be_the_config_s_in_their_order(coco):
    with pytest.raises(ValueError, match=r'1 only in the config \(unicorn\)'):
        checked(coco, (*CLASSES, 'unicorn'))
    with pytest.raises(ValueError, match=r'1 only in the file \(circle\)'):
        checked(coco, CLASSES[1:])
    with pytest.raises(ValueError, match='another order'):
        checked(coco, CLASSES[::-1])


def test_images_must_be_there_and_of_their_size(coco):
    image = coco / 'train2017/000000000002.jpg'
    Image.new('RGB', (48, 40)).save(image)
    with pytest.raises(ValueError, match=r'02\.jpg is 48x48, and it is 48x40'):
        checked(coco)
    assert checked(coco, share=slice(0, None, 2))['images'] == 4
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 4 images of .* missing, .*02\.jpg'):
        checked(coco)


@pytest.mark.parametrize(('content', 'message'), [
    (b'{"images": []}', "is not a COCO annotation file: KeyError: 'categories'"),
    (b'[', 'is not a COCO annotation file: JSONDecodeError: Expecting value: line 1'), (b'[]', 'TypeError'),
    (b'{"images": [7], "annotations": [], "categories": []}', 'TypeError'),
    (b'{"images": [], "annotations": [], "categories": []}', 'lists no images'),
    ('"Äpfel"'.encode('latin-1') + 2000 * b' ', "UnicodeDecodeError: 'utf-8' codec .{,80}$")])
def test_files_that_are_not_coco_s_are_refused(coco, content, message):
    (coco / 'annotations/instances_train2017.json').write_bytes(content)
    with pytest.raises(ValueError, match=message):
        checked(coco)


def test_width_and_height_are_not_exchanged(tmp_path):
    file = tmp_path / 'a.json'
    Image.new('RGB', (60, 40)).save(tmp_path / 'a.jpg')

    def checked_with(**annotation):
        file.write_text(json.dumps(dict(
            images=[dict(id=1, file_name='a.jpg', width=60, height=40)], categories=[dict(id=1, name='cat')],
            annotations=[dict(id=1, image_id=1, category_id=1, area=25, bbox=[0, 0, 5, 5]) | annotation])))
        return check_coco(file, tmp_path, ['cat'], masks=False)

    whole = dict(size=[40, 60], counts=[2400])
    assert checked_with(bbox=[50, 30, 10, 10], segmentation=whole)['objects'] == 1
    with pytest.raises(ValueError, match='does not lie in its image of 60x40'):
        checked_with(bbox=[30, 50, 10, 5])
    with pytest.raises(ValueError, match='mask of 40x60 on an image of 60x40'):
        checked_with(segmentation=dict(size=[60, 40], counts=[2400]))
