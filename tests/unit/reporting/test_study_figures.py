"""Figures of studies: each number is where it belongs, and published ones are in a panel of their own."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from mmsimclr.reporting.study_figures import (
    COLORS,
    bars,
    curves,
    embedding_map,
    heat_map,
    histograms,
    save_figure,
    spectrum,
)

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
               bars({'SimCLR': VALUES[0]}, NAMES, 'title', 'top-1 (%)', published={'SimCLR': VALUES[0] + 50}),
               curves({'SimCLR': ([1, 2, 3], VALUES[0])}, 'title', 'x', 'y',
                      published={'SimCLR': ([1, 2, 3], VALUES[0] + 50)})]
    for figure in figures:
        ours, theirs = figure.axes
        assert (ours.get_title(), theirs.get_title()) == ('measured here', 'published')
    for ours, theirs in (figure.axes for figure in figures[:2]):
        found, published = texts(ours), texts(theirs)
        assert len(found) == len(published) and not set(found) & set(published)
        assert all(float(text) > 50 for text in published) and all(float(text) < 50 for text in found)
    ours, theirs = (axis.lines[0].get_ydata() for axis in figures[2].axes)
    assert np.array_equal(ours + 50, theirs)


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


def test_curves_are_told_apart_without_colour_and_have_their_bands():
    x = [100, 200, 400]
    series = {'a': (x, [1, 2, 3], [0.5, 0.5, 1]), 'b': (x, [2, 3, 4])}
    axis, = curves(series, 'title', 'epochs', 'y', log_x=True).axes
    assert [line.get_ydata().tolist() for line in axis.lines] == [[1, 2, 3], [2, 3, 4]]
    assert len({line.get_marker() for line in axis.lines}) == 2
    band, = axis.collections
    assert band.get_paths()[0].vertices[:, 1].min() == 0.5 and band.get_paths()[0].vertices[:, 1].max() == 4
    assert axis.get_xscale() == 'log' and [label.get_text() for label in axis.get_xticklabels()] == [
        '100', '200', '400']


def test_histograms_are_shares_on_the_same_axes():
    grid = [[{'': [0, 0, 1, 3]}, {'': [4, 4]}], [{'a': [1, 2], 'b': [2, 3, 3]}, {'': [0]}]]
    axes = histograms(grid, 'title', 'intensity', num_bins=4, column_titles=['left', 'right']).axes
    assert [axis.get_xlim() for axis in axes] == [(0, 4)] * 4 and len({axis.get_ylim() for axis in axes}) == 1
    assert np.allclose([bar.get_height() for bar in axes[0].patches], [0.5, 0.25, 0, 0.25])
    assert np.allclose([bar.get_height() for bar in axes[1].patches], [0, 0, 0, 1])
    assert np.allclose([bar.get_height() for bar in axes[2].patches if hasattr(bar, 'get_height')],
                       [0, 0.5, 0.5, 0, 0, 0, 1 / 3, 2 / 3])
    assert [axis.get_title() for axis in axes] == ['left', 'right', '', '']


def test_a_spectrum_has_the_eigenvalues_of_the_product_in_order():
    random = np.random.default_rng(0)
    full, low = random.normal(size=(6, 9)), random.normal(size=(6, 2)) @ random.normal(size=(2, 9))
    axis, = spectrum({'full': full, 'rank 2': low.astype(np.float32)}, 'title').axes
    expected = np.sort(np.linalg.eigvalsh(full @ full.T))[::-1]
    assert np.allclose(axis.lines[0].get_ydata(), expected) and axis.get_yscale() == 'log'
    assert len(axis.lines[1].get_ydata()) == 2


def test_an_embedding_map_has_each_point_in_its_class():
    points, labels = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 10
    names = [f'class {number}' for number in range(10)]
    figure = embedding_map({'h': points, 'g(h)': -points}, labels, names, 'title')
    assert [axis.get_title() for axis in figure.axes] == ['h', 'g(h)']
    for axis, places in zip(figure.axes, (points, -points), strict=True):
        for number, drawn in enumerate(axis.collections):
            assert np.allclose(drawn.get_offsets(), places[labels == number])
    looks = {(tuple(drawn.get_facecolor()[0]), drawn.get_paths()[0].vertices.tobytes())
             for drawn in figure.axes[0].collections}
    assert len(looks) == 10
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names


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
    lambda: bars({'a': [1, 2]}, NAMES, 'title', 'y'),
    lambda: curves({'a': ([1, 2], [1, 2, 3])}, 'title', 'x', 'y'),
    lambda: histograms([[{'': [1]}], []], 'title', 'x'),
    lambda: embedding_map({'h': np.zeros((3, 3))}, [0, 1, 2], NAMES, 'title')])
def test_shapes_that_do_not_fit_are_refused(make):
    with pytest.raises(ValueError, match='must'):
        make()
