"""Names of pictures, and the colours of classes. The predictor itself: tests/e2e/test_downstream_tools.py."""

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from PIL import Image

from mmsimclr.reporting.predictor import _colours, picture_paths


def test_every_picture_has_a_name_of_its_own(tmp_path):
    root, out = tmp_path / 'in', tmp_path / 'out'
    assert picture_paths([root / 'a.b.jpg', root / 'below/a.JPG'], root, out) == [
        out / 'a.b.png', out / 'below/a.png']
    assert picture_paths([root / 'a.jpg', root / 'a.png', root / 'b.jpg'], root, out) == [
        out / 'a.jpg.png', out / 'a.png.png', out / 'b.jpg.png']


def test_a_picture_never_takes_the_place_of_an_image(tmp_path):
    Image.new('RGB', (4, 4)).save(tmp_path / 'a.png')
    (tmp_path / 'link').symlink_to(tmp_path)
    for out in (tmp_path, tmp_path / 'link'):
        with pytest.raises(ValueError, match=r'a\.png is one of the images, .* name another --out'):
            picture_paths([tmp_path / 'a.png'], tmp_path, out)
    assert picture_paths([tmp_path / 'a.jpg'], tmp_path, tmp_path) == [tmp_path / 'a.png']


def test_published_colours_are_for_published_classes_only():
    coco = CocoDataset.METAINFO
    assert _colours(dict(type=CocoDataset), coco['classes']) == list(coco['palette'])
    own = coco['classes'][:10]
    colours = np.array(_colours(dict(type='mmdet.CocoDataset'), own))
    assert len(np.unique(colours, axis=0)) == 10 and (colours.max(axis=1) > 200).all()
    assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 60, 'neighbours are of different hues'
