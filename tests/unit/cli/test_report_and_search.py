"""The commands report and search, on a run of one epoch."""

import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from processes import ROOT

from mmsimclr.cli import main
from mmsimclr.datasets import Shapes
from mmsimclr.errors import InputError
from mmsimclr.features import Embedder, ImageFolder, extract_to_files, read_features
from mmsimclr.reporting import atlas
from mmsimclr.reporting.figures import save_neighbour_sheet as figures


@pytest.fixture(scope='module')
def run_and_images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('commands')
    shutil.copytree(ROOT / 'tests/data/dumps_0.1/run', folder / 'run')
    shapes = Shapes(num_images=30, split='test', image_size=32, pipeline=[])
    for number in range(30):
        path = folder / 'images' / 'xy'[number % 2] / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shapes.get_data_info(number)['img']).save(path)
    return folder / 'run', folder / 'images'


def invoke(*words) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_report_writes_the_page_the_lists_and_the_exports(run_and_images, tmp_path):
    pytest.importorskip('pyarrow')
    run, images = run_and_images
    invoke('report', run, '--images', images, '--out', tmp_path, '--map', 'pca', '--clusters', 3,
           '--diverse', 4, '--device', 'cpu', '--parquet', '--projector')
    assert {path.name for path in tmp_path.iterdir()} == {
        'index.html', 'outliers.csv', 'outliers.jpg', 'diverse.csv', 'diverse.jpg', 'clusters.csv',
        'clusters.jpg', 'duplicates.csv', 'map.csv', 'atlas.parquet', 'projector'}
    assert len((tmp_path / 'diverse.csv').read_text().splitlines()) == 5
    clusters = {line.rsplit(',')[1] for line in (tmp_path / 'clusters.csv').read_text().splitlines()[1:]}
    assert clusters == {'0', '1', '2'}


def test_search_prints_and_draws_the_nearest_images(run_and_images, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(atlas, 'save_neighbour_sheet', lambda *sheet: drawn.append(sheet) or figures(*sheet))
    run, images = run_and_images
    invoke('embed', images, run, '--out', tmp_path / 'features', '--device', 'cpu')
    queries = [images / 'x' / '4.png', images / 'y' / '7.png']
    said = invoke('search', '--index', tmp_path / 'features', *queries, '-k', 3,
                  '--out', tmp_path / 'sheet.png', '--device', 'cpu')
    features = read_features(tmp_path / 'features')
    rows = features.stages['pooled'] / np.linalg.norm(features.stages['pooled'], axis=1, keepdims=True)
    names = [path.removeprefix(f'{images}/') for path in features.paths]
    want = [names[row] for query in ('x/4.png', 'y/7.png')
            for row in np.argsort(-rows @ rows[names.index(query)], kind='stable')[:3]]
    assert re.findall(r'[xy]/\d+\.png(?=  \d\.)', said) == want
    assert '100.0 %' in said
    with Image.open(tmp_path / 'sheet.png') as sheet:
        assert min(sheet.size) > 150
    (_, shown, blocks), = drawn
    assert np.shape([*blocks.values()]) == (1, 2, 3, 96, 96, 3)
    for query, neighbours, names in zip(shown, blocks['nearest images'], (want[:3], want[3:]), strict=True):
        np.testing.assert_array_equal(query, neighbours[0])             # the nearest of each is itself
        for picture, name in zip(neighbours, names, strict=True):
            with Image.open(images / name) as image:
                assert np.abs(image.convert('RGB').resize((96, 96)) - picture.astype(int)).mean() < 6
    wrong = CliRunner().invoke(main, ['search', '--index', str(tmp_path / 'features'), str(queries[0]),
                                      '--out', 'sheet.xyz'])
    assert wrong.exit_code == 2 and '.jpg or .png, got sheet.xyz' in wrong.output


def test_features_know_their_encoder(run_and_images, tmp_path):
    run, images = run_and_images
    embedder = Embedder(run / 'epoch_1.pth', 'cpu', resize_px=24, crop_px=24)
    features = extract_to_files(embedder, ImageFolder(images), tmp_path / 'f')
    again = Embedder.of_features(features.manifest, device='cpu')
    assert again.preparation == embedder.preparation
    np.testing.assert_allclose(again(str(features.paths[3])), features.stages['pooled'][3:4], rtol=1e-5)
    manifest = {**features.manifest, 'encoder': {**features.manifest['encoder'], 'sha256': '0' * 64}}
    with pytest.raises(InputError, match=r'epoch_1\.pth.*another encoder.*--checkpoint'):
        Embedder.of_features(manifest, device='cpu')
