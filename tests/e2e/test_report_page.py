"""The page of ``mmsimclr report`` in a real browser."""

import base64
import csv
import io
import json
import re
import shutil
import time
from importlib.util import find_spec

import numpy as np
import pytest
from matplotlib.path import Path as Polygon
from PIL import Image
from processes import ROOT

from mmsimclr.datasets import Shapes
from mmsimclr.features import read_features
from mmsimclr.reporting import atlas as atlas_page
from mmsimclr.reporting.report import render, write_report
from mmsimclr.version import __version__

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
HOSTILE = 'zz"><script>alert(1)<!--&\'.png'
WARNINGS = ('GL Driver', 'swiftshader', 'WebGL')                        # of drawing without a GPU
pytestmark = [
    pytest.mark.skipif(not find_spec('playwright'), reason='needs playwright: pip install playwright'),
    pytest.mark.skipif(not CHROMIUM, reason='needs chromium: apt-get install chromium')]


@pytest.fixture(scope='module')
def chromium():
    """Return a function from arguments to a browser."""
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        yield lambda *words: playwright.chromium.launch(
            executable_path=CHROMIUM, args=['--no-sandbox', *words])


@pytest.fixture(scope='module')
def browser(chromium):
    browser = chromium('--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist')
    yield browser
    browser.close()


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    """Return folder of images, names, features, and the page of 90 images of three classes."""
    folder = tmp_path_factory.mktemp('report')
    run, images = folder / 'run "<b>', folder / 'images'
    shutil.copytree(ROOT / 'tests/data/dumps_0.1/run', run)
    shapes = Shapes(num_images=90, split='test', image_size=48, pipeline=[])
    for index in range(90):
        content = shapes.get_data_info(index)
        path = images / 'abc'[int(content['gt_label']) % 3] / (f'{index:03d}.png' if index else HOSTILE)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(content['img']).save(path)
    (images / 'a' / '001_broken.png').write_bytes(b'no picture')
    first = 'abc'[int(shapes.get_data_info(0)['gt_label']) % 3]
    with open(folder / 'labels.csv', 'w', newline='') as file:
        csv.writer(file).writerows([
            ('path', 'weight', '<i>kind'), (f'{first}/{HOSTILE}', '1700000003.5', '<u>odd</u></script>'),
            *((path.relative_to(images), number, '') for number, path in enumerate(
                sorted(images.glob('?/0[3-5]*.png'))))])
    page = write_report([run], images, folder / 'out', map_method='pca', labels=folder / 'labels.csv',
                        device='cpu')
    features, = (run / 'features').iterdir()
    features = read_features(features)
    names = [path.removeprefix(f'{images}/') for path in features.paths]
    return images, names, np.array(features.stages['pooled']), page


@pytest.fixture
def opened(browser, report):
    """Return a function that opens a page at a width; errors of the page fail the test."""
    contexts, said = [], []

    def open_at(width=1440, height=900, page=report[3], **settings):
        context = browser.new_context(viewport=dict(width=width, height=height), **settings)
        contexts.append(context)
        tab = context.new_page()
        tab.on('console', lambda message: said.append(message.text))
        tab.on('pageerror', lambda error: said.append(str(error)))
        tab.on('dialog', lambda dialog: said.append(f'dialog {dialog.message}'))
        tab.on('request', lambda request: request.url.startswith(('file:', 'data:', 'blob:')) or said.append(
            f'network {request.url}'))
        tab.goto(f'file://{page}')
        tab.locator('#canvas[data-drawn]').wait_for(timeout=30_000)
        tab.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
        tab.evaluate("document.getElementById('map').scrollIntoView({block: 'center'})")
        return tab

    open_at.said = said
    yield open_at
    for context in contexts:
        context.close()
    assert [text for text in said if not any(known in text for known in WARNINGS)] == []


def positions(tab, count):
    """Return where points are in the window, [N, 2]."""
    box = tab.locator('#canvas').bounding_box()
    found = tab.evaluate(f'Array.from({{length: {count}}}, (_, i) => atlasPlot.getScreenPosition(i))')
    return np.array(found) + np.array([box['x'], box['y']])


def lonely_point(places, box):
    """Return the point inside of the map that is the farthest from all others."""
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    inside = ((places > (box['x'] + 20, box['y'] + 20)) & (
        places < (box['x'] + box['width'] - 20, box['y'] + box['height'] - 20))).all(axis=1)
    return int(np.where(inside, distance.min(axis=1), 0).argmax())


def pixels(png: bytes, side: int | None = None) -> np.ndarray:
    image = Image.open(io.BytesIO(png)).convert('RGB')
    return np.asarray(image.resize((side, side), Image.Resampling.BOX) if side else image, float)


def test_the_map_is_drawn_at_any_width_in_light_and_dark(opened):
    for width in (1440, 820, 390):
        for scheme in ('light', 'dark'):
            tab = opened(width, color_scheme=scheme)
            assert tab.evaluate('document.documentElement.scrollWidth') == width
            map_pixels = pixels(tab.locator('#canvas').screenshot())
            background = np.median(map_pixels.reshape(-1, 3), axis=0)
            assert (background.mean() > 200) == (scheme == 'light')
            coloured = (np.abs(map_pixels - background).max(axis=2) > 40).sum()
            assert 200 < coloured < map_pixels[..., 0].size / 4
    tab.locator('#theme').click()
    assert pixels(tab.locator('#canvas').screenshot()).mean() > 200


def test_pointing_shows_the_image_and_clicking_its_neighbours(opened, report):
    images, names, features, _ = report
    tab = opened()
    places = positions(tab, len(names))
    point = lonely_point(places, tab.locator('#canvas').bounding_box())
    tab.mouse.move(*(places[point] + (3, 40)))
    tab.mouse.move(*places[point], steps=4)
    tab.locator('#tip').wait_for(state='visible')
    assert tab.locator('#tip p').first.text_content() == names[point]
    shown = pixels(tab.locator('#tip .thumb').screenshot(), 48)
    difference = [np.abs(shown - pixels((images / name).read_bytes(), 48)).mean() for name in names]
    assert names[int(np.argmin(difference))] == names[point] and min(difference) < 8

    tab.mouse.click(*places[point])
    tab.locator('#inspector .tile').first.wait_for()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit[point]
    cosines[point] = -np.inf
    found = [int(tile.get_attribute('data-image')) for tile in tab.locator('#inspector .tile .thumb').all()]
    assert len(set(found)) == 12 and point not in found
    np.testing.assert_allclose(cosines[found], -np.sort(-cosines)[:12], atol=1e-5)
    assert float(tab.locator('#inspector .tile span').first.text_content()) == pytest.approx(
        cosines.max(), abs=6e-4)


def test_the_lasso_exports_the_images_inside(opened, report):
    images, names, _, _ = report
    with open(images.parent / 'labels.csv', newline='') as file:
        weights = {row['path']: row['weight'] for row in csv.DictReader(file)}
    tab = opened()
    places, box = positions(tab, len(names)), tab.locator('#canvas').bounding_box()
    centre = places.mean(axis=0)
    angle = np.linspace(0, 2 * np.pi, 40)
    sizes = np.linspace(60, min(box['height'], box['width']) / 2 - 40, 60)
    outlines = [centre + size * np.stack([np.cos(angle), 0.8 * np.sin(angle)], axis=1) for size in sizes]

    def gap(outline):                               # to the nearest point, so that no rounding decides
        return np.linalg.norm(places[:, None] - outline[None], axis=2).min()

    outline = max((each for each in outlines
                   if 10 < Polygon(each).contains_points(places).sum() < 80), key=gap)
    tab.locator('#lasso').click()
    tab.mouse.move(*outline[0])
    tab.mouse.down()
    for place in outline[1:]:
        tab.mouse.move(*place, steps=3)
        time.sleep(0.01)
    tab.mouse.up()
    tab.locator('#selection').wait_for(state='visible')
    with tab.expect_download() as download:
        tab.locator('#download').click()
    with open(download.value.path(), newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    inside = Polygon(outline).contains_points(places)
    assert sorted(row['path'] for row in rows) == sorted(np.array(names)[inside])
    assert {row['label'] for row in rows} <= set('abc') and list(rows[0])[:4] == [
        'path', 'label', 'cluster', 'density']
    # A number that the CSV of labels does not have is none in the list either.
    assert {row['path']: row['weight'] for row in rows} == {
        name: weights.get(name, '') for name in np.array(names)[inside]}
    tab.locator('#clear').click()
    assert tab.locator('#selection').is_hidden()
    tab.locator('#colour').select_option(label='weight')
    assert tab.locator('#legend small').text_content().startswith(f'{len(names) - len(weights)} without')
    tab.wait_for_timeout(400)
    drawn = pixels(tab.locator('#canvas').screenshot())
    pink, dark = np.abs(drawn - (214, 127, 168)).max(axis=2) < 25, drawn.max(axis=2) < 150
    assert pink.sum() > dark.sum() > 0


def test_names_from_files_stay_text(opened, report):
    _, names, _, page = report
    hostile, = (index for index, name in enumerate(names) if name.endswith(HOSTILE))
    tab = opened()
    tab.evaluate(f'document.querySelector(".tile .thumb[data-image=\'{hostile}\']")?.click()')
    if tab.locator('#inspector h3').count() == 0:
        tab.evaluate(f'atlasPlot.select([{hostile}])')
    assert tab.locator('#inspector h3').text_content() == names[hostile]
    tab.locator('#colour').select_option(label='<i>kind')
    assert '<u>odd</u></script>' in tab.locator('#legend').text_content()
    assert 'weight 1700000003.5 ' in tab.locator('#inspector p').text_content()
    assert 'left out: 1' in tab.locator('.lead').text_content()
    assert tab.locator('h1').text_content() == 'run "<b>' and tab.locator('h1 b').count() == 0
    text = page.read_text()
    assert text.count('<script') == 3 and 'alert(1)' not in re.sub(
        r'(?s)<script type="application/json".*?</script>', '', text)


def test_colours_follow_the_column_and_the_legend_filters(opened, report):
    _, names, _, _ = report
    tab = opened()
    before = pixels(tab.locator('#canvas').screenshot())
    legend = tab.locator('#legend button')
    assert sorted(legend.locator('span').all_text_contents()) == ['a', 'b', 'c']
    assert sum(int(text) for text in legend.locator('small').all_text_contents()) == len(names)
    legend.first.click()
    tab.wait_for_timeout(400)
    background = np.median(before.reshape(-1, 3), axis=0)
    drawn = [(np.abs(each - background).max(axis=2) > 40).sum()
             for each in (before, pixels(tab.locator('#canvas').screenshot()))]
    assert 0 < drawn[1] < 0.7 * drawn[0]
    tab.locator('#colour').select_option(label='density')
    tab.wait_for_timeout(400)
    assert tab.locator('#legend .ramp').count() == 1
    assert np.abs(pixels(tab.locator('#canvas').screenshot()) - before).max() > 40


def test_the_page_needs_nothing_else_and_no_eval(opened, report):
    _, names, _, page = report
    text = page.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1].replace('&#39;', "'")
    assert policy.startswith("default-src 'none'") and 'unsafe' not in policy and 'http' not in policy
    tab = opened()
    refused = tab.evaluate('''() => new Promise((done) => {
        document.addEventListener('securitypolicyviolation', (event) => done(event.violatedDirective));
        const script = document.createElement('script'); script.textContent = 'window.ran = 1';
        document.body.append(script); })''')
    assert refused.startswith('script-src') and tab.evaluate('window.ran') is None
    data = json.loads(re.search(r'(?s)<script type="application/json" id="data">(.*?)</script>', text)[1])
    sheet = Image.open(io.BytesIO(base64.b64decode(data['sheets'][0].split(',')[1])))
    assert sheet.width == data['cells'] * data['side'] and data['names'] == names
    assert len(opened.said) == 1
    opened.said.clear()                                     # of this refusal


def synthetic_page(folder, count, side_images):
    """Write the page of an atlas of ``count`` points in clusters."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 8, count)
    points = rng.normal(size=(8, 2))[cluster] + 0.2 * rng.normal(size=(count, 2))
    points = (0.95 * points / np.abs(points).max()).astype(np.float32)
    atlas = atlas_page.Atlas(
        [f'folder/{number:06d}.jpg' for number in range(count)], points,
        np.full((count, 20), 0.9, np.float32), rng.integers(0, count, (count, 20)),
        dict(label=[f'class {number}' for number in cluster]), [], np.arange(40), np.arange(60), cluster,
        side_images[np.arange(count) % len(side_images)])
    page = folder / 'index.html'
    page.write_bytes(render(dict(
        runs=[dict(name='many', curves=[], facts={}, figures={})], results=None, measures=[], views={},
        atlas=dict(map='pca, seed 0', clusters='', encoder='e', images='i'), num_images=count,
        written='', versions=dict(mmsimclr=__version__)), atlas.page_data()))
    return page


def test_fifty_thousand_points_are_drawn_and_moved(opened, tmp_path):
    """How smoothly, benchmarks/report_page.py measures on a quiet machine."""
    thumbnails = np.random.default_rng(0).integers(0, 256, (64, 24, 24, 3), np.uint8)
    tab = opened(page=synthetic_page(tmp_path, 50_000, thumbnails))
    box = tab.locator('#canvas').bounding_box()
    x, y = box['x'] + box['width'] / 2, box['y'] + box['height'] / 2
    before = positions(tab, 3)
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 60, y + 30, steps=6)
    tab.mouse.up()
    tab.wait_for_timeout(500)
    np.testing.assert_allclose(positions(tab, 3) - before, [[60, 30]] * 3, atol=12)


def test_ten_thousand_images_stay_below_sixty_megabytes(tmp_path):
    """Of grainy images, which JPEG cannot make small; photographs are smaller."""
    shapes = Shapes(num_images=100, split='test', image_size=64, pipeline=[])
    grain = np.random.default_rng(0).normal(scale=12, size=(100, 64, 64, 3))
    images = np.clip(np.stack([shapes.get_data_info(i)['img'] for i in range(100)]) + grain, 0, 255)
    page = synthetic_page(tmp_path, 10_000, images.astype(np.uint8))
    assert 5e6 < page.stat().st_size < 60e6


def test_without_webgl_the_rest_works(chromium, report):
    _, names, _, page = report
    browser, errors = chromium('--disable-3d-apis'), []
    tab = browser.new_page()
    tab.on('pageerror', lambda error: errors.append(str(error)))
    tab.goto(f'file://{page}')
    assert 'no WebGL' in tab.locator('#map .empty').text_content()
    first = tab.locator('#outliers .tile').first
    first.click()
    assert tab.locator('#inspector h3').text_content() == first.get_attribute('title')
    assert tab.locator('#inspector .tile').count() == 12 and first.get_attribute('title') in names
    browser.close()
    assert errors == []
