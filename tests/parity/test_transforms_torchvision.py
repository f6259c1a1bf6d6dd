"""Every operation against torchvision's, for the same parameters; random draws by distribution."""

import io
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmsimclr.transforms import (
    CenterCrop,
    ColorJitter,
    RandomHorizontalFlip,
    RandomResizedCrop,
    ResizeShortSide,
    adjust_color,
    decode_image,
    gaussian_blur,
    image_to_tensor,
    resize,
    resized_crop,
    solarize,
    to_grayscale,
)

tv = pytest.importorskip('torchvision.transforms')
functional = pytest.importorskip('torchvision.transforms.functional')
stats = pytest.importorskip('scipy.stats')

RANGES = {'brightness': (0.2, 1.8), 'contrast': (0.2, 1.8), 'saturation': (0.2, 1.8),
          'hue': (-0.2, 0.2)}
# (mean, largest) difference in grey levels, float reference. Hue has 256 steps here, as in Pillow:
# a saturated colour moves by 6 levels from one to the next.
TOLERANCES = {'brightness': (0.3, 0.51), 'contrast': (0.3, 0.55), 'saturation': (0.3, 1.1),
              'hue': (1.1, 8)}


@pytest.fixture(scope='module', params=['astronaut', 'coffee'])
def photo(request):
    """A photograph, 150×200, with clipped regions."""
    path = Path(__file__).parents[1] / 'data' / 'augment.npz'
    img = np.load(path)[f'image/{request.param}']
    img = cv2.resize(img, (200, 150), interpolation=cv2.INTER_CUBIC)
    return cv2.convertScaleAbs(img, alpha=1.2)


def to_float(img):
    return torch.from_numpy(img).permute(2, 0, 1).float() / 255


def to_levels(tensor):
    return tensor.permute(1, 2, 0).numpy() * 255


def torchvision_adjust(img, factors):
    tensor = to_float(img)
    for name, factor in factors:
        tensor = getattr(functional, f'adjust_{name}')(tensor, factor)
    return to_levels(tensor)


@pytest.mark.parametrize('name', RANGES)
@pytest.mark.parametrize('position', [0.0, 0.2, 0.45, 0.7, 1.0])
def test_colour_operation_equals_torchvision(photo, name, position):
    low, high = RANGES[name]
    factors = [(name, low + position * (high - low))]
    difference = np.abs(adjust_color(photo, factors) - torchvision_adjust(photo, factors))
    mean, largest = TOLERANCES[name]
    assert difference.mean() <= mean
    assert difference.max() <= largest


@pytest.mark.parametrize('seed', range(24))
def test_jitter_in_any_order_is_as_close_to_torchvision_on_floats_as_pillow_is(photo, seed):
    rng = random.Random(seed)
    factors = [(name, rng.uniform(*bounds)) for name, bounds in RANGES.items()]
    rng.shuffle(factors)
    reference = torchvision_adjust(photo, factors)
    difference = np.abs(adjust_color(photo, factors) - reference)
    pillow = Image.fromarray(photo)
    for name, factor in factors:
        pillow = getattr(functional, f'adjust_{name}')(pillow, factor)
    assert difference.mean() <= max(
        1.0, 1.25 * np.abs(np.asarray(pillow) - reference).mean())
    assert difference.mean() <= 2.5
    assert np.quantile(difference, 0.999) <= 16


@pytest.mark.parametrize('order', [('brightness', 'contrast'), ('contrast', 'saturation'),
                                   ('saturation', 'brightness'), ('brightness', 'saturation')])
def test_operations_that_clip_are_not_fused_over_the_clipping(photo, order):
    factors = [(order[0], 1.8), (order[1], 0.3)]
    difference = np.abs(adjust_color(photo, factors) - torchvision_adjust(photo, factors))
    assert difference.max() <= 1.5


def test_grayscale_equals_torchvision(photo):
    reference = to_levels(functional.rgb_to_grayscale(to_float(photo), 3))
    assert np.abs(to_grayscale(photo) - reference).max() <= 0.6


@pytest.mark.parametrize('sigma', [0.1, 0.25, 0.3, 0.5, 0.9, 1.4, 2.0])
@pytest.mark.parametrize('kernel_size', [3, 9, 23])
def test_blur_equals_torchvision(photo, sigma, kernel_size):
    reference = to_levels(functional.gaussian_blur(to_float(photo), kernel_size, sigma))
    difference = np.abs(gaussian_blur(photo, sigma, kernel_size) - reference)
    assert difference.mean() <= 0.3
    assert difference.max() <= 1.5


@pytest.mark.parametrize('threshold', [0, 100, 128, 256])
def test_solarize_equals_torchvision(photo, threshold):
    reference = np.asarray(functional.solarize(Image.fromarray(photo), threshold))
    assert np.array_equal(solarize(photo, threshold), reference)


@pytest.mark.parametrize(('interpolation', 'mode'), [
    ('bilinear', tv.InterpolationMode.BILINEAR), ('bicubic', tv.InterpolationMode.BICUBIC)])
@pytest.mark.parametrize('box', [(10, 20, 120, 150), (0, 0, 150, 200), (33, 5, 40, 50)])
def test_resized_crop_equals_torchvision_on_pillow(photo, interpolation, mode, box):
    reference = functional.resized_crop(Image.fromarray(photo), *box, [64, 64], mode)
    result = resized_crop(photo, box, (64, 64), interpolation)
    difference = np.abs(result.astype(int) - np.asarray(reference))
    assert difference.mean() <= 0.05
    assert difference.max() <= 2


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('size', [(64, 70), (170, 90), (300, 310)])
def test_antialiased_resize_is_torchs_to_the_last_bit(photo, interpolation, size):
    crop = photo[3:140, 10:190]
    reference = torch.nn.functional.interpolate(
        torch.from_numpy(crop.copy()).permute(2, 0, 1)[None], size, mode=interpolation, antialias=True,
        align_corners=False)[0].permute(1, 2, 0).numpy()
    result = resize(crop, size, interpolation)
    assert np.array_equal(result, reference) and result.flags.c_contiguous


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
def test_resize_without_antialias_equals_torch(photo, interpolation):
    reference = torch.nn.functional.interpolate(
        to_float(photo)[None], (70, 90), mode=interpolation, align_corners=False)[0].clamp(0, 1)
    result = resize(photo, (70, 90), interpolation, antialias=False)
    difference = np.abs(result - to_levels(reference))
    assert difference.mean() <= 0.5
    assert difference.max() <= 3


def test_evaluation_crop_equals_torchvision(photo):
    reference = tv.Compose([tv.Resize(100, tv.InterpolationMode.BICUBIC), tv.CenterCrop(89)])(
        Image.fromarray(photo))
    result = CenterCrop(89)(ResizeShortSide(100)({'img': photo}))['img']
    assert np.abs(result.astype(int) - np.asarray(reference)).max() <= 2


@pytest.mark.parametrize('shape', [(375, 500), (60, 400), (500, 90)])
def test_crop_boxes_have_torchvisions_distribution(shape):
    random.seed(0)
    torch.manual_seed(0)
    ours = RandomResizedCrop(224)
    boxes = np.array([ours.draw_box(*shape) for _ in range(3000)], float)
    blank = torch.empty(1, *shape)
    reference = np.array([tv.RandomResizedCrop.get_params(blank, (0.08, 1.0), (3 / 4, 4 / 3))
                          for _ in range(3000)], float)
    for quantity in (lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 3] / b[:, 2],
                     lambda b: b[:, 0], lambda b: b[:, 1]):
        assert stats.ks_2samp(quantity(boxes), quantity(reference)).pvalue > 1e-3


def test_jitter_factors_are_uniform_in_torchvisions_ranges():
    random.seed(1)
    ours = ColorJitter(0.8, 0.8, 0.8, 0.2)
    theirs = tv.ColorJitter(0.8, 0.8, 0.8, 0.2)
    draws = [dict(ours.get_params()) for _ in range(2000)]
    for name in RANGES:
        low, high = getattr(theirs, name)
        values = np.array([draw[name] for draw in draws])
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_flip_equals_torchvision(photo):
    reference = np.asarray(functional.hflip(Image.fromarray(photo)))
    assert np.array_equal(RandomHorizontalFlip(1.0)({'img': photo})['img'], reference)


@pytest.mark.parametrize('side', [9, 63, 64, 200])
def test_packed_tensor_equals_torchvisions(photo, side):
    img = photo.copy()[:side, :side]
    tensor = image_to_tensor(img)
    assert torch.equal(tensor, functional.pil_to_tensor(Image.fromarray(img)))
    assert tensor.is_contiguous()
    before = tensor.clone()
    img[:] = 0                                                  # the tensor is not a view of the image
    assert torch.equal(tensor, before)


def test_jpeg_equals_pillow_within_a_level(photo):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, 'JPEG', quality=90)
    reference = np.asarray(Image.open(file).convert('RGB'))
    assert np.abs(decode_image(file.getvalue()).astype(int) - reference).mean() <= 1
