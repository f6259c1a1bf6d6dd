"""Statistics of a folder are those of all pixels together, also after interruptions."""

import math

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from matplotlib.axes import Axes
from PIL import Image

from mmsimclr.cli.prepare import prepare
from mmsimclr.config import parse_options
from mmsimclr.errors import UserError
from mmsimclr.prepare import statistics
from mmsimclr.prepare.statistics import (
    BINS,
    ChannelValues,
    bins_of,
    folder_statistics,
    report_lines,
    save_histogram,
    suggested_settings,
    values_of,
)
from mmsimclr.transforms import LoadChannels

KINDS = ('uint8', 'uint16', 'int16', 'float32')


def image(seed: int, kind: str) -> np.ndarray:
    values = np.random.default_rng(seed).normal([100, 1000, 12_000], 40 + seed, (12 + seed % 3, 12, 3))
    if kind == 'uint8':
        values = values.clip(max=255)
    return (values.clip(min=0) if kind.startswith('uint') else values).astype(kind)


def folder(path, kind: str, count: int = 40) -> np.ndarray:
    """Write images below a folder; return all of their pixels, [N, 3]."""
    path.mkdir(exist_ok=True)
    images = [image(number, kind) for number in range(count)]
    for number, values in enumerate(images):
        tifffile.imwrite(path / f'{number:03}.tif', np.moveaxis(values, -1, 0))
    return np.concatenate([values.reshape(-1, 3) for values in images])


@pytest.mark.parametrize('kind', KINDS)
def test_they_are_those_of_all_pixels_together(tmp_path, kind):
    pixels = folder(tmp_path / 'images', kind).astype(np.float64)
    found = folder_statistics(tmp_path / 'images', tmp_path / 'stats', workers=1).of_most()
    assert found.num_images == 40 and found.num_values == len(pixels) and found.dtype == kind
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, pixels.std(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(found.lowest, pixels.min(axis=0))
    np.testing.assert_array_equal(found.highest, pixels.max(axis=0))
    exact = np.percentile(pixels, statistics.PERCENTS, axis=0, method='inverted_cdf')
    np.testing.assert_allclose(found.percentiles(), exact, rtol=0.008 if kind == 'float32' else 0)


def test_deviations_of_large_values_do_not_cancel():
    """One pass over sums of squares would lose all digits here."""
    parts = [np.random.default_rng(seed).normal(1e7, 3, (9, 9, 2)).astype(np.float32) for seed in range(20)]
    whole = ChannelValues.of_image(parts[0], 'a')
    for part in parts[1:]:
        whole.add(ChannelValues.of_image(part, 'b'))
    pixels = np.concatenate([part.reshape(-1, 2) for part in parts]).astype(np.float64)
    np.testing.assert_allclose(whole.deviation, pixels.std(axis=0), rtol=1e-9)


@pytest.mark.parametrize('kind', KINDS)
def test_bins_are_in_the_order_of_values(kind):
    values = np.sort(image(1, kind).ravel()) if kind != 'float32' else np.array(
        [-3e38, -7.5, -1e-30, -0.0, 0.0, 1e-30, 0.3, 7.5, 3e38], np.float32)
    bins = bins_of(values)
    assert bins.dtype == np.int64 and (np.diff(bins) >= 0).all() and bins.min() >= 0 and bins.max() < BINS
    tolerance = 0.004 if kind == 'float32' else 0
    np.testing.assert_allclose(values_of(bins, kind), values, rtol=tolerance, atol=1e-38)
    if kind == 'float32':
        assert bins[3] == bins[4]


def test_an_interrupted_pass_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    folder(tmp_path / 'images', 'uint16')
    whole = folder_statistics(tmp_path / 'images', tmp_path / 'whole', workers=1)
    read, seen = statistics.read_raster, []

    def failing(path):
        if len(seen) == 25:
            raise KeyboardInterrupt
        seen.append(path)
        return read(path)

    monkeypatch.setattr(statistics, 'read_raster', failing)
    with pytest.raises(KeyboardInterrupt):
        folder_statistics(tmp_path / 'images', tmp_path / 'parts', workers=1)
    assert (tmp_path / 'parts.partial.npz').exists()
    seen.clear()
    again = folder_statistics(tmp_path / 'images', tmp_path / 'parts', workers=1)
    assert len(seen) == 40 - 16                                      # a whole chunk was kept
    assert not (tmp_path / 'parts.partial.npz').exists()
    for ours, theirs in zip(again.groups.values(), whole.groups.values(), strict=True):
        np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-14)
        np.testing.assert_allclose(ours.squares, theirs.squares, rtol=1e-12)
        np.testing.assert_array_equal(ours.histogram, theirs.histogram)
    assert again.sizes == whole.sizes
    # Of other images nothing is used.
    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        folder_statistics(tmp_path / 'images', tmp_path / 'parts', workers=1)
    monkeypatch.setattr(statistics, 'read_raster', read)
    tifffile.imwrite(tmp_path / 'images' / 'new.tif', np.moveaxis(image(3, 'uint16'), -1, 0))
    assert folder_statistics(tmp_path / 'images', tmp_path / 'parts', workers=1).of_most().num_images == 41


def test_values_that_are_clipped_do_not_count_beyond_the_range():
    image = np.random.default_rng(0).uniform(0, 100, (200, 200, 1)).astype(np.float32)
    image[0, :20] = 1e6                                                       # one in two thousand
    settings = suggested_settings(ChannelValues.of_image(image, 'a'))
    assert settings['value_range'][1] < 101
    assert settings['mean'][0] == pytest.approx(127.5, abs=2)
    assert settings['std'][0] == pytest.approx(255 / math.sqrt(12), abs=2)


def test_nothing_is_kept_of_a_chunk_that_was_half_taken_in(tmp_path, monkeypatch):
    folder(tmp_path / 'images', 'uint16')
    add, calls = ChannelValues.add, []

    def interrupted(self, other):
        calls.append(other.num_images)
        if calls.count(16) == 1 and calls[-1] == 16:                          # the second chunk
            self.num_images += 16
            raise KeyboardInterrupt
        add(self, other)

    monkeypatch.setattr(ChannelValues, 'add', interrupted)
    with pytest.raises(KeyboardInterrupt):
        folder_statistics(tmp_path / 'images', tmp_path / 'stats', workers=1)
    again = folder_statistics(tmp_path / 'images', tmp_path / 'stats', workers=1).of_most()
    assert again.num_images == 40


@pytest.mark.slow
def test_processes_find_the_same(tmp_path):
    folder(tmp_path / 'images', 'uint16')
    calls = []
    one = folder_statistics(tmp_path / 'images', tmp_path / 'one', workers=1).of_most()
    two = folder_statistics(tmp_path / 'images', tmp_path / 'two', 2,
                            lambda *done: calls.append(done)).of_most()
    assert (one.mean == two.mean).all() and (one.squares == two.squares).all()
    assert calls[0] == (0, 40) and calls[-1] == (40, 40) and calls == sorted(calls)


def test_what_is_mixed_is_told_with_counts_and_examples(tmp_path):
    folder(tmp_path, 'uint16', 6)
    tifffile.imwrite(tmp_path / 'odd_bands.tif', np.zeros((5, 12, 12), np.uint16))
    Image.new('RGB', (30, 20)).save(tmp_path / 'odd_type.png')
    (tmp_path / 'damaged.tif').write_bytes(b'II*\0 nothing')
    result = CliRunner().invoke(prepare, [
        'stats', str(tmp_path), '--out', str(tmp_path / 'out/s'), '--workers', '1'])
    assert result.exit_code == 0, result.output
    text = result.output
    for part in ('6 images of 3 channels of uint16', '1 images of 5 channels of uint16, such as',
                 'odd_bands.tif', '1 images of 3 channels of uint8', 'odd_type.png', 'MIXED',
                 '1 images of 30 x 20 pixels',
                 '1 images cannot be read', 'damaged.tif', '3 images of 12 x 12 pixels'):
        assert part in text, part
    assert Image.open(tmp_path / 'out/s.png').size[0] > 600


def test_a_folder_of_nothing_readable_ends_in_an_error(tmp_path):
    for number in range(3):
        (tmp_path / f'{number}.tif').write_bytes(b'II*\0 nothing')
    with pytest.raises(UserError, match=r'none of the 3 images can be read.*0\.tif'):
        report_lines(folder_statistics(tmp_path, tmp_path / 'stats', workers=1))


@pytest.mark.parametrize('kind', KINDS)
def test_the_lines_for_a_config_make_images_of_the_stated_statistics(tmp_path, kind):
    pixels = folder(tmp_path / 'images', kind).astype(np.float64)
    found = folder_statistics(tmp_path / 'images', tmp_path / 'stats', workers=1)
    settings = suggested_settings(found.of_most())
    low, high = settings['value_range']
    assert settings['channels'] == 3 and settings['dtype'] == kind
    if kind == 'uint8':
        assert (low, high) == (0, 255)
    else:
        outside = np.mean((pixels < low) | (pixels > high), axis=0)
        assert (outside <= 0.0025).all() and low > pixels.min() - 5 and high < pixels.max() + 10
    load = LoadChannels(3, settings['value_range'], kind)
    read = np.concatenate([load(dict(img_path=str(path)))['img'].reshape(-1, 3)
                           for path in sorted((tmp_path / 'images').iterdir())]).astype(np.float64)
    atol = 0.1 if kind == 'float32' else 0.006
    np.testing.assert_allclose(settings['mean'], read.mean(axis=0), atol=atol)
    np.testing.assert_allclose(settings['std'], np.maximum(read.std(axis=0), 1), atol=atol)
    # As printed, they are read back as they are.
    words = report_lines(found)[-1]
    parsed = parse_options(word.strip("'") for word in words.split())
    assert {**parsed, 'value_range': tuple(parsed['value_range'])} == settings
    assert math.isfinite(sum(settings['mean']))
    assert Image.open(save_histogram(found.of_most(), tmp_path / 'out.png')).size[0] > 600


@pytest.mark.parametrize('kind', ['float32', 'uint16', 'uint8'])
def test_a_histogram_shows_as_many_pixels_as_there_are(tmp_path, monkeypatch, kind):
    """Of equally frequent values all bars are equally high, also where bins of floats are wider than bars."""
    values = (np.linspace(0.25, 0.5, 40_000) * (1 if kind == 'float32' else 65_535)).astype(kind)
    if kind == 'uint8':
        values = np.repeat(np.arange(101, dtype=kind), np.arange(1, 102))
    drawn = []
    monkeypatch.setattr(Axes, 'stairs', lambda self, heights, edges, **style: drawn.append((heights, edges)))
    monkeypatch.setattr(Axes, 'legend', lambda self, **style: None)
    save_histogram(ChannelValues.of_image(values.reshape(1, -1, 1), 'a'), tmp_path / 'out.png')
    [(heights, edges)] = drawn
    if kind == 'uint8':
        first = round(edges[0] + 0.5)
        np.testing.assert_allclose(heights * values.size, np.arange(first + 1, first + 1 + len(heights)))
    else:
        assert len(heights) == 200
        np.testing.assert_allclose(heights[1:-1], 0.992 / 200, rtol=0.02)
        np.testing.assert_allclose(heights.sum(), 0.992, atol=0.01)
