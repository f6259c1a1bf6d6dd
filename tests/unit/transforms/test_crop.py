"""The official code's crop against each step of TensorFlow's kernel, and its distribution."""

import random

import numpy as np
import pytest
from oracles.tensorflow_crop import slow_box

from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms import DeviceViews, RandomResizedCrop, SimCLRView
from mmsimclr.transforms.batch import draw_parameters, uniforms

SIZES = [(375, 500), (500, 375), (32, 32), (3, 200), (200, 3), (1, 1), (2, 2), (5, 7), (224, 1000)]


def official(size=224, **arguments) -> RandomResizedCrop:
    return RandomResizedCrop(size, style='official', **arguments)


def mean_area(boxes, height, width) -> float:
    return float(np.mean([box[2] * box[3] for box in boxes])) / (height * width)


@pytest.mark.parametrize('height, width', SIZES)
def test_each_box_is_the_kernels_for_the_same_random_numbers(height, width):
    crop = official()
    for seed in range(150):
        random.seed(seed)
        box = crop.draw_box(height, width)
        generator = random.Random(seed)
        assert box == slow_box(height, width, iter(generator.random, None)), seed


def test_size_scale_and_ratio_enter_as_in_the_kernel():
    crop = official((100, 250), scale=(0.3, 0.6), ratio=(0.5, 1.2))
    boxes = []
    for seed in range(150):
        random.seed(seed)
        boxes.append(crop.draw_box(300, 400))
        assert boxes[-1] == slow_box(300, 400, iter(random.Random(seed).random, None), 100, 250, (0.3, 0.6),
                                     (0.5, 1.2))
    aspects = [width / height for _, _, height, width in boxes]
    assert min(aspects) > 1.2 and 2.2 < max(aspects) < 3.01              # 0.5 to 1.2 times 2.5
    assert max(height * width for _, _, height, width in boxes) < 0.61 * 300 * 400


@pytest.mark.parametrize('height, width', [(375, 500), (3, 200), (33, 47)])
def test_a_batch_on_the_device_draws_the_kernels_boxes(height, width):
    policy, seeds = SimCLRView(224, crop_style='official'), np.arange(60, dtype=np.uint64)
    boxes = draw_parameters(policy, seeds, np.full((60, 2), (height, width)), num_views=2).boxes
    # A view's numbers are four rows of a hundred attempts, then ten for the other operations.
    numbers = uniforms(seeds, 2 * 410).reshape(120, 410)[:, :400].reshape(120, 4, 100)
    for row, box in zip(numbers, boxes, strict=True):
        assert tuple(box) == slow_box(height, width, iter(row.T.flatten().tolist()))


def test_its_mean_area_on_a_photograph_is_0_39_where_torchvisions_is_0_435():
    random.seed(0)
    areas = {style: mean_area([RandomResizedCrop(224, style=style).draw_box(375, 500) for _ in range(6000)],
                              375, 500) for style in ('official', 'torchvision')}
    want = mean_area([slow_box(375, 500, iter(random.random, None)) for _ in range(6000)], 375, 500)
    assert areas['official'] == pytest.approx(want, abs=0.01)            # the error of the mean is 0.003
    assert areas['official'] == pytest.approx(0.39, abs=0.01)
    assert areas['torchvision'] == pytest.approx(0.435, abs=0.012)


def test_no_box_covers_less_than_a_tenth_though_scale_begins_below():
    random.seed(0)
    areas = [height * width / 187500 for _, _, height, width in
             (official().draw_box(375, 500) for _ in range(3000))]
    assert 0.1 <= min(areas) < 0.11


def test_where_no_box_fits_it_is_the_whole_image():
    assert official().draw_box(3, 400) == (0, 0, 3, 400)


def test_it_is_an_argument_of_the_view_in_the_loader_and_on_the_device():
    view = TRANSFORMS.build(dict(type='SimCLRView', size=32, crop_style='official'))
    random.seed(3)
    box = view.draw_box(375, 500)
    assert box == slow_box(375, 500, iter(random.Random(3).random, None), 32, 32)
    assert DeviceViews(size=32, crop_style='official').steps[0].style == 'official'
    assert view.transform({'img': np.zeros((40, 50, 3), np.uint8)})['img'].shape == (32, 32, 3)


def test_an_unknown_style_is_refused():
    with pytest.raises(ValueError, match=r"RandomResizedCrop.style must be one of 'torchvision', 'official'"):
        RandomResizedCrop(224, style='tensorflow')
