"""Images and annotations that cannot be right are refused, with the file and the value."""

import json
import logging
import re
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from mmsimclr.datasets import Shapes, annotations
from mmsimclr.datasets.annotations import (
    UnreadableImageError,
    check_coco,
    check_segmentation,
    check_voc,
    image_size,
    read_mask,
)
from mmsimclr.errors import InputError
from mmsimclr.prepare.shapes import write_coco, write_voc

CLASSES = Shapes.METAINFO['classes']


@pytest.fixture(scope='module')
def shapes():
    return dict(train=Shapes(num_images=4, image_size=48, split='train', objects='multi', max_objects=3))


@pytest.fixture(scope='module')
def written(shapes, tmp_path_factory):
    """Return both layouts, not to be changed."""
    folder = tmp_path_factory.mktemp('written')
    return dict(voc=write_voc(shapes, folder / 'voc'), coco=write_coco(shapes, folder / 'coco'))


@pytest.fixture
def voc(written, tmp_path):
    return shutil.copytree(written['voc'], tmp_path / 'voc')


@pytest.fixture
def coco(written, tmp_path):
    return shutil.copytree(written['coco'], tmp_path / 'coco')


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


# Images and masks

@pytest.mark.parametrize('kind', ['jpg', 'png', 'webp', 'bmp', 'tif'])
def test_half_an_image_is_refused(kind, pixels, tmp_path):
    path = tmp_path / f'a.{kind}'
    Image.fromarray(pixels).save(path)
    assert image_size(path) == (60, 40)
    path.write_bytes(path.read_bytes()[:path.stat().st_size * 2 // 3])
    with pytest.raises(UnreadableImageError, match=rf'a\.{kind} is not an image that can be read'):
        image_size(path)


@pytest.mark.parametrize('kind', ['jpg', 'png'])
def test_bytes_that_editors_append_are_no_damage(kind, pixels, tmp_path):
    path = tmp_path / f'a.{kind}'
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes() + bytes(10_000))
    assert image_size(path) == (60, 40)


@pytest.mark.parametrize('mode', ['L', 'P', '1', 'CMYK', 'RGB'])
def test_images_of_any_colours_are_read(mode, pixels, tmp_path):
    path = tmp_path / ('a.jpg' if mode in ('L', 'CMYK', 'RGB') else 'a.png')
    Image.fromarray(pixels).convert(mode).save(path)
    assert image_size(path) == (60, 40)


@pytest.mark.parametrize('orientation', range(10))
def test_the_size_is_that_of_what_opencv_loads(orientation, pixels, tmp_path):
    path = tmp_path / 'a.jpg'
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    assert image_size(path) == cv2.imread(str(path)).shape[1::-1]


@pytest.mark.parametrize('content', [b'', b'text', b'\xff\xd8\xff\xd9'])
def test_a_file_that_is_no_image_is_refused(content, tmp_path):
    path = tmp_path / 'a.jpg'
    path.write_bytes(content)
    for read in (image_size, read_mask):
        with pytest.raises(ValueError, match=r'a\.jpg is not .* can be read'):
            read(path)


def test_an_image_that_would_fill_the_memory_is_refused(pixels, tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    Image.fromarray(pixels).save(path)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1_000)
    with pytest.raises(UnreadableImageError, match=r'a\.png is not an image .*decompression bomb'):
        image_size(path)


def test_masks_are_numbers_not_colours(pixels, tmp_path):
    path, labels = tmp_path / 'a.png', pixels[..., 0] % 5
    palette = Image.fromarray(labels)
    palette.putpalette([90, 80, 70] * 256)
    for image in (Image.fromarray(labels), palette):
        image.save(path)
        np.testing.assert_array_equal(read_mask(path), labels)
    for mode, channels in (('RGB', 3), ('RGBA', 4), ('LA', 2)):
        Image.fromarray(pixels).convert(mode).save(path)
        with pytest.raises(ValueError, match=rf'a\.png has {channels} channels'):
            read_mask(path)


# VOC

def voc_checked(root, classes=CLASSES, **options):
    return check_voc(root / 'ImageSets/Main/train.txt', root, classes, **options)


def test_a_right_devkit_is_counted(voc, shapes):
    objects = sum(len(shapes['train'].render(i).labels) for i in range(4))
    assert voc_checked(voc) == dict(images=4, objects=objects)


def test_voc_boxes_outside_of_the_image_are_refused(voc):
    file = voc / 'Annotations/000002.xml'
    text = file.read_text()
    file.write_text(re.sub(r'<xmax>\d+', '<xmax>49', text, count=1))           # one pixel too far passes
    assert voc_checked(voc)['images'] == 4
    for side, value in (('xmax', 50), ('xmin', -2), ('ymin', 49)):
        file.write_text(re.sub(rf'<{side}>\d+<', f'<{side}>{value}<', text, count=1))
        with pytest.raises(ValueError, match=r'000002\.xml: \w+ has the box .*48x48'):
            voc_checked(voc)


@pytest.mark.parametrize(('pattern', 'new', 'message'), [
    (r'<name>\w+</name>', '<name>unicorn</name>', r"class 'unicorn'.*circle"),
    (r'<width>48', '<width>64', r'64x48, and .*000002\.jpg is 48x48'),
    (r'<xmin>\d+', '<xmin>left', 'left'),
    (r'<bndbox>', '<box>', ''),
    (r'<name>(\w+)', r'<name> \1', r"class ' \w+'"),                                   # mmdet leaves it out
    (r'<difficult>0', '<difficult>maybe', 'maybe'),
    (r'^', '<?xml version="1.0" encoding="klingon"?>', 'klingon'),
    (r'</annotation>', '', 'no element found'),
])
def test_voc_values_that_cannot_be_are_refused(voc, pattern, new, message):
    file = voc / 'Annotations/000002.xml'
    file.write_text(re.sub(pattern, new, file.read_text(), count=1))
    with pytest.raises(ValueError, match=rf'000002\.xml.*{message}'):
        voc_checked(voc)


def test_an_annotation_in_another_encoding_than_it_says_is_refused(voc):
    file = voc / 'Annotations/000002.xml'
    file.write_bytes(re.sub(rb'<name>\w+', '<name>Äpfel'.encode('latin-1'), file.read_bytes(), count=1))
    with pytest.raises(ValueError, match=r'000002\.xml .*not well-formed'):
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
    with pytest.raises(FileNotFoundError, match=rf'1 of [14] .* missing, .*{name}'):
        voc_checked(voc)


# mmdet takes each line for a name as it is.
@pytest.mark.parametrize(('lines', 'error', 'message'), [
    ('000001\n000002\n000001\n', ValueError, 'among them 000001'),
    ('\n', ValueError, 'lists no images'),
    ('000001\n\n000002\n', ValueError, r'line 2 of .*train\.txt is empty'),
    ('000001 -1\n', FileNotFoundError, r'000001 -1\.jpg'),
    ('Äpfel\n', ValueError, r'train\.txt is not a list of images: it is not UTF-8')])
def test_voc_lists_must_have_images_each_once(voc, lines, error, message):
    (voc / 'ImageSets/Main/train.txt').write_bytes(lines.encode('latin-1'))
    with pytest.raises(error, match=message):
        voc_checked(voc)


def test_a_list_must_have_objects_but_a_rank_s_share_need_not(voc):
    file = voc / 'Annotations/000002.xml'
    file.write_text(re.sub(r'<object>.*</object>', '', file.read_text(), flags=re.DOTALL))
    assert voc_checked(voc, share=slice(1, 2)) == dict(images=4, objects=0)
    (voc / 'ImageSets/Main/train.txt').write_text('000002\n')
    with pytest.raises(ValueError, match='not one object'):
        voc_checked(voc)


def test_names_may_have_spaces(voc):
    for folder, ending in (('JPEGImages', 'jpg'), ('Annotations', 'xml')):
        (voc / folder / f'000001.{ending}').rename(voc / folder / f'my photo.{ending}')
    (voc / 'ImageSets/Main/train.txt').write_text('my photo\n')
    assert voc_checked(voc)['images'] == 1


def test_each_rank_opens_its_share_of_the_images(voc):
    (voc / 'JPEGImages/000002.jpg').write_bytes(b'')
    voc_checked(voc, share=slice(0, None, 2))
    with pytest.raises(ValueError, match=r'000002\.jpg is not an image'):
        voc_checked(voc, share=slice(1, None, 2))


# Segmentation

def test_masks_are_checked(voc, shapes):
    pairs = [(voc / f'JPEGImages/{number:06d}.jpg', voc / f'SegmentationClass/{number:06d}.png')
             for number in range(1, 5)]
    classes_by_image = sum(1 + len(set(shapes['train'].render(i).labels.tolist())) for i in range(4))
    assert check_segmentation(pairs, 11, 'train') == dict(images=4, objects=classes_by_image)
    with pytest.raises(ValueError, match='train lists no images'):
        check_segmentation([], 11, 'train')

    mask = np.zeros((48, 48), np.uint8)
    mask[5, 5] = 11
    Image.fromarray(mask).save(pairs[2][1])
    with pytest.raises(ValueError, match=r'000003\.png has label 11, .* 0 to 10 '):
        check_segmentation(pairs, 11, 'train')
    assert check_segmentation(pairs, 11, 'train', reduce_zero_label=True)['images'] == 4
    assert check_segmentation(pairs, 12, 'train')['images'] == 4
    assert check_segmentation(pairs, 11, 'train', ignore_index=11)['images'] == 4

    Image.fromarray(mask[:40]).save(pairs[2][1])
    with pytest.raises(ValueError, match=r'000003\.png is 48x40, and its image .*000003\.jpg is 48x48'):
        check_segmentation(pairs, 12, 'train')
    with pytest.raises(ValueError, match=r'more than once, among them .*000001\.jpg'):
        check_segmentation([*pairs, pairs[0]], 12, 'train')
    pairs[2][1].unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 4 masks of train missing, .*000003\.png'):
        check_segmentation(pairs, 12, 'train')


@pytest.mark.parametrize('label', [-1, 0.5, float('nan'), float('inf'), 300])
def test_labels_that_are_no_classes_are_refused(tmp_path, label):
    image, mask = tmp_path / 'a.png', tmp_path / 'mask.tiff'
    Image.new('RGB', (6, 4)).save(image)
    labels = np.ones((4, 6), np.float32)
    labels[0, 0] = 255
    Image.fromarray(labels).save(mask)
    assert check_segmentation([(image, mask)], 2, 'train') == dict(images=1, objects=1)
    labels[2, 3] = label
    Image.fromarray(labels).save(mask)
    with pytest.raises(InputError, match=rf'mask\.tiff has label {label}'):
        check_segmentation([(image, mask)], 2, 'train')


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
    with pytest.raises(ValueError, match='image of 60x40'):
        check_voc(tmp_path / 'list.txt', tmp_path, ['cat'])

    def checked_coco(**annotation):
        content = dict(
            images=[dict(id=1, file_name='a.jpg', width=60, height=40)], categories=[dict(id=1, name='cat')],
            annotations=[dict(id=1, image_id=1, category_id=1, area=25, bbox=[0, 0, 5, 5]) | annotation])
        (tmp_path / 'a.json').write_text(json.dumps(content))
        return check_coco(tmp_path / 'a.json', image.parent, ['cat'], masks=False)

    whole = dict(size=[40, 60], counts=[2400])
    assert checked_coco(bbox=[50, 30, 10, 10], segmentation=whole)['objects'] == 1
    with pytest.raises(ValueError, match='image of 60x40'):
        checked_coco(bbox=[30, 50, 10, 5])
    with pytest.raises(ValueError, match='mask of 40x60 on an image of 60x40'):
        checked_coco(segmentation=dict(size=[60, 40], counts=[2400]))


# COCO

def coco_checked(root, classes=CLASSES, **options):
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


def test_a_right_coco_file_is_counted(coco):
    _, content = content_of(coco)
    assert coco_checked(coco) == dict(images=4, objects=len(content['annotations']))


@pytest.mark.parametrize(('change', 'message'), [
    (dict(bbox=[40, 5, 20, 5]), r'the box \(40, 5\) to \(60, 10\).*48x48'),
    (dict(bbox=[1, 2, 3]), r'bbox of 4 numbers, got \[1, 2, 3\]'),
    (dict(bbox=[1, 2, '3', 4]), r"bbox of 4 numbers, got \[1, 2, '3', 4\]"),
    (dict(bbox=[10, 10, -5, 5]), r'the box \(10, 10\) to \(5, 15\)'),
    (dict(bbox=[10, 10, float('nan'), 5]), 'a bbox of 4 numbers, got .*nan'),
    (dict(area=float('nan')), 'an area.* got nan'),
    (dict(area=True), 'must have an area'),
    (dict(segmentation=dict(size=[48, 48], counts=[2310, -6])), 'run lengths of 2304 pixels, or negative'),
    (dict(segmentation=[[1, 1, 5, 5, None, 5]]), 'must have a segmentation'),
    (dict(area=None), 'area, .* got None'),
    (dict(category_id=11), 'category 11'),
    (dict(image_id=99), 'image 99'),
    (dict(image_id=[1]), 'TypeError'),
    (dict(segmentation=dict(size=[40, 48], counts=[1920])), r'48x40 .* of 48x48'),
    (dict(segmentation=dict(size=[48, 48], counts=[1920])), 'run lengths of 1920 pixels.* has 2304'),
    (dict(segmentation=dict(size=[48, 48], counts=7)), 'run lengths .*: 7'),
    (dict(segmentation=dict(counts=[2304])), "KeyError: 'size'"),
    (dict(segmentation=[[1, 1, 1, 60, 5, 5]]), r'\(polygon\) has the box \(1, 1\) to \(5, 60\)'),
    (dict(segmentation=[[1, 1, 5, 5]]), r'at least 3 points .* got \[\[1, 1, 5, 5\]\]'),
    (dict(segmentation=[[1, 1, 5, 5, 7, 7, 9]]), 'at least 3 points'),
    (dict(segmentation=[1, 1, 5, 5, 7, 7]), 'at least 3 points'),
    (dict(segmentation=[]), r'segmentation: .* got \[\]'),
    (dict(segmentation=[[5, 5, 5, 5, 5, 5]]), 'without area'),
    (dict(segmentation=[[1, 1, 3, 3, 9, 9], [5, 5]]), 'without area'),
    (dict(segmentation=None), 'segmentation: .* got None'),
])
def test_coco_values_that_cannot_be_are_refused(coco, change, message):
    changed(coco, **change)
    with pytest.raises(ValueError, match=rf'annotation 2 .*{message}'):
        coco_checked(coco)


@pytest.mark.parametrize('counts, why', [
    ('garbage\x7f\xff', 'did not pack'), ('P' * 40, 'did not pack'), ('PX', '-1 pixels'), ('', '0 pixels'),
    ([0, 100, -50, 2254], 'negative'), ([1920], '1920 pixels')])
def test_packed_run_lengths_are_looked_at_as_plain_ones(coco, counts, why):
    text = pycocotools_text(counts) if isinstance(counts, list) else counts
    changed(coco, segmentation=dict(size=[48, 48], counts=text))
    with pytest.raises(InputError, match=why):
        coco_checked(coco)


def test_run_lengths_that_pycocotools_packed_are_read(coco):
    masks = pytest.importorskip('pycocotools.mask')
    rng = np.random.default_rng(0)
    for share in (0, 0.01, 0.3, 0.9, 1):
        mask = np.asfortranarray(rng.random((48, 48)) < share).astype(np.uint8)
        mask[:20, 5:9] = 1
        text = masks.encode(mask)['counts'].decode()
        runs = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [2]]).astype(int))).tolist()
        assert np.diff([0, *runs]).tolist() == annotations._unpacked(text, 'x')
        assert annotations._unpacked(pycocotools_text(np.diff([0, *runs]).tolist()), 'x') == np.diff(
            [0, *runs]).tolist()
        changed(coco, segmentation=dict(size=[48, 48], counts=text))
        coco_checked(coco)


def pycocotools_text(counts):
    """Pack run lengths; of pycocotools' own, only encode() is reachable, which takes no wrong ones."""
    text = ''
    for place, count in enumerate(counts):
        value = count - (counts[place - 2] if place > 2 else 0)
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(bits + 32 * more + 48)
            if not more:
                break
    return text


def test_masks_that_can_be_pass(coco):
    for mask in ([[1, 1, 5, 5, 1, 5]], [[1, 1], [1, 1, 5, 5, 1, 5]], dict(size=[48, 48], counts='PX2')):
        changed(coco, segmentation=mask)
        assert coco_checked(coco)['images'] == 4
    changed(coco, segmentation=None)
    assert coco_checked(coco, masks=False)['images'] == 4


def test_objects_without_area_are_counted_in_a_warning(coco, monkeypatch):
    said = []
    monkeypatch.setattr('mmsimclr.datasets.annotations.print_log', lambda *words: said.append(words))
    for change in (dict(bbox=[5, 5, 0, 4]), dict(bbox=[5, 5, 4, 4], area=0)):
        changed(coco, **change)
        assert coco_checked(coco)['objects'] == len(content_of(coco)[1]['annotations'])
        message, _, level = said.pop()
        assert '1 of' in message and 'the first is 2;' in message and level == logging.WARNING


@pytest.mark.parametrize('change', [dict(iscrowd=1), dict(bbox=[5, 5, 0, 0])])
def test_a_file_whose_objects_all_do_not_count_is_refused(coco, change):
    path, content = content_of(coco)
    for annotation in content['annotations'][1:]:
        annotation.update(change)
    path.write_text(json.dumps(content))
    assert coco_checked(coco)['images'] == 4
    content['annotations'][0].update(change)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match='not one object'):
        coco_checked(coco)


@pytest.mark.parametrize(('part', 'key', 'message'), [
    ('images', 'id', '1 image ids .* 1$'), ('annotations', 'id', '1 annotation ids .* 1$'),
    ('categories', 'id', '1 category ids .* 1$'), ('images', 'file_name', r'1 images .*01\.jpg'),
    ('categories', 'name', '1 categories .* circle')])
def test_ids_and_names_must_be_there_once(coco, part, key, message):
    path, content = content_of(coco)
    content[part][1][key] = content[part][0][key]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf'2017\.json lists {message}'):
        coco_checked(coco)


def test_classes_must_be_the_config_s_in_their_order(coco):
    with pytest.raises(ValueError, match='only the config has unicorn'):
        coco_checked(coco, (*CLASSES, 'unicorn'))
    with pytest.raises(ValueError, match='only the file has circle,'):
        coco_checked(coco, CLASSES[1:])
    with pytest.raises(ValueError, match='another order'):
        coco_checked(coco, CLASSES[::-1])


def test_images_must_be_there_and_of_their_size(coco):
    image = coco / 'train2017/000000000002.jpg'
    Image.new('RGB', (48, 40)).save(image)
    with pytest.raises(ValueError, match=r'02\.jpg is 48x48, and it is 48x40'):
        coco_checked(coco)
    assert coco_checked(coco, share=slice(0, None, 2))['images'] == 4
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 4 images of .* missing, .*02\.jpg'):
        coco_checked(coco)


@pytest.mark.parametrize(('content', 'message'), [
    (b'{"images": []}', "KeyError: 'categories'"), (b'[', 'Expecting value'), (b'[]', 'TypeError'),
    (b'{"images": [7], "annotations": [], "categories": []}', 'TypeError'),
    (b'{"images": [], "annotations": [], "categories": []}', 'lists no images'),
    ('"Äpfel"'.encode('latin-1') + 2000 * b' ', "it is not UTF-8 text: 'utf-8' codec .{,80}$")])
def test_files_that_are_not_coco_s_are_refused(coco, content, message):
    (coco / 'annotations/instances_train2017.json').write_bytes(content)
    with pytest.raises(ValueError, match=rf'2017\.json .*{message}'):
        coco_checked(coco)
