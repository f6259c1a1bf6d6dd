"""Figures of studies: each number is where it belongs, and published ones are in a panel of their own."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from mmsimclr.reporting.study_figures import COLORS, bars, heat_map, representation, save_figure

NAMES = ['crop', 'cutout', 'colour']
VALUES = np.array([[1.0, 2.0, 6.0], [4.0, 5.0, np.nan], [7.0, 8.5, 10.0]])


def texts(axis):
    return [text.get_text() for text in axis.texts]


def colors(artists):
    return [artist.get_facecolor() for artist in artists]


def test_a_heat_map_has_every_number_and_the_means_of_its_rows():
    axis, = heat_map(VALUES, NAMES, ['a', 'b', 'c'], 'title').axes
    cells = {(round(text.get_position()[0], 1), round(text.get_position()[1], 1)): text.get_text()
             for text in axis.texts}
    expected = {(column, row): f'{VALUES[row, column]:.1f}' for row in range(3) for column in range(3)
                if (row, column) != (1, 2)}
    assert cells == {**expected, (3.5, 0): '3.0', (3.5, 1): '4.5', (3.5, 2): '8.5'}
    assert [label.get_text() for label in axis.get_yticklabels()] == NAMES
    assert [label.get_text() for label in axis.get_xticklabels()] == ['a', 'b', 'c', 'mean']
    shown, means = (image.get_array() for image in axis.images)
    assert np.array_equal(np.ma.filled(shown, np.nan), VALUES, equal_nan=True) and means.shape == (3, 1)
    assert [image.get_extent() for image in axis.images] == [[-0.5, 2.5, 2.5, -0.5], [3.0, 4.0, 2.5, -0.5]]


def test_published_numbers_have_a_panel_of_their_own():
    figures = [heat_map(VALUES, NAMES, NAMES, 'title', published=VALUES + 50),
               bars({'SimCLR': VALUES[0]}, NAMES, 'title', 'top-1 (%)', published={'SimCLR': VALUES[0] + 50})]
    for figure in figures:
        ours, theirs = figure.axes
        assert (ours.get_title(), theirs.get_title()) == ('measured here', 'published')
    for ours, theirs in (figure.axes for figure in figures):
        found, published = texts(ours), texts(theirs)
        assert len(found) == len(published) and not set(found) & set(published)
        assert all(float(text) > 50 for text in published) and all(float(text) < 50 for text in found)


def test_bars_have_their_heights_errors_and_colours():
    figure = bars({'SimCLR': [59.6, 61.0], 'Supervised': [77.0, 76.7]}, ['1/8', '1/4'], 'title', 'top-1 (%)',
                  errors={'SimCLR': [0.5, 1.5]})
    axis, = figure.axes
    heights = [bar.get_height() for bar in axis.patches]
    assert heights == [59.6, 61.0, 77.0, 76.7]
    assert len(set(colors(axis.patches[:2]))) == 1 and colors(axis.patches[:1]) != colors(axis.patches[2:3])
    middles = [bar.get_x() + bar.get_width() / 2 for bar in axis.patches]
    assert np.allclose(middles, [-0.2, 0.8, 0.2, 1.2])
    segments = np.concatenate(list(axis.collections[0].get_segments()))
    assert sorted(segments[:, 1].round(6)) == [59.1, 59.5, 60.1, 62.5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['SimCLR', 'Supervised']


def test_a_figure_is_written_as_a_png_of_880_pixels_and_as_an_svg_with_text(tmp_path):
    paths = save_figure(heat_map(VALUES, NAMES, NAMES, 'a title'), tmp_path / 'new' / 'figure.png')
    assert [path.name for path in paths] == ['figure.png', 'figure.svg']
    assert Image.open(paths[0]).width == 880
    drawn = ElementTree.parse(paths[1]).getroot()
    words = {element.text for element in drawn.iter('{http://www.w3.org/2000/svg}text')}
    assert {'a title', 'crop', '8.5', 'mean'} <= words
    before = paths[1].read_bytes()
    save_figure(heat_map(VALUES, NAMES, NAMES, 'a title'), tmp_path / 'new' / 'figure')
    assert paths[1].read_bytes() == before


def test_colours_are_okabe_and_itos():
    assert len(set(COLORS)) == 7
    assert set(COLORS) == {'#000000', '#E69F00', '#56B4E9', '#009E73', '#0072B2', '#D55E00', '#CC79A7'}


@pytest.mark.parametrize('make', [
    lambda: heat_map(VALUES, NAMES[:2], NAMES, 'title'),
    lambda: heat_map(VALUES, NAMES, NAMES, 'title', published=VALUES[:2]),
    lambda: bars({'a': [1, 2]}, NAMES, 'title', 'y')])
def test_shapes_that_do_not_fit_are_refused(make):
    with pytest.raises(ValueError, match='must'):
        make()


def test_pictures_of_a_representation_show_each_series_once():
    random = np.random.default_rng(0)
    shares = [0.1, 0.2, 0.7]
    series = {f'{kind}_cosine_{key}': shares for kind in ('positive', 'negative')
              for key in ('pooled_before', 'pooled_after', 'projection_after')}
    series |= {f'pixels_{step}_{number}': shares for step in ('crop', 'view') for number in range(4)}
    series |= {f'map_{stage}_{axis}': random.normal(size=20).tolist() for stage in ('pooled', 'projection')
               for axis in 'xy'}
    series['labels'] = [0, 1] * 10
    figure = representation(series, {'linear': [4.0, 2, 1], 'other': [3.0, 1]}, 'All')
    axes = figure.get_axes()
    points = [axis.collections[0].get_offsets() for axis in axes if axis.collections]
    np.testing.assert_allclose(points[1][:, 0], series['map_projection_x'])
    stairs = [patch.get_data().values for axis in axes for patch in axis.patches]
    assert len(points) == 2 and len(stairs) == 6 + 8 and all(list(each) == shares for each in stairs)
    spectra = [line.get_ydata().tolist() for line in axes[-1].lines]
    assert spectra == [[4, 2, 1], [3, 1]] and axes[-1].get_yscale() == 'log'
