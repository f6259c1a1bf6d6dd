"""Rotation, cutout, noise and Sobel's filter: on an image and on a batch, from the same numbers."""

import math
import random

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms import Cutout, DeviceViews, GaussianNoise, MultiView, Rotate90, Sobel
from mmsimclr.transforms.batch import sample_seeds, uniforms
from mmsimclr.transforms.operators import Operator, normals

operate = Operator.apply_batch
SEEDS = sample_seeds(np.full(400, 3), np.full(400, 1), np.arange(400))


@pytest.fixture(autouse=True)
def fixed_seed():
    random.seed(12)


def noise_image(channels=3, height=24, width=30):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def as_batch(img, count=400):
    """Return an image [H, W, C] repeated as float [count, C, H, W]."""
    return torch.from_numpy(img).permute(2, 0, 1).float().repeat(count, 1, 1, 1)


def as_images(batch):
    return batch.permute(0, 2, 3, 1).numpy()


def is_gradient(result, img):
    """Tell whether ``result`` is scipy's Sobel of ``img``, rounded where it is uint8."""
    found = np.stack([np.hypot(*(ndimage.sobel(channel.astype(float), axis, mode='mirror') / 4
                                 for axis in (0, 1))) for channel in np.moveaxis(img, 2, 0)], axis=2)
    found = found.clip(max=255)
    if result.dtype == np.uint8:
        return np.array_equal(result, np.rint(found))
    return np.abs(result - found).max() <= 1e-3


@pytest.mark.parametrize('channels', [1, 2, 3, 6])
def test_sobel_is_scipys_gradient_magnitude(channels):
    img = noise_image(channels)
    assert is_gradient(Sobel().apply(img), img)
    batch = operate(Sobel(), as_batch(img, 2), SEEDS[:2])
    assert all(is_gradient(result, img) for result in as_images(batch))


def test_an_upright_edge_from_black_to_white_has_255_by_sobel():
    img = np.zeros((6, 8, 1), np.uint8)
    img[:, 4:] = 255
    assert np.array_equal(Sobel().apply(img)[2, :, 0], [0, 0, 0, 255, 255, 0, 0, 0])


def test_what_an_image_becomes_does_not_depend_on_its_place_in_memory():
    img = noise_image(3, 16, 16)
    for step in (Rotate90(), Cutout(), GaussianNoise(), Sobel()):
        found, kept = set(), []
        for offset in range(300):
            kept.append(np.empty(offset % 97))                  # so that what the step allocates moves too
            moved = np.empty(img.size + 64, np.uint8)[offset % 64:offset % 64 + img.size].reshape(img.shape)
            moved[:] = img
            random.seed(1)
            found.add(step.apply(moved).tobytes())
        assert len(found) == 1, step


def test_slanting_edges_are_clipped_by_sobel():
    img = np.where(np.add.outer(range(9), range(9)) > 8, 255, 0).astype(np.uint8)[..., None]
    steepest = np.hypot(*(ndimage.sobel(img[..., 0].astype(float), axis) / 4 for axis in (0, 1))).max()
    assert steepest > 260
    for result in (Sobel().apply(img), as_images(operate(Sobel(), as_batch(img, 1), SEEDS[:1]))[0]):
        assert result.max() == 255 and is_gradient(result, img)


@pytest.mark.parametrize('channels', [1, 3, 5])
def test_rotations_are_numpys_and_equally_frequent_on_the_cpu_and_in_a_batch(channels):
    img = noise_image(channels, 12, 12)
    step, turned = Rotate90(), [np.rot90(img, k) for k in range(4)]
    one_by_one = [step.apply(img) for _ in range(400)]
    for results in (one_by_one, as_images(operate(step, as_batch(img), SEEDS))):
        counts = [sum(np.array_equal(result, known) for result in results) for known in turned]
        assert sum(counts) == 400 and max(abs(count - 100) for count in counts) < 4 * math.sqrt(75)
    assert all(result.flags.c_contiguous for result in one_by_one)


def test_rotations_keep_to_the_angles_given():
    img, step = noise_image(3, 12, 12), Rotate90([90])
    for results in ([step.apply(img)], as_images(operate(step, as_batch(img, 3), SEEDS[:3]))):
        assert all(np.array_equal(result, np.rot90(img)) for result in results)


def test_an_upright_image_is_turned_alone_but_not_within_a_batch():
    img = noise_image(3, 10, 6)
    assert Rotate90([90]).apply(img).shape == (6, 10, 3)
    turned = as_images(operate(Rotate90([180]), as_batch(img, 1), SEEDS[:1]))[0]
    assert np.array_equal(turned, img[::-1, ::-1])
    with pytest.raises(ValueError, match=r'Rotate90.*square.*10×6'):
        operate(Rotate90([90]), as_batch(img, 1), SEEDS[:1])


def erased_boxes(results):
    """Return (top, left, height, width) of what is 7 in images of other levels; check it is a rectangle."""
    boxes = []
    for result in results:
        erased = (result == 7).all(axis=2)
        rows, columns = np.flatnonzero(erased.any(axis=1)), np.flatnonzero(erased.any(axis=0))
        assert erased.sum() == len(rows) * len(columns) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        boxes.append((rows[0], columns[0], len(rows), len(columns)))
    return np.array(boxes)


def cut_out(step, img):
    return {'cpu': [step.apply(img) for _ in range(400)],
            'batch': as_images(operate(step, as_batch(img), SEEDS))}


@pytest.mark.parametrize('place', ['cpu', 'batch'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_cutout_erases_a_square_of_half_the_side_cut_off_at_the_border(channels, place):
    img = np.full((20, 30, channels), 99, np.uint8)
    boxes = erased_boxes(cut_out(Cutout(fill=7), img)[place])
    tops, lefts, heights, widths = boxes.T
    inside = (tops > 0) & (tops < 10) & (lefts > 0) & (lefts < 20)
    assert (boxes[inside, 2:] == 10).all() and boxes[:, 2:].min() == 5 and boxes[:, 2:].max() == 10
    # Rows 5 to 15 and columns 5 to 25 of the centre leave the square whole: 11 of 20, and 21 of 30.
    whole = ((heights == 10) & (widths == 10)).mean()
    assert abs(whole - 11 / 20 * 21 / 30) < 4 * math.sqrt(0.385 * 0.615 / 400)
    assert set(tops) == set(range(11)) | set(range(11, 15))
    assert (img == 99).all()


@pytest.mark.parametrize('place', ['cpu', 'batch'])
@pytest.mark.parametrize('square', [True, False])
def test_cutout_sides_are_uniform_in_their_range(square, place):
    img = np.full((60, 60, 1), 99, np.uint8)
    boxes = erased_boxes(cut_out(Cutout((0.1, 0.3), square, fill=7), img)[place])
    inside = boxes[(boxes[:, :2] > 0).all(axis=1) & (boxes[:, :2] + boxes[:, 2:] < 60).all(axis=1)]
    heights, widths = inside.T[2:]
    assert (heights.min(), heights.max()) == (widths.min(), widths.max()) == (6, 18)
    assert abs(heights.mean() - 12) < 4 * 3.5 / math.sqrt(len(inside))
    assert np.array_equal(heights, widths) == square
    assert square or abs(np.corrcoef(heights, widths)[0, 1]) < 0.25


@pytest.mark.parametrize('place', ['cpu', 'batch'])
def test_noise_is_normal_of_the_deviation_and_new_for_each_value(place):
    img, step = np.full((40, 40, 3), 128, np.uint8), GaussianNoise((0.1, 0.1))
    if place == 'cpu':
        results = np.stack([step.apply(img) for _ in range(20)]).astype(float)
        assert np.array_equal(results, results.round())
    else:
        results = as_images(operate(step, as_batch(img, 20), SEEDS[:20])).astype(float)
    noise = results - 128
    assert abs(noise.std() / 25.5 - 1) < 0.01 and abs(noise.mean()) < 0.3
    scores = np.sort(noise.ravel()) / 25.5
    assert stats.kstest(scores + (0 if place == 'batch' else np.random.default_rng(0).uniform(
        -0.5, 0.5, scores.shape) / 25.5), 'norm').statistic < 0.01
    rows = noise.reshape(20, -1)
    assert np.abs(np.corrcoef(rows) - np.eye(20)).max() < 0.1
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.03


@pytest.mark.parametrize('place', ['cpu', 'batch'])
def test_the_deviation_of_noise_is_drawn_for_each_image(place):
    img, step = np.full((24, 24, 3), 128, np.uint8), GaussianNoise((0.02, 0.1))
    results = {'cpu': [step.apply(img) for _ in range(400)],
               'batch': as_images(operate(step, as_batch(img), SEEDS))}[place]
    found = np.array([np.std(result) for result in results]) / 255
    assert np.allclose((found.min(), found.max(), found.mean()), (0.02, 0.1, 0.06), atol=0.006)


def test_strong_noise_is_clipped_and_does_not_wrap_around():
    white = np.full((30, 30, 3), 255, np.uint8)
    result = GaussianNoise((0.1, 0.1)).apply(white)
    assert result.min() > 100 and (result == 255).mean() > 0.4
    batch = operate(GaussianNoise((0.1, 0.1)), as_batch(white, 2), SEEDS[:2])
    assert batch.max() == 255 and batch.min() > 100


@pytest.mark.parametrize('make', [Cutout, GaussianNoise, Sobel])
@pytest.mark.parametrize('prob', [0.0, 0.3, 1.0])
def test_a_step_is_applied_with_its_probability(make, prob):
    img, step = noise_image(), make(prob=prob)
    alone = np.mean([step({'img': img})['img'] is not img for _ in range(400)])
    changed = (operate(step, as_batch(img), SEEDS) != as_batch(img)).flatten(1).any(dim=1).float().mean()
    for found in (alone, float(changed)):
        assert abs(found - prob) <= 4 * math.sqrt(prob * (1 - prob) / 400)


@pytest.mark.parametrize('step', [Rotate90(), Cutout((0.2, 0.6), square=False), Sobel(0.5)], ids=repr)
def test_from_the_same_numbers_an_image_and_a_batch_become_the_same(step, monkeypatch):
    img = noise_image(3, 20, 20)
    batch = as_images(operate(step, as_batch(img, 40), SEEDS[:40]))
    for result, draws in zip(batch, uniforms(SEEDS[:40], step.num_draws), strict=True):
        numbers = iter(draws)
        monkeypatch.setattr(random, 'random', lambda numbers=numbers: next(numbers))
        assert np.abs(step.apply(img) - result).max() <= 0.501


@pytest.mark.parametrize('step', [
    Rotate90(), Cutout((0.2, 0.6)), GaussianNoise(prob=0.5), Sobel(0.5)], ids=repr)
def test_what_an_image_becomes_depends_on_its_seed_alone(step):
    img = as_batch(noise_image(3, 20, 20), 12)
    kept = img.clone()
    whole, rows = operate(step, img, SEEDS[:12]), [7, 2, 9]
    assert torch.equal(img, kept)
    torch.testing.assert_close(operate(step, img[rows], SEEDS[rows]), whole[rows], rtol=0, atol=0)
    assert not torch.equal(operate(step, img, SEEDS[12:24]), whole)
    state = random.getstate(), torch.get_rng_state()
    operate(step, img, SEEDS[:12])
    assert state[0] == random.getstate() and torch.equal(state[1], torch.get_rng_state())


def test_random_alone_decides_a_step_on_the_cpu():
    img = noise_image(3, 20, 20)
    for step in (Rotate90(), Cutout(), GaussianNoise(), Sobel(0.5)):
        made = []
        for seed in (5, 5, 6, 7, 8):
            random.seed(seed)
            np.random.seed(len(made))
            made.append([step.apply(img) for _ in range(3)])
        assert np.array_equal(made[0], made[1])
        assert not all(np.array_equal(made[0], other) for other in made[2:])


def test_normals_are_those_of_the_stream_behind_what_was_skipped():
    seeds, device = SEEDS[:3], torch.device('cpu')
    found = normals(seeds, 8, 5, device)
    # Output i of the stream, whole, from the definition: uniforms gives its upper 53 bits.
    upper = (uniforms(seeds, 9)[:, 5:] * 2**32).astype(np.uint64).astype(float)
    squares = found[:, :4]**2 + found[:, 4:]**2
    assert np.allclose(squares.numpy(), -2 * np.log((upper + 1) / 2**32), rtol=1e-4)
    torch.testing.assert_close(normals(seeds, 7, 5, device)[:, :4], found[:, :4], rtol=0, atol=0)
    assert tuple(normals(seeds, 7, 5, device).shape) == (3, 7)


def test_steps_read_nothing_on_the_host():
    images = torch.empty(6, 3, 8, 8, device='meta')
    for step in (Rotate90(), Cutout(), GaussianNoise(), Sobel()):
        assert operate(step, images, SEEDS[:6]).device.type == 'meta'


def views_of(img, count=16, **arguments):
    images = torch.from_numpy(img).expand(count, *img.shape)
    whole = dict(size=img.shape[0], strength=0, blur=False, scale=(1, 1))
    return DeviceViews(**whole, **arguments)(
        images, torch.tensor([img.shape[:2]] * count), *(torch.full((count,), value) for value in (3, 1)),
        torch.arange(count))


@pytest.mark.parametrize('chunk_size', [None, 3])
def test_device_views_end_in_their_operators(chunk_size):
    img = noise_image(3, 16, 16)
    plain = views_of(img)
    operators = [dict(type='Sobel'), dict(type=Rotate90, angles=[90])]
    found = views_of(img, chunk_size=chunk_size, operators=operators)
    for before, after in zip(plain, found, strict=True):
        for one, other in zip(as_images(before), as_images(after), strict=True):
            assert is_gradient(np.rot90(other, -1), one)


def test_pieces_of_a_batch_change_nothing_in_the_operators():
    img, operators = noise_image(3, 16, 16), [GaussianNoise(), Cutout()]
    whole, pieces = (views_of(img, chunk_size=size, operators=operators) for size in (None, 3))
    assert all(torch.allclose(*pair, rtol=0, atol=1e-3) for pair in zip(whole, pieces, strict=True))


def test_device_views_draw_their_operators_for_each_view_and_step():
    img = np.full((16, 16, 3), 128, np.uint8)
    once = views_of(img, operators=[GaussianNoise((0.1, 0.1))])
    twice = views_of(img, operators=[GaussianNoise((0.1, 0.1)), GaussianNoise((0.1, 0.1))])
    first, second = (view.flatten(1).numpy() - 128 for view in once)
    both = np.concatenate([first, second])
    assert np.abs(np.corrcoef(both) - np.eye(32)).max() < 0.25
    assert abs(np.std(twice[0].numpy()) / (25.5 * math.sqrt(2)) - 1) < 0.05


def test_device_views_refuse_other_operators():
    with pytest.raises(ValueError, match=r'Rotate90, Cutout, GaussianNoise, Sobel.*RandomSolarize.*loader'):
        DeviceViews(operators=[dict(type='RandomSolarize')])


def test_steps_are_built_from_names_within_views():
    steps = [dict(type=name) for name in ('Rotate90', 'Cutout', 'GaussianNoise', 'Sobel')]
    view = TRANSFORMS.build(dict(type='MultiView', transforms=steps))
    views = view({'img': noise_image(3, 20, 20)})['img']
    assert isinstance(view, MultiView) and [made.dtype for made in views] == [np.uint8] * 2


@pytest.mark.parametrize(('make', 'words'), [
    (lambda: Rotate90([45]), ['angles', '90', r'\[45\]']),
    (lambda: Rotate90([]), ['angles', r'\[\]']),
    (lambda: Rotate90(90), ['angles', 'list', 'got 90']),
    (lambda: Cutout((0, 0.5)), ['sides', r'\(0, 0.5\)']),
    (lambda: Cutout((0.5, 1.5)), ['sides', '1.5']),
    (lambda: Cutout((0.5, 0.2)), ['sides', 'reversed']),
    (lambda: Cutout(fill=256), ['fill', '255', '256']),
    (lambda: Cutout(prob=2), ['prob', '2']),
    (lambda: GaussianNoise(std=(-0.1, 0.1)), ['std', '-0.1']),
    (lambda: GaussianNoise(std=0.1), ['std', 'pair', '0.1']),
    (lambda: GaussianNoise(prob=-1), ['prob', '-1']),
    (lambda: Sobel(prob='x'), ['prob', "'x'"]),
])
def test_wrong_arguments_are_refused_by_name(make, words):
    with pytest.raises(ValueError, match='.*'.join(words)):
        make()
