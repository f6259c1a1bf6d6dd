"""The official style's colour operations, against the official code's results."""

import json

import numpy as np
import pytest

from mmsimclr.transforms import adjust_color, gaussian_blur, to_grayscale

# Both sides are rounded to uint8, and hue and saturation have 256 steps here: (mean, largest).
TOLERANCES = {
    'brightness': (0.35, 1), 'brightness_shift': (0.35, 1), 'contrast_per_channel': (0.35, 1),
    'saturation_hsv': (0.5, 8), 'hue': (0.8, 8), 'grayscale': (0.25, 1), 'blur': (0.25, 1),
}
JITTER_TOLERANCE = (0.8, 18)


@pytest.fixture(scope='module')
def reference(reference_file):
    cases = json.loads(reference_file('augment.json').read_text())['cases']
    return cases, dict(np.load(reference_file('augment.npz')))


def apply(case, img):
    name, factor = case['operations'][0]
    if name == 'grayscale':
        return to_grayscale(img)
    if name == 'blur':
        return gaussian_blur(img, factor, case['kernel_size'])
    return adjust_color(img, case['operations'])


@pytest.mark.parametrize('operation', [*TOLERANCES, 'color_jitter'])
def test_operation_equals_the_official_one(reference, operation):
    cases, arrays = reference
    if operation == 'color_jitter':
        chosen = [c for c in cases if len(c['operations']) == 4]
        mean, largest = JITTER_TOLERANCE
    else:
        chosen = [c for c in cases
                  if len(c['operations']) == 1 and c['operations'][0][0] == operation]
        mean, largest = TOLERANCES[operation]
    assert len(chosen) >= 2
    for case in chosen:
        result = apply(case, arrays[f'image/{case["image"]}'])
        difference = np.abs(result.astype(int) - arrays[case['key']])
        if operation == 'blur':  # theirs pads with zeros
            border = case['kernel_size'] // 2
            difference = difference[border:-border, border:-border]
        assert difference.mean() <= mean, case['key']
        assert difference.max() <= largest, case['key']
