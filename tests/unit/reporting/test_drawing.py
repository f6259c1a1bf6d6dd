"""Pictures of what was found: in its place, in its colour, named, and large enough to read."""

import numpy as np
import pytest

from mmsimclr.reporting.drawing import distinct_colours, draw_classes, draw_objects

RED, BLUE = (200, 0, 0), (0, 0, 200)
CLASSES = ('cat', 'dog')


def objects(side=600, boxes=((100, 200, 300, 400),), scores=(0.9,), labels=(0,), masks=None):
    pixels = np.full((side, side + 100, 3), 90, np.uint8)
    found = np.array(boxes, float).reshape(-1, 4), np.array(scores), np.array(labels, int)
    picture = draw_objects(pixels[..., ::-1], *found, CLASSES, (RED, BLUE), masks)
    assert (pixels == 90).all(), 'the image itself was drawn on'
    return np.asarray(picture)


def changed(picture):
    return (picture != 90).any(axis=2)


def letters(region):
    return (region.min(axis=2) > 200).any()


def test_a_box_is_where_it_was_found_and_has_its_name_above_it():
    picture = objects()
    assert picture.shape == (600, 700, 3)
    for y, x in ((300, 100), (300, 300), (400, 200)):
        assert picture[y, x].tolist() == list(RED)
    assert not changed(picture)[210:390, 110:290].any(), 'inside'
    assert not changed(picture)[:170].any() and not changed(picture)[402:].any()
    name = picture[180:199, 102:160]
    assert (name == RED).all(axis=2).any() and letters(name), 'bright letters on the colour'


@pytest.mark.parametrize('box', [(0, 0, 50, 50), (650, 0, 700, 40), (695, 300, 700, 400)])
def test_the_name_stays_inside_the_picture(box):
    x, y = min(box[0], 640), max(box[1] - 15, 0)
    assert letters(objects(boxes=[box])[y:y + 16, x:x + 50])


def test_the_surest_is_on_top_in_the_colour_of_its_class():
    masks = np.ones((2, 600, 700), bool)
    for scores, colour in (((0.9, 0.5), RED), ((0.5, 0.9), BLUE)):
        picture = objects(boxes=[(100, 200, 300, 400)] * 2, scores=scores, labels=[0, 1], masks=masks)
        assert picture[300, 100].tolist() == list(colour)
        assert picture[500, 500].tolist() == [(90 + c) // 2 for c in colour], 'where masks overlap'


def test_masks_are_see_through_and_names_are_over_them():
    masks = np.zeros((1, 600, 700), bool)
    masks[0, 100:500, 50:400] = True
    picture = objects(masks=masks)
    assert picture[450, 60].tolist() == [(90 + c) // 2 for c in RED]
    assert not changed(picture)[501:].any()
    assert (picture[180:199, 102:160] == RED).all(axis=2).any()


@pytest.mark.parametrize('masks', [None, np.zeros((0, 600, 700), bool)])
def test_nothing_found_leaves_the_image(masks):
    assert not changed(objects(boxes=(), scores=(), labels=(), masks=masks)).any()


def test_small_images_are_enlarged_so_that_names_can_be_read():
    masks = np.zeros((1, 60, 160), bool)
    masks[0, 50:, 100:] = True
    picture = objects(side=60, boxes=[(10, 20, 30, 40)], masks=masks)
    assert picture.shape == (180, 480, 3)
    assert picture[90, 30].tolist() == list(RED)
    assert changed(picture)[150:, 300:].all() and not changed(picture)[150:, 200:300].any()


def test_large_images_have_large_letters():
    heights = {}
    for side in (600, 3000):
        picture = objects(side=side, boxes=[(100, side // 2, 600, side - 100)])
        rows = np.flatnonzero((picture[:, 100:600].min(axis=2) > 200).any(axis=1))
        heights[side] = rows.max() - rows.min()
    assert heights[600] > 8 and heights[3000] > 3 * heights[600]


def classes(labels, names=('background', 'cat', 'dog')):
    pixels = np.full((*labels.shape, 3), 100, np.uint8)
    picture = np.asarray(draw_classes(pixels, labels, names, ((0, 0, 0), RED, BLUE)))
    assert (pixels == 100).all(), 'the image itself was drawn on'
    return picture


def test_classes_are_painted_and_the_background_is_not():
    labels = np.zeros((500, 500), int)
    assert (classes(labels)[:500] == 100).all()
    labels[:200, :100] = 2
    picture = classes(labels)
    assert picture[100, 50].tolist() == [(100 + c) // 2 for c in BLUE]
    assert (picture[200:500] == 100).all() and (picture[:500, 100:] == 100).all()
    named = classes(labels, names=('road', 'cat', 'dog'))
    assert (named[300, 300] == 50).all(), 'the first class is one like the others'


def test_the_legend_has_the_classes_that_are_there():
    labels = np.zeros((500, 500), int)
    labels[:200, :100] = 2
    legend = classes(labels)[500:]
    assert legend.shape[0] > 20
    assert (legend == BLUE).all(axis=2).any() and not (legend == RED).all(axis=2).any()
    labels[300:] = 1
    assert (classes(labels)[500:] == RED).all(axis=2).any()


def test_a_long_legend_has_several_lines():
    labels = np.arange(500 * 500).reshape(500, 500) % 3
    short, long = (classes(labels, names=[letter * count for letter in 'abc']) for count in (3, 30))
    assert long.shape[0] > short.shape[0] + 10 and long.shape[1] == short.shape[1] == 500


def test_distinct_colours_are_all_different_and_bright():
    colours = np.array(distinct_colours(80))
    assert len(np.unique(colours, axis=0)) == 80 and (colours.max(axis=1) > 200).all()
    assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 60
