"""The random transforms: probabilities, ranges, determinism, refusals."""

import math
import random

import numpy as np
import pytest

from mmsimclr.transforms import (
    CenterCrop,
    ColorJitter,
    GaussianBlur,
    PCALighting,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomSolarize,
    Resize,
    ResizeShortSide,
    SimCLRView,
    adjust_color,
    gaussian_blur,
)
from mmsimclr.transforms.color import EIGENVALUES, EIGENVECTORS, OPERATIONS


@pytest.fixture
def img():
    return np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def fixed_seed():
    random.seed(12)


def changed_fraction(transform, img, trials=2000):
    return sum(transform({'img': img})['img'] is not img for _ in range(trials)) / trials


@pytest.mark.parametrize('prob', [0.0, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize('make', [
    RandomHorizontalFlip, RandomGrayscale, RandomSolarize,
    lambda prob: ColorJitter(prob=prob),
    lambda prob: GaussianBlur(sigma=(1, 2), prob=prob, kernel_size_fraction=0.21)])
def test_a_transform_is_applied_with_its_probability(img, make, prob):
    bound = 4 * math.sqrt(prob * (1 - prob) / 2000)
    assert abs(changed_fraction(make(prob=prob), img) - prob) <= bound


def test_blur_sigma_is_uniform_in_its_range():
    sigmas = np.array([GaussianBlur((0.1, 2.0)).get_params() for _ in range(4000)])
    assert sigmas.min() >= 0.1 and sigmas.max() <= 2.0
    assert np.abs(np.histogram(sigmas, 4, (0.1, 2.0))[0] - 1000).max() < 4 * math.sqrt(750)


@pytest.mark.parametrize(('height', 'expected'), [(224, 23), (96, 9), (32, 3), (8, 1)])
def test_blur_kernel_is_a_tenth_of_the_side(monkeypatch, height, expected):
    sizes = []
    monkeypatch.setattr('mmsimclr.transforms.blur.gaussian_blur',
                        lambda img, sigma, size: sizes.append(size) or img)
    GaussianBlur(prob=1.0)({'img': np.zeros((height, 40, 3), np.uint8)})
    assert sizes == [expected]


def test_blur_is_isotropic_and_keeps_the_mean():
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    blurred = gaussian_blur(point, 1.5, 23).astype(int)[..., 0]
    assert np.array_equal(blurred, blurred.T) and np.array_equal(blurred, blurred[::-1])
    assert blurred[20, 20] == round(255 / (2 * math.pi * 1.5**2))
    assert gaussian_blur(np.full((9, 9, 3), 200, np.uint8), 2.0, 23).min() == 200


def test_every_jitter_order_is_as_likely():
    jitter = ColorJitter()
    orders = {}
    for _ in range(4800):
        order = tuple(name for name, _ in jitter.get_params())
        orders[order] = orders.get(order, 0) + 1
    assert len(orders) == 24
    assert max(abs(n - 200) for n in orders.values()) < 5 * math.sqrt(200)


@pytest.mark.parametrize(('arguments', 'expected'), [
    ({}, {'brightness': (0.2, 1.8), 'contrast': (0.2, 1.8), 'saturation': (0.2, 1.8),
          'hue': (-0.2, 0.2)}),
    ({'brightness': 1.5, 'contrast': 0, 'saturation': (0.5, 2), 'hue': (0.1, 0.2)},
     {'brightness': (0, 2.5), 'saturation': (0.5, 2), 'hue': (0.1, 0.2)}),
    ({'style': 'official', 'additive_brightness': True},
     {'brightness_shift': (-0.8, 0.8), 'contrast_per_channel': (0.2, 1.8),
      'saturation_hsv': (0.2, 1.8), 'hue': (-0.2, 0.2)})])
def test_jitter_factors_fill_their_ranges(arguments, expected):
    draws = [dict(ColorJitter(**arguments).get_params()) for _ in range(600)]
    assert all(draw.keys() == expected.keys() for draw in draws)
    for name, (low, high) in expected.items():
        values = [draw[name] for draw in draws]
        margin = 0.03 * (high - low)
        assert low - 1e-9 <= min(values) <= low + margin
        assert high - margin <= max(values) <= high + 1e-9


@pytest.mark.parametrize('name', ['brightness', 'contrast', 'saturation', *OPERATIONS])
def test_a_neutral_factor_changes_nothing(img, name):
    neutral = 0.0 if name in ('hue', 'brightness_shift') else 1.0
    tolerance = 8 if name == 'saturation_hsv' else 0  # HSV of 256 steps there and back
    assert np.abs(adjust_color(img, [(name, neutral)]).astype(int) - img).max() <= tolerance


def test_fused_operations_equal_one_after_the_other(img):
    factors = [('brightness', 0.9), ('contrast', 0.7), ('saturation', 0.4), ('brightness', 0.95),
               ('saturation', 0.5), ('contrast', 1.6)]
    exact = img.astype(np.float64)
    luma = np.array([0.2989, 0.587, 0.114]) / 0.9999
    for name, factor in factors:
        base = {'brightness': 0.0, 'contrast': (exact @ luma).mean(),
                'saturation': (exact @ luma)[..., None]}[name]
        exact = factor * exact + (1 - factor) * base
    assert np.abs(adjust_color(img, factors) - exact.clip(0, 255)).max() <= 1.0


def test_contrast_is_around_the_mean_of_the_clipped_image():
    img = np.full((2, 2, 3), 100, np.uint8)
    img[0] = 200
    # 200·1.8 clips to 255, 100·1.8 = 180: the mean is 217.5, not 270.
    result = adjust_color(img, [('brightness', 1.8), ('contrast', 0.0)])
    assert np.abs(result.astype(float) - 217.5).max() <= 0.51


def test_crop_of_an_odd_shape_falls_back_to_the_centre():
    crop = RandomResizedCrop(8, scale=(1.0, 1.0))
    assert crop.draw_box(10, 100) == (0, 43, 10, 13)
    assert crop.draw_box(100, 10) == (43, 0, 13, 10)


@pytest.mark.parametrize('shape', [(1, 1), (1, 500), (3, 2)])
def test_tiny_images_can_be_cropped(shape):
    view = RandomResizedCrop(16)({'img': np.full((*shape, 3), 9, np.uint8)})['img']
    assert view.shape == (16, 16, 3) and (view == 9).all()


def test_crop_results_are_contiguous_and_of_the_size(img):
    for interpolation in ('nearest', 'bilinear', 'bicubic', 'area'):
        for antialias in (True, False):
            crop = RandomResizedCrop((7, 11), interpolation=interpolation, antialias=antialias)
            view = crop({'img': img})['img']
            assert view.shape == (7, 11, 3) and view.dtype == np.uint8
            assert view.flags.c_contiguous


def test_short_side_and_centre(img):
    assert ResizeShortSide(12)({'img': img})['img'].shape == (12, 15, 3)
    assert ResizeShortSide(14)({'img': img})['img'].shape == (14, 17, 3)  # 17.5, rounded down
    assert Resize((5, 6))({'img': img})['img'].shape == (5, 6, 3)
    assert np.array_equal(CenterCrop(20)({'img': img})['img'], img[2:22, 5:25])
    with pytest.raises(ValueError, match=r'25×25.*24×30.*ResizeShortSide'):
        CenterCrop(25)({'img': img})


def test_the_policy_is_the_papers():
    names = [type(step).__name__ for step in SimCLRView(224).steps]
    assert names == ['RandomResizedCrop', 'RandomHorizontalFlip', 'ColorJitter',
                     'RandomGrayscale', 'GaussianBlur']
    cifar = SimCLRView(32, strength=0.5, blur=False).steps
    assert [type(step).__name__ for step in cifar] == names[:4]
    jitter = cifar[2]
    assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue, jitter.prob) == (
        (0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1), 0.8)


@pytest.mark.parametrize(('make', 'words'), [
    (lambda: RandomHorizontalFlip(1.2), ['prob', '1.2']),
    (lambda: RandomGrayscale(-0.1), ['prob', '-0.1']),
    (lambda: RandomGrayscale('0.5'), ['prob', "'0.5'"]),
    (lambda: RandomResizedCrop(0), ['size', '>= 1', '0']),
    (lambda: RandomResizedCrop((4, 5, 6)), ['size', r'\(4, 5, 6\)']),
    (lambda: RandomResizedCrop(8, scale=(1.0, 0.08)), ['scale', 'reversed']),
    (lambda: RandomResizedCrop(8, scale=(0, 1)), ['scale', r'\(0, 1\)']),
    (lambda: RandomResizedCrop(8, scale=(0.1, 1.5)), ['scale', '1.5']),
    (lambda: RandomResizedCrop(8, ratio=(-1, 1)), ['ratio', '-1']),
    (lambda: RandomResizedCrop(8, ratio=(float('nan'), 1)), ['ratio', 'nan']),
    (lambda: RandomResizedCrop(8, interpolation='bicubik'), ['interpolation', 'mean .bicubic']),
    (lambda: ColorJitter(brightness=-0.1), ['brightness', '-0.1']),
    (lambda: ColorJitter(hue=0.6), ['hue', '0.5', '0.6']),
    (lambda: ColorJitter(hue=(0.2, -0.2)), ['hue', 'reversed']),
    (lambda: ColorJitter(contrast='much'), ['contrast', 'much']),
    (lambda: ColorJitter(style='oficial'), ['style', 'oficial', 'mean .official']),
    (lambda: GaussianBlur(sigma=(2.0, 0.1)), ['sigma', 'reversed']),
    (lambda: GaussianBlur(sigma=1.0), ['sigma', 'pair', '1.0']),
    (lambda: GaussianBlur(sigma=(0, 1)), ['sigma', r'\(0, 1\)']),
    (lambda: GaussianBlur(kernel_size_fraction=0), ['kernel_size_fraction', '0']),
    (lambda: RandomSolarize(threshold=300), ['threshold', '300']),
    (lambda: SimCLRView(32, strength=-1), ['strength', '-1']),
])
def test_wrong_arguments_are_refused_by_name(make, words):
    with pytest.raises(ValueError, match='.*'.join(words)):
        make()


def test_images_of_another_kind_are_refused(img):
    for transform in (RandomResizedCrop(8), ColorJitter(), GaussianBlur(), CenterCrop(4)):
        with pytest.raises(TypeError, match=rf'{type(transform).__name__}.*float64.*\(24, 30, 3\)'):
            transform({'img': img.astype(float)})
        with pytest.raises(TypeError, match=r'\(24, 30\)'):
            transform({'img': img[..., 0]})


LIT = np.random.default_rng(0).integers(60, 200, (5, 7, 3), dtype=np.uint8)


def test_every_pixel_moves_along_the_principal_components():
    random.seed(4)
    result = PCALighting(0.1)({'img': LIT})['img']
    random.seed(4)
    alphas = [random.normalvariate(0, 0.1) for _ in range(3)]
    want = LIT.astype(float)
    for channel in range(3):
        for alpha, value, component in zip(alphas, (55.4625, 4.794, 1.1475), EIGENVECTORS.T, strict=True):
            want[..., channel] += alpha * value * component[channel]
    assert np.array_equal(result, want.round().astype(np.uint8))
    assert result.dtype == np.uint8 and not np.array_equal(result, LIT)


def test_components_are_orthonormal_and_the_first_is_brightness():
    assert np.allclose(EIGENVECTORS.T @ EIGENVECTORS, np.eye(3), atol=1e-3)
    assert np.ptp(EIGENVECTORS[:, 0]) < 0.02 and EIGENVALUES[0] > 10 * EIGENVALUES[1]


def test_values_are_clipped_and_the_input_is_left_alone():
    white = np.full((2, 2, 3), 255, np.uint8)
    for seed in range(20):
        random.seed(seed)
        moved = PCALighting(1.0)({'img': white})['img'].astype(int)
        assert 255 - moved.min() < 3 * 55.5 * 0.6 + 20      # no wrapping around to 0
    assert white.min() == 255


@pytest.mark.parametrize('alpha_std', [-0.1, float('nan'), float('inf')])
def test_a_deviation_out_of_range_is_refused(alpha_std):
    with pytest.raises(ValueError, match='alpha_std must be >= 0'):
        PCALighting(alpha_std)


def test_every_place_of_a_box_is_equally_frequent_up_to_the_last_row_and_column():
    crop = RandomResizedCrop(4)
    boxes = [crop.draw_box(4, 4) for _ in range(2000)]
    for start, length in ((0, 2), (1, 3)):
        places = [box[start] for box in boxes if box[length] == 3]
        assert len(places) > 500 and set(places) == {0, 1}
        assert 0.45 < np.mean(places) < 0.55


def test_the_last_box_is_central_and_as_wide_or_as_high_as_the_ratio_allows():
    crop = RandomResizedCrop(4, ratio=(0.5, 3))
    assert crop.last_box(10, 100) == (0, 35, 10, 30)
    assert crop.last_box(100, 10) == (40, 0, 20, 10)
