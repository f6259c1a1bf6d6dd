"""MultiView: which pipelines, how many views, what seeds them; the source is left alone."""

import random

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmsimclr.engine import SampleIndex
from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms import (
    MultiView,
    PackImage,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomView,
    SimCLRView,
    sample_seed,
)


class TaggedIndex(int):
    """An index that knows the seed and the epoch, as samplers make them."""

    def __new__(cls, value, seed, epoch):
        """Tag ``value``."""
        index = super().__new__(cls, value)
        index.seed, index.epoch = seed, epoch
        return index


def mark(value):
    """Return a transform that writes ``value`` into the corner of a copy."""
    def step(results):
        img = results['img'].copy()
        img[0, 0] = value
        return {**results, 'img': img}
    return step


@pytest.fixture
def img():
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def corners(views):
    return [int(view[0, 0, 0]) for view in views]


def test_one_pipeline_serves_all_views(img):
    result = MultiView([mark(1), mark(2)], num_views=3)({'img': img, 'img_path': 'a.jpg'})
    assert corners(result['img']) == [2, 2, 2]
    assert result['img_path'] == 'a.jpg'


@pytest.mark.parametrize('num_views', [2, [1, 1]])
def test_one_pipeline_per_view(img, num_views):
    assert corners(MultiView([[mark(1)], [mark(2)]], num_views)({'img': img})['img']) == [1, 2]


def test_two_global_and_three_local_views(img):
    views = MultiView([[mark(1)], [mark(2)]], [2, 3])({'img': img})['img']
    assert corners(views) == [1, 1, 2, 2, 2]


def test_one_pipeline_nested_as_in_mmpretrain(img):
    assert len(MultiView(transforms=[[mark(1)]], num_views=[4])({'img': img})['img']) == 4


def test_views_start_from_the_same_array_not_from_a_copy(img):
    seen = []
    MultiView([lambda results: seen.append(results['img']) or results], 2)({'img': img})
    assert all(array is img for array in seen)


def test_pipelines_see_the_other_keys_but_do_not_share_a_dictionary(img):
    def count(results):
        results['count'] = results.get('count', 0) + 1
        assert results['count'] == 1
        return results
    assert 'count' not in MultiView([count], 2)({'img': img})


def test_an_image_that_decodes_itself_is_told_the_first_step_of_each_view(img):
    class Encoded:
        def decode_for(self, steps):
            self.steps = steps
            return img, [{'corner': number} for number, _ in enumerate(steps)]

    def first(results):
        return mark(10 + results['corner'])(results)
    encoded = Encoded()
    made = MultiView([[first], []], [2, 1])({'img': encoded})['img']
    assert encoded.steps == [first, first, None]
    assert corners(made) == [10, 11, img[0, 0, 0]]


@pytest.mark.parametrize('options', [{}, {'style': 'official', 'antialias': False}])
def test_the_source_is_never_written(img, options):
    source = img.copy()
    view = MultiView([{'type': SimCLRView, 'size': 32, **options}], 2)
    for _ in range(60):
        view({'img': img})
    assert np.array_equal(img, source)


def test_a_tagged_index_fixes_the_views(img):
    view = MultiView([SimCLRView(32)], 2)

    def make(index, seed, epoch):
        random.seed()
        return view({'img': img, 'sample_idx': TaggedIndex(index, seed, epoch)})['img']
    first = make(7, 3, 5)
    assert not np.array_equal(first[0], first[1])
    assert all(np.array_equal(a, b) for a, b in zip(first, make(7, 3, 5), strict=True))
    for other in ((8, 3, 5), (7, 4, 5), (7, 3, 6)):
        assert not any(np.array_equal(a, b) for a, b in zip(first, make(*other), strict=True))


def test_a_tagged_index_seeds_numpy_too(img):
    def draw(results):
        return {**results, 'img': np.random.rand()}
    view = MultiView([draw], 2)
    tagged = [view({'img': img, 'sample_idx': TaggedIndex(1, 2, 3)})['img'] for _ in range(2)]
    assert tagged[0] == tagged[1]


def test_a_plain_index_leaves_the_generators_alone(img):
    view = MultiView([RandomHorizontalFlip(0.5)], 1)
    random.seed(4)
    view({'img': img, 'sample_idx': 9})
    after = random.random()
    random.seed(4)
    random.random()
    assert after == random.random()


def test_random_seed_alone_decides_the_views(img):
    view = MultiView([SimCLRView(32)], 2)
    results = []
    for _ in range(2):
        random.seed(11)
        results.append(view({'img': img})['img'])
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_sample_seeds_are_distinct_stable_and_balanced():
    seeds = [sample_seed(s, e, i) for s in range(4) for e in range(10) for i in range(500)]
    assert len(set(seeds)) == len(seeds)
    bits = np.array([[seed >> bit & 1 for bit in range(64)] for seed in seeds]).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 0.02
    assert sample_seed(1, 2, 3) == 0xD0734750FDE362B3


def test_builds_from_strings(img):
    view = TRANSFORMS.build({
        'type': 'MultiView', 'num_views': 2,
        'transforms': [{'type': 'RandomResizedCrop', 'size': 8}, {'type': 'GaussianBlur'}]})
    assert [v.shape for v in view({'img': img})['img']] == [(8, 8, 3)] * 2


LAZY = '''
from mmsimclr.transforms import LoadImage, MultiView, PackViews, SimCLRView
pipeline = [dict(type=LoadImage),
            dict(type=MultiView, num_views=2,
                 transforms=[dict(type=SimCLRView, size=16, strength=0.5, blur=False)]),
            dict(type=PackViews)]
'''
TEXT = '''
pipeline = [dict(type='LoadImage'),
            dict(type='MultiView', num_views=2,
                 transforms=[dict(type='SimCLRView', size=16, strength=0.5, blur=False)]),
            dict(type='PackViews')]
'''


@pytest.mark.parametrize('text', [LAZY, TEXT], ids=['lazy', 'text'])
def test_both_config_dialects_build_the_pipeline(tmp_path, img, text):
    (tmp_path / 'config.py').write_text(text)
    results = {'img': img, 'sample_idx': 4}
    for step in Config.fromfile(tmp_path / 'config.py').pipeline:
        results = TRANSFORMS.build(step)(results)
    assert [tuple(view.shape) for view in results['inputs']] == [(3, 16, 16)] * 2
    assert results['data_samples'] == {}


@pytest.mark.parametrize(('transforms', 'num_views', 'error', 'words'), [
    ([mark(1)], 0, ValueError, ['num_views', '>= 1', '0']),
    ([mark(1)], -2, ValueError, ['num_views', '-2']),
    ([mark(1)], 1.5, ValueError, ['num_views', '1.5']),
    ([mark(1)], True, ValueError, ['num_views', 'True']),
    ([mark(1)], [1, 2], ValueError, ['num_views', r'\[1, 2\]']),
    ([[mark(1)], [mark(2)]], 3, ValueError, ['num_views=3', '2 pipelines']),
    ([[mark(1)], mark(2)], 2, TypeError, ['transforms', 'mixes']),
    ({'type': 'SimCLRView'}, 2, TypeError, ['transforms', 'dict']),
    ([3], 2, TypeError, ['transforms', '3']),
    ([RandomHorizontalFlip], 2, TypeError, ['transforms', 'RandomHorizontalFlip']),
])
def test_wrong_arguments_are_refused_by_name(transforms, num_views, error, words):
    with pytest.raises(error, match='.*'.join(words)):
        MultiView(transforms, num_views)


STEPS = [dict(type='RandomResizedCrop', size=8)]


def test_a_random_view_is_the_first_of_multi_view_and_packs_as_an_image(img):
    item = {'img': img, 'sample_idx': SampleIndex(3, epoch=1, seed=5), 'gt_label': 2}
    many = MultiView(STEPS, num_views=2)(dict(item))['img']
    packed = PackImage()(RandomView([RandomResizedCrop(8)])(dict(item)))
    assert torch.equal(packed['inputs'], torch.from_numpy(many[0]).permute(2, 0, 1))
    assert packed['data_samples'] == {'sample_idx': 3, 'gt_label': 2}


def test_another_epoch_has_another_random_view(img):
    views = [RandomView(STEPS)({'img': img, 'sample_idx': SampleIndex(3, epoch, 5)})['img']
             for epoch in (1, 2)]
    assert not np.array_equal(*views)


CROP = dict(type='RandomResizedCrop', size=24)


def tagged(img):
    return {'img': img, 'sample_idx': TaggedIndex(7, 3, 5)}


def draws(num):
    """Return a step that replaces the image by the next numbers of ``random`` and of numpy."""
    return lambda results: {**results, 'img': [random.random() for _ in range(num)] + [np.random.rand()]}


def test_shared_steps_are_drawn_once_and_every_view_starts_from_their_result(img):
    calls = []

    def crop(results):
        calls.append(results['img'])
        return {**results, 'img': results['img'][3:20], 'box': 3}
    views = MultiView([[], [mark(9)]], shared=[crop])(tagged(img))['img']
    assert len(calls) == 1 and calls[0] is img
    assert np.array_equal(views[0], img[3:20])
    assert np.array_equal(views[1][1:], img[4:20]) and corners(views)[1] == 9


def test_one_branch_is_the_identity_of_the_shared_crop(img):
    views = MultiView([[], [RandomHorizontalFlip(1.0)]], shared=[CROP])(tagged(img))['img']
    assert views[0].shape == (24, 24, 3) and np.array_equal(views[1], views[0][:, ::-1])


def test_shared_steps_do_not_draw_what_the_views_draw(img):
    seen = []

    def shared(results):
        seen.append(draws(4)(results)['img'])
        return results
    views = MultiView([draws(4)], 2, shared=[shared])(tagged(img))['img']
    drawn = [value for numbers in (*seen, *views) for value in numbers]
    assert len(set(drawn)) == len(drawn) == 15


def test_views_draw_with_shared_steps_what_they_draw_without_them(img):
    plain = MultiView([draws(4)], 2)(tagged(img))['img']
    assert MultiView([draws(4)], 2, shared=[CROP])(tagged(img))['img'] == plain
    # The numbers themselves, so that no later place in the seeding moves them.
    random.seed(sample_seed(3, 5, 7))
    assert plain[0][:4] == [random.random() for _ in range(4)]


def test_the_shared_draw_depends_on_the_image_and_not_on_the_branches(img):
    def crop_of(transforms, index=7, epoch=5):
        item = {'img': img, 'sample_idx': TaggedIndex(index, 3, epoch)}
        return MultiView(transforms, shared=[CROP])(item)['img'][0]
    crop = crop_of([[], [mark(1)]])
    assert np.array_equal(crop, crop_of([[], [dict(type='ColorJitter'), dict(type='GaussianBlur')]]))
    assert not np.array_equal(crop, crop_of([[], []], index=8))
    assert not np.array_equal(crop, crop_of([[], []], epoch=6))


def test_an_image_that_decodes_itself_is_told_the_first_shared_step(img):
    class Encoded:
        def decode_for(self, steps):
            self.steps = steps
            return img, [{'corner': 30}]

    def first(results):
        return mark(results.pop('corner'))(results)
    encoded = Encoded()
    assert corners(MultiView([[], [mark(2)]], shared=[first])({'img': encoded})['img']) == [30, 2]
    assert encoded.steps == [first]


def test_place_in_the_seeding_is_another_seed():
    assert len({sample_seed(1, 2, 3), sample_seed(1, 2, 3, 0), sample_seed(1, 2, 3, 1)}) == 3


@pytest.mark.parametrize(('shared', 'words'), [(CROP, 'shared'), ('RandomResizedCrop', 'shared'), ([3], '3')])
def test_shared_steps_of_another_kind_are_refused(shared, words):
    with pytest.raises(TypeError, match=words):
        MultiView([[], []], shared=shared)
