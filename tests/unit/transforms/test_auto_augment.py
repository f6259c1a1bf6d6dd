"""AutoAugment: torchvision's operations, with draws from ``random``."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import autoaugment

from mmsimclr.transforms import AutoAugment


@pytest.fixture
def img():
    return np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)


def test_auto_augment_does_what_torchvisions_does_with_the_same_draws(img, monkeypatch):
    reference = autoaugment.AutoAugment(fill=[128] * 3)
    drawn, changed = set(), 0
    for seed in range(200):
        random.seed(seed)
        found = AutoAugment()({'img': img})['img']
        random.seed(seed)
        pair, chances = random.randrange(25), [random.random(), random.random()]
        signs = [random.randrange(2), random.randrange(2)]
        draw = pair, torch.tensor(chances), torch.tensor(signs)
        monkeypatch.setattr(autoaugment.AutoAugment, 'get_params',
                            staticmethod(lambda count, draw=draw: draw))
        assert np.array_equal(found, np.array(reference(Image.fromarray(img))))
        drawn.add(pair)
        changed += not np.array_equal(found, img)
    assert drawn == set(range(25)) and changed > 140


def test_auto_augment_draws_from_random_alone_and_keeps_torchs_generator(img):
    state = torch.get_rng_state()
    made = []
    for seed in (4, 4, *range(5, 12)):
        random.seed(seed)
        torch.manual_seed(len(made))
        made.append(AutoAugment(0)({'img': img})['img'])
    assert np.array_equal(made[0], made[1])
    assert any(not np.array_equal(made[0], other) for other in made[2:])
    torch.set_rng_state(state)
    AutoAugment()({'img': img})
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('fill', [-1, 256, 0.5, True])
def test_a_fill_of_auto_augment_that_is_no_grey_level_is_refused(fill):
    with pytest.raises(ValueError, match=rf'fill must be an integer in \[0, 255\], got {fill}'):
        AutoAugment(fill)
