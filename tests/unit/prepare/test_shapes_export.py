import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mmsimclr.datasets.shapes.dataset import Shapes
from mmsimclr.datasets.shapes.scenes import draw_scenes
from mmsimclr.prepare.shapes import (
    run_length_encoding,
    voc_palette,
    write_coco,
    write_image_folder,
    write_market,
    write_voc,
)


@pytest.fixture(scope='module')
def splits():
    return {split: Shapes(6, 48, split, objects='multi', seed=3) for split in ('train', 'val')}


def test_run_lengths_of_a_hand_computed_mask():
    mask = np.array([[0, 1, 1], [0, 0, 1]], bool)
    assert run_length_encoding(mask) == {'size': [2, 3], 'counts': [2, 1, 1, 2]}
    assert run_length_encoding(~mask) == {'size': [2, 3], 'counts': [0, 2, 1, 1, 2]}


def test_coco_is_what_pycocotools_reads_back(splits, tmp_path):
    coco_api = pytest.importorskip('pycocotools.coco')
    write_coco(splits, tmp_path)
    for split, dataset in splits.items():
        coco = coco_api.COCO(tmp_path / 'annotations' / f'instances_{split}2017.json')
        assert [c['name'] for c in coco.loadCats(range(1, 11))] == list(dataset.classes)
        for i, image_id in enumerate(coco.getImgIds()):
            expected = dataset.render(i)
            info = coco.loadImgs(image_id)[0]
            image = np.array(Image.open(tmp_path / f'{split}2017' / info['file_name']))
            assert image.shape == (info['height'], info['width'], 3)
            assert np.abs(image.astype(int) - expected.image).mean() < 3
            annotations = coco.loadAnns(coco.getAnnIds(image_id))
            assert [a['category_id'] - 1 for a in annotations] == expected.labels.tolist()
            for annotation, mask, box in zip(annotations, expected.masks, expected.boxes,
                                             strict=True):
                np.testing.assert_array_equal(coco.annToMask(annotation), mask)
                assert annotation['area'] == mask.sum()
                x, y, w, h = annotation['bbox']
                assert [x, y, x + w, y + h] == box.tolist()


def test_coco_ids_are_unique_across_splits(splits, tmp_path):
    write_coco(splits, tmp_path)
    ids = [image['id'] for split in splits for image in json.loads(
        (tmp_path / 'annotations' / f'instances_{split}2017.json').read_text())['images']]
    assert len(set(ids)) == 12


def test_voc_boxes_classes_and_segmentation_agree_with_the_dataset(splits, tmp_path):
    base = write_voc(splits, tmp_path)
    assert base == tmp_path / 'VOCdevkit' / 'VOC2007'
    names = (base / 'ImageSets' / 'Segmentation' / 'val.txt').read_text().split()
    assert len(names) == 6
    dataset = splits['val']
    for i, name in enumerate(names):
        expected = dataset.render(i)
        objects = ElementTree.parse(base / 'Annotations' / f'{name}.xml').findall('object')
        assert [o.findtext('name') for o in objects] == [
            dataset.classes[label] for label in expected.labels]
        classes = np.array(Image.open(base / 'SegmentationClass' / f'{name}.png'))
        instances = np.array(Image.open(base / 'SegmentationObject' / f'{name}.png'))
        np.testing.assert_array_equal(classes, expected.seg_map)
        assert Image.open(base / 'JPEGImages' / f'{name}.jpg').size == (48, 48)
        for k, element in enumerate(objects):
            np.testing.assert_array_equal(instances == k + 1, expected.masks[k])
            xmin, ymin, xmax, ymax = (int(element.find('bndbox').findtext(tag))
                                      for tag in ('xmin', 'ymin', 'xmax', 'ymax'))
            # 1-based and inclusive: the box itself cut out of the mask holds all of it, and each
            # of its four sides touches it.
            cut = expected.masks[k][ymin - 1:ymax, xmin - 1:xmax]
            assert cut.sum() == expected.masks[k].sum()
            assert cut[0].any() and cut[-1].any() and cut[:, 0].any() and cut[:, -1].any()


def test_voc_class_lists_mark_exactly_the_images_that_show_the_class(splits, tmp_path):
    main = write_voc(splits, tmp_path) / 'ImageSets' / 'Main'
    assert len((main / 'trainval.txt').read_text().split()) == 12
    for label, name in enumerate(splits['train'].classes):
        lines = (main / f'{name}_trainval.txt').read_text().splitlines()
        signs = [int(line.split()[1]) for line in lines]
        expected = [1 if label in d.get_cat_ids(i) else -1 for d in splits.values()
                    for i in range(6)]
        assert signs == expected


def test_voc_palette_has_the_development_kits_first_colors():
    assert voc_palette()[[0, 1, 2, 3, 15, 20, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [192, 128, 128], [0, 64, 128],
        [224, 224, 192]]


def test_image_folder_is_what_torchvision_reads_back(tmp_path):
    torchvision_datasets = pytest.importorskip('torchvision.datasets')
    dataset = Shapes(20, 16)
    write_image_folder({'train': dataset}, tmp_path)
    folder = torchvision_datasets.ImageFolder(tmp_path / 'train')
    assert len(folder) == 20
    for path, label in folder.samples:
        i = int(Path(path).stem)
        assert folder.classes[label] == dataset.classes[dataset[i]['gt_label']]
        np.testing.assert_array_equal(np.array(Image.open(path)), dataset[i]['img'])


def market_images(root: Path) -> dict[tuple, np.ndarray]:
    """Return the images by identity, camera, number and part."""
    found = {}
    for path in root.rglob('*.png'):
        identity, camera, number, _ = path.stem.split('_')
        found[int(identity), camera, number, path.parent.name] = np.array(Image.open(path)).astype(int)
    return found


def test_market_has_each_object_under_every_camera_and_one_query_of_each(tmp_path):
    assert write_market({'test': Shapes(4, 32, 'test')}, tmp_path) == tmp_path
    images = market_images(tmp_path / 'test')
    cameras = {camera for _, camera, _, _ in images}
    assert {identity for identity, *_ in images} == {1, 2, 3, 4} and len(cameras) == 4
    for identity in range(1, 5):
        for camera in cameras:
            parts = sorted(part for i, c, _, part in images if (i, c) == (identity, camera))
            assert parts == ['bounding_box_test', 'bounding_box_test', 'query']
    assert len({image.tobytes() for image in images.values()}) == len(images) == 48


def test_market_keeps_the_object_and_its_camera_the_background_and_light(tmp_path):
    write_market({'test': Shapes(6, 64, 'test', seed=2)}, tmp_path)
    images = market_images(tmp_path / 'test')
    corners = {}
    for (_, camera, *_), image in images.items():
        # A corner may show the object; most do not, and the median is the background.
        corner = np.median([image[y, x] for y in (0, -1) for x in (0, -1)], axis=0)
        corners.setdefault(camera, set()).add(tuple(corner))
    assert all(len(found) == 1 for found in corners.values()) and len(set.union(*corners.values())) > 1
    sizes = {}
    for (identity, camera, *_), image in images.items():
        background, = corners[camera]
        sizes.setdefault(identity, []).append((np.abs(image - background).sum(axis=2) > 6).sum())
    assert all(max(found) > 1.5 * min(found) for found in sizes.values())


def test_market_classes_and_rotations_are_those_of_the_dataset(tmp_path, monkeypatch):
    scenes = []

    def remember(each, size):
        scenes.append(each)
        return np.zeros((len(each.labels), size, size, 3), np.uint8), None

    monkeypatch.setattr('mmsimclr.prepare.shapes.render_scenes', remember)
    dataset = Shapes(5, 16, 'test', seed=7)
    write_market({'test': dataset}, tmp_path)
    own = draw_scenes(np.arange(5), 7, 'test', 'single', 1)
    assert [int(each.labels[0, 0]) for each in scenes] == dataset.get_gt_labels().tolist()
    for i, each in enumerate(scenes):
        assert (each.labels == own.labels[i]).all() and (each.rotation_deg == own.rotation_deg[i]).all()
        assert (each.object_color == own.object_color[i]).all()
        assert len({*each.radius[:, 0].tolist()}) == len(each.radius) == 12
        assert (each.background_color == scenes[0].background_color).all()
        assert len({*each.brightness.tolist()}) == 4
    assert len({float(each.radius[0, 0]) for each in scenes}) == 5


@pytest.mark.parametrize('write', [write_image_folder, write_voc, write_coco, write_market])
def test_nothing_is_written_into_a_folder_that_holds_files(write, tmp_path):
    (tmp_path / 'mine.txt').write_text('keep')
    with pytest.raises(FileExistsError, match=f'{tmp_path} is not empty'):
        write({'train': Shapes(1, 16)}, tmp_path)
    with pytest.raises(ValueError, match='at least one split'):
        write({}, tmp_path / 'new')
