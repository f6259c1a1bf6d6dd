"""Parts that the package exports at its top: each has an example that runs."""

import doctest
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import mmsimclr
from mmsimclr import simclr_views

PARTS = ['pretrain', 'simclr_views', 'UnlabeledImageFolder', 'NTXentLoss', 'LARS', 'NonLinearNeck',
         'knn_accuracy', 'SimCLR']


@pytest.mark.slow
@pytest.mark.parametrize('name', PARTS)
def test_the_example_of_every_part_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    part = getattr(mmsimclr, name)
    module = sys.modules[part.__module__]
    tests = doctest.DocTestFinder(recurse=False).find(part, name, globs={}, module=module)
    assert len(tests) == 1 and len(tests[0].examples) >= 3
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(tests[0])
    assert results.attempted >= 3 and results.failed == 0


@pytest.mark.parametrize('name', [*PARTS, 'Run', 'explore', 'Embedder'])
def test_a_part_is_named_in_all_and_is_no_module(name):
    assert name in mmsimclr.__all__ and callable(getattr(mmsimclr, name))


def test_views_are_the_same_of_every_kind_of_image():
    """Drawn with one seed, from the same pixels, in four wrappings."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    planes = torch.from_numpy(pixels).permute(2, 0, 1)
    kinds = [Image.fromarray(pixels), planes, planes.float() / 255, pixels, {'img': pixels}]
    made = []
    for image in kinds:
        import random
        random.seed(3)
        made.append(simclr_views(24, num_views=3)(image))
    for views in made:
        assert len(views) == 3
        for view, first in zip(views, made[0], strict=True):
            assert view.dtype == torch.float32 and view.shape == (3, 24, 24)
            assert view.min() >= 0 and view.max() <= 1 and torch.equal(view, first)
    assert not torch.equal(made[0][0], made[0][1])
