"""Annotations that cannot be right are refused, with the file and the value."""

import re

import numpy as np
import pytest
from PIL import Image

from mmsimclr.datasets import Shapes
from mmsimclr.datasets.annotations import check_segmentation, check_voc
from mmsimclr.prepare.shapes import write_voc

CLASSES = Shapes.METAINFO['classes']


@pytest.fixture(scope='module')
def shapes():
    return dict(train=Shapes(num_images=4, image_size=48, split='train', objects='multi', max_objects=3))


@pytest.fixture
def voc(shapes, tmp_path):
    return write_voc(shapes, tmp_path / 'voc')


def objects(shapes):
    return sum(len(shapes['train'].render(i).labels) for i in range(4))


def voc_checked(root, classes=CLASSES, **options):
    return check_voc(root / 'ImageSets/Main/train.txt', root, classes, **options)


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_what_is_right_is_counted(voc, shapes):
    assert voc_checked(voc) == dict(images=4, objects=objects(shapes))


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
    (r'<name>(\w+)', r'<name> \1', r"000002\.xml has an object of class ' \w+'"),      # mmdet leaves it out
    (r'<difficult>0', '<difficult>maybe', r'000002\.xml is not an annotation.*maybe'),
    (r'^', '<?xml version="1.0" encoding="klingon"?>', r'000002\.xml is not an annotation.*klingon'),
    (r'</annotation>', '', r'000002\.xml is not an annotation.*no element found'),
])
def test_voc_values_that_cannot_be_are_refused(voc, pattern, new, message):
    file = voc / 'Annotations/000002.xml'
    file.write_text(re.sub(pattern, new, file.read_text(), count=1))
    with pytest.raises(ValueError, match=message):
        voc_checked(voc)


def test_an_annotation_in_another_encoding_than_it_says_is_refused(voc):
    file = voc / 'Annotations/000002.xml'
    file.write_bytes(re.sub(rb'<name>\w+', '<name>Äpfel'.encode('latin-1'), file.read_bytes(), count=1))
    with pytest.raises(ValueError, match=r'000002\.xml is not an annotation.*not well-formed'):
        voc_checked(voc)


def test_objects_without_area_are_refused_unless_they_do_not_count(voc):
    file = voc / 'Annotations/000002.xml'
    box = '<xmin>5</xmin><ymin>6</ymin><xmax>5</xmax><ymax>9</ymax>'
    text = re.sub('<bndbox>.*?</bndbox>', f'<bndbox>{box}</bndbox>', file.read_text(), count=1,
                  flags=re.DOTALL)
    file.write_text(text)
    with pytest.raises(ValueError, match=r'000002\.xml: \w+ has the box \(5, 6\) to \(5, 9\), .* no area'):
        voc_checked(voc)
    file.write_text(text.replace('<difficult>0', '<difficult>1', 1))
    assert voc_checked(voc)['images'] == 4


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
    # mmdet takes each line for a name as it is.
    path.write_text('000001\n\n000002\n')
    with pytest.raises(ValueError, match=r'line 2 of .*train\.txt is empty'):
        voc_checked(voc)
    path.write_text('000001 -1\n')
    with pytest.raises(FileNotFoundError, match=r'000001 -1\.jpg'):
        voc_checked(voc)
    path.write_bytes('Äpfel\n'.encode('latin-1'))
    with pytest.raises(ValueError, match=r'train\.txt is not UTF-8 text'):
        voc_checked(voc)
    path.write_text('000001\n')
    file = voc / 'Annotations/000001.xml'
    file.write_text(re.sub(r'<object>.*</object>', '', file.read_text(), flags=re.DOTALL))
    with pytest.raises(ValueError, match='not one object'):
        voc_checked(voc)


def test_names_may_have_spaces(voc):
    for folder, ending in (('JPEGImages', 'jpg'), ('Annotations', 'xml')):
        (voc / folder / f'000001.{ending}').rename(voc / folder / f'my photo.{ending}')
    (voc / 'ImageSets/Main/train.txt').write_text('my photo\n')
    assert voc_checked(voc)['images'] == 1


def test_a_rank_s_share_may_have_no_objects(voc):
    file = voc / 'Annotations/000002.xml'
    file.write_text(re.sub(r'<object>.*</object>', '', file.read_text(), flags=re.DOTALL))
    assert voc_checked(voc, share=slice(1, 2)) == dict(images=4, objects=0)


def test_each_rank_opens_its_share_of_the_images(voc):
    (voc / 'JPEGImages/000002.jpg').write_bytes(b'')
    voc_checked(voc, share=slice(0, None, 2))
    with pytest.raises(ValueError, match=r'000002\.jpg is not an image'):
        voc_checked(voc, share=slice(1, None, 2))


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
    with pytest.raises(ValueError, match=r'train lists 1 images more than once, among them .*000001\.jpg'):
        check_segmentation([*pairs, pairs[0]], 12, 'train')
    pairs[2][1].unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 4 masks of train missing, .*000003\.png'):
        check_segmentation(pairs, 12, 'train')


def test_width_and_height_are_not_exchanged(tmp_path):
    (tmp_path / 'JPEGImages').mkdir()
    image, mask = tmp_path / 'JPEGImages/a.jpg', tmp_path / 'a.png'
    Image.new('RGB', (60, 40)).save(image)
    Image.new('L', (60, 40)).save(mask)
    assert check_segmentation([(image, mask)], 2, 'train') == dict(images=1, objects=1)

    (tmp_path / 'Annotations').mkdir()
    (tmp_path / 'list.txt').write_text('a\n')
    text = ('<a><size><width>60</width><height>40</height></size><object><name>cat</name><bndbox>'
            '<xmin>50</xmin><ymin>30</ymin><xmax>60</xmax><ymax>40</ymax></bndbox></object></a>')
    (tmp_path / 'Annotations/a.xml').write_text(text)
    assert check_voc(tmp_path / 'list.txt', tmp_path, ['cat']) == dict(images=1, objects=1)
    (tmp_path / 'Annotations/a.xml').write_text(text.replace('<ymax>40', '<ymax>60'))
    with pytest.raises(ValueError, match='does not lie in its image of 60x40'):
        check_voc(tmp_path / 'list.txt', tmp_path, ['cat'])
