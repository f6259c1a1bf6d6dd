import hashlib
import pickle
import re

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from mmsimclr.datasets.shapes.dataset import Shapes
from mmsimclr.datasets.shapes.geometry import CLASSES
from mmsimclr.datasets.shapes.rendering import render_scenes
from mmsimclr.datasets.shapes.scenes import Scenes, balanced_labels, draw_scenes
from mmsimclr.engine import SampleIndex
from mmsimclr.registry import DATASETS


def digest(dataset, indices):
    return hashlib.sha256(b''.join(dataset[i]['img'].tobytes() for i in indices)).hexdigest()[:16]


def scenes_of(labels, center, radius):
    """One image; every object upright, in color 0."""
    count = len(labels)
    zeros = np.zeros((1, count), np.int64)
    return Scenes(
        labels=np.array([labels]), exists=np.ones((1, count), bool),
        center=np.array([center], np.float32), radius=np.array([radius], np.float32),
        rotation_deg=np.zeros((1, count), np.float32), object_color=zeros,
        background_color=np.zeros(1, np.int64), brightness=np.ones(1, np.float32),
        contrast=np.ones(1, np.float32))


def test_images_are_the_same_as_ever_on_every_machine():
    assert digest(Shapes(20), range(20)) == 'a869b6eb97d11beb'
    assert digest(Shapes(5, 48, 'val', objects='multi', seed=7), range(5)) == 'ec4273773d51214a'
    other = Shapes(30, 40, 'test', objects='multi', seed=2**63, cache=False)
    assert digest(other, (8, 3)) == 'b64f75f0093ad186'


@pytest.mark.parametrize('objects', ['single', 'multi'])
def test_an_image_depends_neither_on_the_cache_nor_on_the_number_of_images(objects):
    cached = Shapes(130, 33, objects=objects, cache=True)             # rendered in two chunks
    lazy = Shapes(1000, 33, objects=objects, cache=False)
    for i in (0, 64, 129):
        assert cached[i].keys() == lazy[i].keys()
        for key, value in cached[i].items():
            np.testing.assert_array_equal(value, lazy[i][key])


def test_splits_and_seeds_share_no_image():
    datasets = [Shapes(100, 16, split, seed=seed)
                for split, seed in (('train', 0), ('val', 0), ('test', 0), ('train', 1))]
    images = {dataset[i]['img'].tobytes() for dataset in datasets for i in range(100)}
    assert len(images) == 400


def test_every_ten_images_have_each_class_once_in_changing_order():
    dataset = Shapes(200, 16, cache=False)
    labels = dataset.get_gt_labels()
    blocks = labels.reshape(20, 10)
    assert (np.sort(blocks, axis=1) == np.arange(10)).all()
    assert len({tuple(block) for block in blocks}) == 20
    assert labels[:20].tolist() == [dataset[i]['gt_label'] for i in range(20)]


def test_size_place_rotation_and_colors_are_independent_of_the_class():
    for objects, images in (('single', 8000), ('multi', 4000)):
        scenes = draw_scenes(np.arange(images), 1, 'train', objects, 3)
        quantities = {
            'x': scenes.center[..., 0], 'y': scenes.center[..., 1], 'radius': scenes.radius,
            'rotation': scenes.rotation_deg, 'object_color': scenes.object_color,
            'background_color': np.broadcast_to(scenes.background_color[:, None],
                                                scenes.labels.shape),
            'brightness': np.broadcast_to(scenes.brightness[:, None], scenes.labels.shape),
            'contrast': np.broadcast_to(scenes.contrast[:, None], scenes.labels.shape),
        }
        for name, values in quantities.items():
            values = values[scenes.exists]
            bins = (values if values.dtype == np.int64
                    else np.searchsorted(np.quantile(values, np.linspace(.1, .9, 9)), values))
            table = np.zeros((10, int(bins.max()) + 1))
            np.add.at(table, (scenes.labels[scenes.exists], bins), 1)
            assert (table.sum(0) > 100).all(), f'{name} hardly varies'
            assert chi2_contingency(table).pvalue > 1e-3, f'{name} depends on the class'


def test_boxes_masks_and_semantic_map_agree_pixel_by_pixel():
    dataset = Shapes(12, 40, objects='multi', max_objects=5, seed=4)
    for i in range(len(dataset)):
        item = dataset[i]
        assert len(item['gt_bboxes']) == len(item['gt_masks']) == len(item['gt_bboxes_labels']) >= 1
        seg_map = np.zeros((40, 40), int)
        for mask, label, box in zip(item['gt_masks'], item['gt_bboxes_labels'], item['gt_bboxes'],
                                    strict=True):
            left, top, right, bottom = 40, 40, 0, 0
            for y in range(40):
                for x in range(40):
                    if mask[y, x]:
                        assert seg_map[y, x] == 0, 'two masks overlap'
                        seg_map[y, x] = label + 1
                        left, right = min(left, x), max(right, x + 1)
                        top, bottom = min(top, y), max(bottom, y + 1)
            assert box.tolist() == [left, top, right, bottom]
        np.testing.assert_array_equal(seg_map, item['gt_seg_map'])
        assert item['gt_label'] == item['gt_bboxes_labels'][0]
        assert dataset.get_cat_ids(i) == sorted(set(item['gt_bboxes_labels'].tolist()))


def test_item_types_are_those_of_the_conventions():
    item = Shapes(3, 24, objects='multi')[2]
    types = {key: (value.dtype.name, value.ndim) for key, value in item.items()
             if isinstance(value, np.ndarray)}
    assert types == {'img': ('uint8', 3), 'gt_bboxes': ('float32', 2),
                     'gt_bboxes_labels': ('int64', 1), 'gt_masks': ('uint8', 3),
                     'gt_seg_map': ('uint8', 2)}
    assert type(item['gt_label']) is int and item['sample_idx'] == 2
    assert set(Shapes(1)[0]) == {'img', 'gt_label', 'sample_idx'}


def test_the_background_pixels_have_the_background_color_and_no_other_pixel_does():
    dataset = Shapes(20, 64)
    for i in range(20):
        content = dataset.render(i)
        background = content.image[0, 0]
        is_background = (content.image == background).all(axis=-1)
        assert not is_background[content.masks[0]].any()
        # Pixels that an object's edge crosses mix both; they are few.
        assert (is_background | content.masks[0]).mean() > 0.9


def test_the_front_object_hides_what_is_behind_it():
    # A circle exactly before a slightly larger square: only the square's corners remain.
    square_alone = render_scenes(scenes_of([1], [[.5, .5]], [.4]), 64)[1][0] == 1
    circle_alone = render_scenes(scenes_of([0], [[.5, .5]], [.28]), 64)[1][0] == 1
    instances = render_scenes(scenes_of([0, 1], [[.5, .5]] * 2, [.28, .4]), 64)[1][0]
    np.testing.assert_array_equal(instances == 1, circle_alone)
    np.testing.assert_array_equal(instances == 2, square_alone & ~circle_alone)
    assert (instances == 2).any()


def test_an_object_nearly_hidden_leaves_no_trace():
    alone = render_scenes(scenes_of([1], [[.5, .5]], [.4]), 64)
    hidden = render_scenes(scenes_of([1, 0], [[.5, .5], [.55, .5]], [.4, .3]), 64)
    np.testing.assert_array_equal(alone[0], hidden[0])
    np.testing.assert_array_equal(alone[1], hidden[1])
    # Moved out from behind the square, the same circle is drawn.
    assert (render_scenes(scenes_of([1, 0], [[.5, .5], [.8, .5]], [.4, .3]), 64)[1] == 2).any()


def test_silhouettes_have_the_areas_of_their_formulas():
    # In units of the squared radius, from school geometry.
    areas = {'circle': np.pi * .94**2, 'square': 1.4**2, 'triangle': 3 * 3**.5 / 4,
             'star': 5 * .48 * np.sin(np.deg2rad(36)), 'cross': 2 * (2 * .93 * .7) - .7**2,
             'hexagon': 2 * 3**.5 * .83**2, 'ring': np.pi * (.96**2 - .34**2)}
    for name, area in areas.items():
        label = list(CLASSES).index(name)
        instances = render_scenes(scenes_of([label], [[.5, .5]], [.45]), 512)[1]
        assert instances.sum() / (512 * .45)**2 == pytest.approx(area, rel=.005), name


@pytest.mark.parametrize('label', range(10))
def test_every_silhouette_stays_within_its_radius_and_shows_both_colors(label):
    content, instances = render_scenes(scenes_of([label], [[.5, .5]], [.4]), 256)
    y, x = np.nonzero(instances[0])
    distance = np.hypot(x + .5 - 128, y + .5 - 128)
    assert .85 * 102.4 < distance.max() <= 102.4 + .5
    dark = content[0].sum(axis=-1)[instances[0] == 1] < 200
    assert .1 < dark.mean() < .8


def test_the_image_is_the_same_scene_at_every_size():
    large, small = Shapes(4, 256), Shapes(4, 32)
    for i in range(4):
        shrunk = large[i]['img'].reshape(32, 8, 32, 8, 3).mean(axis=(1, 3))
        assert np.abs(shrunk - small[i]['img']).mean() < 6


@pytest.mark.parametrize(('image_size', 'max_objects'), [(16, 32), (17, 32), (512, 3)])
def test_any_size_in_the_range_renders(image_size, max_objects):
    item = Shapes(2, image_size, objects='multi', max_objects=max_objects, cache=False)[1]
    assert item['img'].shape == (image_size, image_size, 3)


def test_changing_an_item_does_not_change_the_dataset():
    for objects in ('single', 'multi'):
        dataset = Shapes(2, 16, objects=objects)
        before = dataset[0]['img'].copy()
        dataset[0]['img'][:] = 0
        np.testing.assert_array_equal(dataset[0]['img'], before)


def test_indices_subsets_lazy_init_and_pipeline_work_as_in_mmengine():
    dataset = Shapes(50, 16)
    chosen = Shapes(50, 16, indices=[7, 3], lazy_init=True)
    assert not chosen._fully_initialized
    assert len(chosen) == 2 and chosen.get_gt_labels().tolist() == [
        dataset[7]['gt_label'], dataset[3]['gt_label']]
    np.testing.assert_array_equal(chosen[1]['img'], dataset[3]['img'])
    assert chosen[1]['sample_idx'] == 1
    np.testing.assert_array_equal(chosen.render(0).image, dataset[7]['img'])
    subset = dataset.get_subset([5, 6])
    np.testing.assert_array_equal(subset[1]['img'], dataset[6]['img'])
    assert np.shares_memory(subset._rendered[0], dataset._rendered[0])
    doubled = Shapes(5, 16, pipeline=[lambda item: {**item, 'gt_label': item['gt_label'] * 2}])
    assert doubled[3]['gt_label'] == 2 * dataset[3]['gt_label']
    built = DATASETS.build({'type': 'Shapes', 'num_images': 4, 'image_size': 16})
    assert len(built) == 4 and built.metainfo['classes'] == tuple(CLASSES) == built.classes
    assert len(pickle.loads(pickle.dumps(built))) == 4


def test_the_samplers_index_object_is_kept():
    assert Shapes(5, 16)[SampleIndex(3, epoch=5, seed=0)]['sample_idx'].epoch == 5


def test_balanced_labels_of_any_order_of_indices_are_those_of_the_images():
    indices = np.array([93, 4, 4, 57])
    np.testing.assert_array_equal(balanced_labels(indices, 0, 'train'),
                                  balanced_labels(np.arange(100), 0, 'train')[indices])


def test_render_refuses_an_index_beyond_the_end():
    dataset = Shapes(5, 16)
    np.testing.assert_array_equal(dataset.render(-1).image, dataset[4]['img'])
    with pytest.raises(IndexError, match=re.escape('[-5, 4], got 5')):
        dataset.render(5)


@pytest.mark.parametrize(('argument', 'value', 'accepted'), [
    ('num_images', 0, '>= 1'), ('image_size', 15, '[16, 512]'), ('image_size', 513, '[16, 512]'),
    ('split', 'training', "'train', 'val', 'test'"), ('objects', 'many', "'single', 'multi'"),
    ('max_objects', 0, '[1, 32]'), ('seed', -1, '[0, '), ('cache', 'yes', 'True, False'),
])
def test_a_wrong_argument_is_named_with_what_is_accepted(argument, value, accepted):
    with pytest.raises(ValueError, match=f'^{argument} must be') as error:
        Shapes(**{argument: value})
    assert accepted in str(error.value) and str(value) in str(error.value)


def test_a_number_that_is_not_an_integer_is_refused():
    with pytest.raises(ValueError, match=r'num_images must be an integer >= 1, got 10.0'):
        Shapes(num_images=10.0)
    with pytest.raises(ValueError, match='seed must be'):
        Shapes(seed=True)
