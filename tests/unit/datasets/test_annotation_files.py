"""Annotations that cannot be right are refused, with the file and the value."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from mmsimclr.datasets import Shapes
from mmsimclr.datasets.annotation_files import check_coco, check_segmentation, check_voc
from mmsimclr.datasets.shapes_export import write_coco, write_voc

CLASSES = Shapes.METAINFO['classes']


@pytest.fixture(scope='module')
def shapes():
    return dict(train=Shapes(num_images=4, image_size=48, split='train', objects='multi', max_objects=3))


@pytest.fixture
def voc(shapes, tmp_path):
    return write_voc(shapes, tmp_path / 'voc')


@pytest.fixture
def coco(shapes, tmp_path):
    return write_coco(shapes, tmp_path / 'coco')


def objects(shapes):
    return sum(len(shapes['train'].render(i).labels) for i in range(4))


def voc_checked(root, classes=CLASSES, **options):
    return check_voc(root / 'ImageSets/Main/train.txt', root, classes, **options)


def coco_checked(root, classes=CLASSES, **options):
    return check_coco(root / 'annotations/instances_train2017.json', root / 'train2017', classes, **options)


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_what_is_right_is_counted(voc, coco, shapes):
    assert voc_checked(voc) == coco_checked(coco) == dict(images=4, objects=objects(shapes))


def test_voc_boxes_outside_of_the_image_are_refused(voc):
    file = voc / 'Annotations/000002.xml'
    text = file.read_text()
    xmax = int(re.search(r'<xmax>(\d+)', text)[1])
    rewrite(file, f'<xmax>{xmax}</xmax>', '<xmax>49</xmax>')                # one pixel too far passes
    assert voc_checked(voc)['images'] == 4
    for side, value in (('xmax', 50), ('xmin', -2), ('ymin', 49)):
        file.write_text(re.sub(rf'<{side}>\d+<', f'<{side}>{value}<', text, count=1))
        with pytest.raises(ValueError, match=r'000002\.xml: \w+ has the box .* not lie in .* of 48x48'):
            voc_checked(voc)


@pytest.mark.parametrize(('pattern', 'new', 'message'), [
    (r'<name>\w+</name>', '<name>unicorn</name>', r"000002\.xml has an object of class 'unicorn'.*circle"),
    (r'<width>48', '<width>64', r'000002\.xml says that its image is 64x48, and .*000002\.jpg is 48x48'),
    (r'<xmin>\d+', '<xmin>left', r'000002\.xml is not an annotation.*left'),
    (r'<bndbox>', '<box>', r'000002\.xml is not an annotation'),
])
def test_voc_values_that_cannot_be_are_refused(voc, pattern, new, message):
    file = voc / 'Annotations/000002.xml'
    file.write_text(re.sub(pattern, new, file.read_text(), count=1))
    with pytest.raises(ValueError, match=message):
        voc_checked(voc)


@pytest.mark.parametrize('name', ['JPEGImages/000003.jpg', 'Annotations/000003.xml',
                                  'ImageSets/Main/train.txt'])
def test_missing_files_of_voc_are_named(voc, name):
    (voc / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf'1 of [14] .* missing, the first is .*{name}'):
        voc_checked(voc)


def test_voc_lists_must_have_images_each_once_and_objects(voc):
    path = voc / 'ImageSets/Main/train.txt'
    path.write_text('000001\n000002\n000001\n')
    with pytest.raises(ValueError, match='1 images more than once, among them 000001'):
        voc_checked(voc)
    path.write_text('\n')
    with pytest.raises(ValueError, match='lists no images'):
        voc_checked(voc)
    path.write_text('000001\n')
    file = voc / 'Annotations/000001.xml'
    file.write_text(re.sub(r'<object>.*</object>', '', file.read_text(), flags=re.DOTALL))
    with pytest.raises(ValueError, match='not one object'):
        voc_checked(voc)


def test_each_rank_opens_its_share_of_the_images(voc):
    (voc / 'JPEGImages/000002.jpg').write_bytes(b'')
    voc_checked(voc, share=slice(0, None, 2))
    with pytest.raises(ValueError, match=r'000002\.jpg is not an image'):
        voc_checked(voc, share=slice(1, None, 2))


def changed(root, **changes):
    path = root / 'annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    for key, value in changes.items():
        content['annotations'][1][key] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(('change', 'message'), [
    (dict(bbox=[40, 5, 20, 5]), r'annotation 2 has the box \(40, 5\) to \(60, 10\).*48x48'),
    (dict(bbox=[1, 2, 3]), r'annotation 2 must have a bbox of 4 numbers, got \[1, 2, 3\]'),
    (dict(category_id=11), 'annotation 2 has category 11'),
    (dict(image_id=99), 'annotation 2 is of image 99'),
    (dict(segmentation=dict(size=[40, 48], counts=[1920])), r'annotation 2 has a mask of 48x40 .* of 48x48'),
    (dict(segmentation=[[1, 1, 1, 60, 5, 5]]), r'annotation 2 \(polygon\) has the box \(1, 1\) to \(5, 60\)'),
])
def test_coco_values_that_cannot_be_are_refused(coco, change, message):
    changed(coco, **change)
    with pytest.raises(ValueError, match=message):
        coco_checked(coco)


def test_coco_classes_must_be_the_config_s_in_their_order(coco):
    with pytest.raises(ValueError, match=r'1 only in the config \(unicorn\)'):
        coco_checked(coco, (*CLASSES, 'unicorn'))
    with pytest.raises(ValueError, match=r'1 only in the file \(circle\)'):
        coco_checked(coco, CLASSES[1:])
    with pytest.raises(ValueError, match='another order'):
        coco_checked(coco, CLASSES[::-1])


def test_coco_images_must_be_there_and_of_their_size(coco):
    image = coco / 'train2017/000000000002.jpg'
    Image.new('RGB', (48, 40)).save(image)
    with pytest.raises(ValueError, match=r'02\.jpg is 48x48, and it is 48x40'):
        coco_checked(coco)
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 4 images of .* missing, .*02\.jpg'):
        coco_checked(coco)


@pytest.mark.parametrize(('content', 'message'), [
    ('{"images": []}', 'is not a COCO annotation file'), ('[', 'is not a COCO annotation file'),
    ('{"images": [], "annotations": [], "categories": []}', 'lists no images')])
def test_files_that_are_not_coco_s_are_refused(coco, content, message):
    (coco / 'annotations/instances_train2017.json').write_text(content)
    with pytest.raises(ValueError, match=message):
        coco_checked(coco)


def masks(root):
    return [(root / f'JPEGImages/{number:06d}.jpg', root / f'SegmentationClass/{number:06d}.png')
            for number in range(1, 5)]


def test_masks_are_checked(voc, shapes):
    pairs = masks(voc)
    classes_by_image = sum(1 + len(set(shapes['train'].render(i).labels.tolist())) for i in range(4))
    assert check_segmentation(pairs, 11, 'train') == dict(images=4, objects=classes_by_image)
    with pytest.raises(ValueError, match='train lists no images'):
        check_segmentation([], 11, 'train')

    mask = np.zeros((48, 48), np.uint8)
    mask[5, 5] = 11
    Image.fromarray(mask).save(pairs[2][1])
    with pytest.raises(ValueError, match=r'000003\.png has label 11, and labels are 0 to 10 \(11 classes\)'):
        check_segmentation(pairs, 11, 'train')
    assert check_segmentation(pairs, 11, 'train', reduce_zero_label=True)['images'] == 4
    assert check_segmentation(pairs, 12, 'train')['images'] == 4
    assert check_segmentation(pairs, 11, 'train', ignore_index=11)['images'] == 4

    Image.fromarray(mask[:40]).save(pairs[2][1])
    with pytest.raises(ValueError, match=r'000003\.png is 48x40, and its image .*000003\.jpg is 48x48'):
        check_segmentation(pairs, 12, 'train')
    Image.fromarray(np.zeros((48, 48, 3), np.uint8)).save(pairs[2][1])
    with pytest.raises(ValueError, match=r'000003\.png is 3x48x48'):
        check_segmentation(pairs, 12, 'train')
    pairs[2][1].unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 4 masks of train missing, .*000003\.png'):
        check_segmentation(pairs, 12, 'train')


def test_width_and_height_are_not_exchanged(tmp_path):
    image, mask, file = tmp_path / 'a.jpg', tmp_path / 'a.png', tmp_path / 'a.json'
    Image.new('RGB', (60, 40)).save(image)
    Image.new('L', (60, 40)).save(mask)
    assert check_segmentation([(image, mask)], 2, 'train') == dict(images=1, objects=1)

    def coco_with(**annotation):
        file.write_text(json.dumps(dict(
            images=[dict(id=1, file_name='a.jpg', width=60, height=40)], categories=[dict(id=1, name='cat')],
            annotations=[dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 5, 5]) | annotation])))
        return check_coco(file, tmp_path, ['cat'])

    assert coco_with(bbox=[50, 30, 10, 10], segmentation=dict(size=[40, 60], counts=[2400]))['objects'] == 1
    with pytest.raises(ValueError, match='does not lie in its image of 60x40'):
        coco_with(bbox=[30, 50, 10, 5])
    with pytest.raises(ValueError, match='mask of 40x60 on an image of 60x40'):
        coco_with(segmentation=dict(size=[60, 40], counts=[2400]))

    for folder, source in (('JPEGImages', image), ('Annotations', None)):
        (tmp_path / folder).mkdir()
        if source:
            source.rename(tmp_path / folder / 'a.jpg')
    (tmp_path / 'list.txt').write_text('a\n')
    text = ('<a><size><width>60</width><height>40</height></size><object><name>cat</name><bndbox>'
            '<xmin>50</xmin><ymin>30</ymin><xmax>60</xmax><ymax>40</ymax></bndbox></object></a>')
    (tmp_path / 'Annotations/a.xml').write_text(text)
    assert check_voc(tmp_path / 'list.txt', tmp_path, ['cat']) == dict(images=1, objects=1)
    (tmp_path / 'Annotations/a.xml').write_text(text.replace('<ymax>40', '<ymax>60'))
    with pytest.raises(ValueError, match='does not lie in its image of 60x40'):
        check_voc(tmp_path / 'list.txt', tmp_path, ['cat'])
