"""Each operation of the device's views against torchvision's and the loader's, for the same parameters."""

import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmsimclr.transforms import SimCLRView, adjust_color, gaussian_blur, resized_crop
from mmsimclr.transforms.batch import (
    JITTER,
    DeviceViews,
    ViewParameters,
    adjust_batch,
    blur_matrices,
    crop_matrices,
    draw_parameters,
    filter_rows_and_columns,
    to_grey,
    turn_hue,
)

functional = pytest.importorskip('torchvision.transforms.functional')
stats = pytest.importorskip('scipy.stats')
tv = pytest.importorskip('torchvision.transforms')

BOXES = [(10, 20, 120, 150), (0, 0, 150, 200), (33, 5, 40, 50), (149, 199, 1, 1), (60, 0, 9, 200)]
RANGES = {'brightness': (0.2, 1.8), 'contrast': (0.2, 1.8), 'saturation': (0.2, 1.8), 'hue': (-0.2, 0.2)}


@pytest.fixture(scope='module')
def photos():
    """Two photographs, 150 x 200, with clipped regions, uint8 [2, H, W, 3]."""
    stored = np.load(Path(__file__).parents[1] / 'data' / 'augment.npz')
    images = [cv2.resize(stored[f'image/{name}'], (200, 150), interpolation=cv2.INTER_CUBIC)
              for name in ('astronaut', 'coffee')]
    return np.stack([cv2.convertScaleAbs(img, alpha=1.2) for img in images])


def rows_of_planes(images):
    """uint8 [M, H, W, 3] to float [M, H, 3, W]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 1, 3, 2).float()


def to_levels(tensor):
    """float [3, H, W] in [0, 1] to levels [H, 3, W]."""
    return tensor.permute(1, 0, 2) * 255


def to_unit(img):
    return torch.from_numpy(img).permute(2, 0, 1).float() / 255


def crop(photo, box, size, interpolation, flipped=False):
    top, left, height, width = (torch.tensor([float(value)]) for value in box)
    rows = crop_matrices(top, height, size, photo.shape[0], interpolation)
    columns = crop_matrices(left, width, size, photo.shape[1], interpolation, torch.tensor([flipped]))
    return filter_rows_and_columns(rows_of_planes(photo[None]), rows[None], columns[None])[0]


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('size', [32, 64, 160])
@pytest.mark.parametrize('box', BOXES)
def test_crop_equals_torchs_antialiased_resize(photos, interpolation, size, box):
    top, left, height, width = box
    cut = to_unit(photos[0])[None, :, top:top + height, left:left + width]
    reference = torch.nn.functional.interpolate(cut, (size, size), mode=interpolation, antialias=True)
    difference = (crop(photos[0], box, size, interpolation) - to_levels(reference[0])).abs()
    assert difference.max() < 0.01                              # of 255 levels


@pytest.mark.parametrize('box', BOXES[:3])
def test_crop_equals_the_loaders_but_for_its_rounding_to_whole_levels(photos, box):
    reference = torch.from_numpy(resized_crop(photos[1], box, (64, 64))).permute(0, 2, 1)
    difference = (crop(photos[1], box, 64, 'bicubic').clamp(0, 255) - reference).abs()
    assert difference.mean() < 0.35                             # 0.25 is rounding alone
    assert difference.max() < 2.5                               # the loader's resize is within 2 of Pillow's


def test_flip_equals_torchvision(photos):
    reference = functional.hflip(crop(photos[0], BOXES[0], 40, 'bicubic').permute(1, 0, 2))
    assert torch.equal(crop(photos[0], BOXES[0], 40, 'bicubic', flipped=True), reference.permute(1, 0, 2))


@pytest.mark.parametrize('name', JITTER)
@pytest.mark.parametrize('position', [0.0, 0.2, 0.45, 0.7, 1.0])
def test_colour_operation_equals_torchvision_and_the_loader(photos, name, position):
    low, high = RANGES[name]
    factor = low + position * (high - low)
    factors = np.array([[1.0, 1.0, 1.0, 0.0]] * 2)
    factors[:, JITTER.index(name)] = factor
    found = adjust_batch(rows_of_planes(photos), np.array([[0, 1, 2, 3]] * 2), factors)
    for photo, ours in zip(photos, found, strict=True):
        reference = getattr(functional, f'adjust_{name}')(to_unit(photo), factor)
        # torchvision's weights of grey sum to 0.9999.
        assert (ours - to_levels(reference)).abs().max() < (0.05 if name != 'contrast' else 0.1)
        loaders = torch.from_numpy(adjust_color(photo, [(name, factor)])).permute(0, 2, 1)
        assert (ours - loaders).abs().mean() < (1.1 if name == 'hue' else 0.3)


def test_jitter_in_an_order_of_each_images_own_equals_torchvision(photos):
    rng = random.Random(0)
    batch = np.concatenate([photos] * 12)
    order = np.array([rng.sample(range(4), 4) for _ in batch])
    factors = np.array([[rng.uniform(*RANGES[name]) for name in JITTER] for _ in batch])
    found = adjust_batch(rows_of_planes(batch), order, factors)
    for photo, own_order, own_factors, ours in zip(batch, order, factors, found, strict=True):
        reference = to_unit(photo)
        for operation in own_order:
            adjust = getattr(functional, f'adjust_{JITTER[operation]}')
            reference = adjust(reference, own_factors[operation])
        difference = (ours - to_levels(reference)).abs()
        assert difference.mean() < 0.05
        # A pixel next to grey has no sure hue: the last digits decide it.
        assert difference.flatten().quantile(0.999) < 0.5


@pytest.mark.parametrize('turns', [0.5, -0.5, 0.37, 1 / 6])
def test_hue_of_primaries_and_greys_turns_as_torchvisions(turns):
    levels = [0, 64, 128, 255]
    colours = np.array([(r, g, b) for r in levels for g in levels for b in levels], np.uint8)[None]
    reference = functional.adjust_hue(to_unit(colours), turns)
    found = turn_hue(rows_of_planes(colours[None]), torch.tensor([turns]))[0]
    assert (found - to_levels(reference)).abs().max() < 0.01


def test_grey_equals_torchvision(photos):
    for photo, found in zip(photos, to_grey(rows_of_planes(photos)), strict=True):
        reference = functional.rgb_to_grayscale(to_unit(photo), 3)
        assert (found - to_levels(reference)).abs().max() < 0.05


@pytest.mark.parametrize(('size', 'radius'), [(64, 3), (64, 6), (7, 6)])
def test_blur_equals_torchvision_for_a_sigma_of_each_images_own(photos, size, radius):
    sigmas = (0.1, 0.6, 1.3, 2.0)
    cuts = np.stack([photos[0][:size, :size]] * len(sigmas))
    matrices = blur_matrices(torch.tensor(sigmas), size, radius).unsqueeze(1)
    found = filter_rows_and_columns(rows_of_planes(cuts), matrices, matrices)
    for sigma, ours in zip(sigmas, found, strict=True):
        reference = functional.gaussian_blur(to_unit(cuts[0]), 2 * radius + 1, sigma)
        assert (ours - to_levels(reference)).abs().max() < 0.01
        loaders = torch.from_numpy(gaussian_blur(cuts[0], sigma, 2 * radius + 1)).permute(0, 2, 1)
        assert (ours - loaders).abs().max() < 1.5


def test_the_widest_blur_of_a_view_ends_where_a_longer_kernel_adds_nothing(photos):
    cut = np.ascontiguousarray(photos[0][:144, :144])
    parameters = ViewParameters(
        boxes=np.array([[0, 0, 144, 144]]), flipped=np.zeros(1, bool), order=np.array([[0, 1, 2, 3]]),
        factors=np.array([[1.0, 1.0, 1.0, 0.0]]), grey=np.zeros(1, bool), sigma_px=np.array([2.0]))
    ours, = DeviceViews(size=144).render(torch.from_numpy(cut[None]), parameters)
    reference = functional.gaussian_blur(to_unit(cut), 2 * (144 // 10 // 2) + 1, 2.0)
    assert (ours - to_levels(reference)).abs().max() < 0.5      # 5 px to each side are off by 1.6 levels


def test_a_whole_view_equals_the_loaders_operations_one_after_the_other(photos):
    views = DeviceViews(size=48)
    images = torch.from_numpy(np.concatenate([photos] * 8))
    parameters = draw_parameters(views, np.arange(16, dtype=np.uint64), np.array([(150, 200)] * 16))
    found = views.render(images, parameters)
    means = []
    for number, ours in enumerate(found):
        img = resized_crop(images[number // 2].numpy(), parameters.boxes[number].tolist(), (48, 48))
        img = cv2.flip(img, 1) if parameters.flipped[number] else img
        img = adjust_color(img, [(JITTER[operation], parameters.factors[number, operation])
                                 for operation in parameters.order[number]])
        if parameters.grey[number]:
            img = cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if parameters.sigma_px[number]:
            img = gaussian_blur(img, parameters.sigma_px[number], 5)
        means.append((ours - torch.from_numpy(img).permute(0, 2, 1)).abs().mean().item())
    assert max(means) < 2.5 and np.mean(means) < 1              # hue has 256 steps in the loader
    assert all(len(set(values.tolist())) > 1 for values in (
        parameters.flipped, parameters.grey, parameters.sigma_px > 0, parameters.order[:, 0]))


@pytest.fixture(scope='module')
def drawn():
    """The parameters of 6,000 views of images of three shapes, 2,000 of each."""
    sizes = np.repeat([(375, 500), (60, 400), (500, 90)], 1000, axis=0)
    return draw_parameters(SimCLRView(224), np.arange(3000, dtype=np.uint64), sizes)


@pytest.mark.parametrize(('place', 'shape'), enumerate([(375, 500), (60, 400), (500, 90)]))
def test_boxes_have_torchvisions_distribution(drawn, place, shape):
    torch.manual_seed(0)
    ours = drawn.boxes[2000 * place:2000 * (place + 1)].astype(float)
    blank = torch.empty(1, *shape)
    reference = np.array([tv.RandomResizedCrop.get_params(blank, (0.08, 1.0), (3 / 4, 4 / 3))
                          for _ in range(2000)], float)
    for quantity in (lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 3] / b[:, 2],
                     lambda b: b[:, 0], lambda b: b[:, 1]):
        assert stats.ks_2samp(quantity(ours), quantity(reference)).pvalue > 1e-3


def test_factors_and_sigma_are_uniform_and_probabilities_the_papers(drawn):
    jittered = (drawn.factors != [1, 1, 1, 0]).any(axis=1)
    for name, values in zip(JITTER, drawn.factors[jittered].T, strict=True):
        low, high = RANGES[name]
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3, name
    assert stats.kstest(drawn.sigma_px[drawn.sigma_px > 0], stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3
    for name, values, probability in (('jitter', jittered, 0.8), ('flip', drawn.flipped, 0.5),
                                      ('grey', drawn.grey, 0.2), ('blur', drawn.sigma_px > 0, 0.5)):
        assert stats.binomtest(int(values.sum()), len(values), probability).pvalue > 1e-3, name


def test_all_24_orders_are_equally_frequent(drawn):
    _, counts = np.unique(drawn.order, axis=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


def test_draws_of_a_view_and_of_the_two_views_of_an_image_are_independent(drawn):
    columns = np.column_stack([drawn.factors, drawn.flipped, drawn.grey, drawn.sigma_px,
                               drawn.boxes[:, 2] / drawn.boxes[:, 3]])
    both = np.concatenate([columns[::2], columns[1::2]], axis=1)[:1000]
    both = both[((both[:, :4] != [1, 1, 1, 0]).any(axis=1))]
    correlation = np.corrcoef(both.T) - np.eye(both.shape[1])
    limit = 4.5 / np.sqrt(len(both))                            # 120 pairs, once in 1,000 draws of them all
    assert np.abs(correlation).max() < limit


def test_parameters_can_be_chosen_by_row(drawn):
    rows = np.array([5, 3])
    assert isinstance(drawn[rows], ViewParameters)
    assert np.array_equal(drawn[rows].boxes, drawn.boxes[[5, 3]])
