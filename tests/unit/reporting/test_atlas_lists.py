"""The atlas of a folder with planted copies and outliers, its lists, and exports for other tools."""

import base64
import csv
import dataclasses
import io
import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from mmsimclr.checkpoints import UNIT_RANGE
from mmsimclr.datasets import Shapes
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.features import Embedder, ImageFolder, extract_to_files
from mmsimclr.models import ResNet
from mmsimclr.reporting.atlas import data_uri, make_atlas, read_columns, write_parquet, write_projector

NUM_IMAGES, NUM_OUTLIERS = 300, 20


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return a folder of shapes, 50 exact and 50 re-encoded or resized copies, and 20 pictures of stripes."""
    root, rng = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
    shapes = Shapes(num_images=NUM_IMAGES, split='test', image_size=64, pipeline=[])
    for number in range(NUM_IMAGES):
        Image.fromarray(shapes.get_data_info(number)['img']).save(root / f'{number:03d}.png')
        if number < 50:
            (root / f'{number:03d}_copy.png').write_bytes((root / f'{number:03d}.png').read_bytes())
        elif number < 100:
            image = Image.open(root / f'{number:03d}.png')
            if number % 2:
                image = image.resize((45, 45), Image.Resampling.BICUBIC)
            image.save(root / f'{number:03d}_copy.jpg', quality=70)
    for number in range(NUM_OUTLIERS):
        stripes = 255 * (np.arange(64) // rng.integers(1, 5) % 2)
        image = np.broadcast_to(stripes[:, None, None], (64, 64, 3)) * rng.integers(0, 2, 3)
        Image.fromarray(np.ascontiguousarray(np.rot90(image, number % 2)).astype(np.uint8)).save(
            root / f'outlier_{number:02d}.png')
    return root


@pytest.fixture(scope='module')
def atlas_and_features(folder, tmp_path_factory):
    torch.manual_seed(0)
    embedder = Embedder(ResNet(depth=18, base_channels=8, stem='cifar'), 'cpu', input=UNIT_RANGE)
    dataset = ImageFolder(folder)
    features = extract_to_files(embedder, dataset, tmp_path_factory.mktemp('features') / 'f')
    return make_atlas(features, dataset, map_method='pca', num_diverse=9), features.stages['pooled']


def test_planted_copies_are_found_and_little_else(atlas_and_features):
    atlas, _ = atlas_and_features
    truth = {frozenset((f'{number:03d}.png', f'{number:03d}_copy.{"png" if number < 50 else "jpg"}'))
             for number in range(100)}
    pairs = [frozenset((atlas.names[a], atlas.names[b])) for group in atlas.duplicates
             for place, a in enumerate(group) for b in group[place + 1:]
             if not atlas.names[a].startswith('outlier')]
    assert len(truth & set(pairs)) >= 95
    assert len(truth & set(pairs)) >= 0.95 * len(pairs)


def test_planted_outliers_are_among_the_forty_farthest(atlas_and_features):
    atlas, _ = atlas_and_features
    assert sum(atlas.names[number].startswith('outlier') for number in atlas.outliers[:40]) >= 16


def test_lists_and_the_page_name_the_same_images(atlas_and_features, tmp_path):
    atlas, _ = atlas_and_features
    atlas.write_lists(tmp_path)
    read = {}
    for path in tmp_path.glob('*.csv'):
        with open(path, newline='') as file:
            read[path.stem] = list(csv.DictReader(file))
    data = json.loads(json.dumps(atlas.page_data()))
    for name in ('outliers', 'diverse'):
        assert [row['path'] for row in read[name]] == [data['names'][number] for number in data[name]]
    assert [row['path'] for row in read['duplicates']] == [
        data['names'][number] for group in data['duplicates'] for number in group]
    assert len(read['outliers']) == 40 and len({row['path'] for row in read['diverse']}) == 9
    assert [int(row['cluster']) for row in read['clusters']] == atlas.clusters.tolist()
    assert [cluster['size'] for cluster in data['clusters']] == np.bincount(atlas.clusters).tolist()
    assert np.allclose([(float(row['x']), float(row['y'])) for row in read['map']], atlas.points, atol=1e-5)


def test_pictures_of_lists_show_a_group_on_each_line(atlas_and_features, tmp_path):
    atlas, _ = atlas_and_features
    atlas.write_lists(tmp_path)
    central = [cluster['images'] for cluster in atlas.page_data()['clusters']]
    lists = dict(duplicates=(atlas.duplicates, 0, 1), clusters=(central, 0, 15),
                 diverse=([atlas.diverse], 0, 8), outliers=(np.split(atlas.outliers, [16, 32]), 2, 7))
    for name, (groups, line, column) in lists.items():
        with Image.open(tmp_path / f'{name}.jpg') as image:
            pixels = np.asarray(image, float)
        columns = max(map(len, groups))
        assert pixels.shape == (64 * min(100, len(groups)), 64 * columns, 3)
        cell = pixels[64 * line:64 * (line + 1), 64 * column:64 * (column + 1)]
        pair = np.stack([cell, atlas.thumbnails[groups[line][column]]]).reshape(2, 8, 8, 8, 8, 3).mean((2, 4))
        assert np.abs(pair[0] - pair[1]).mean() < 12, name  # of blocks: JPEG blurs colours of thin stripes
    assert pixels[130:, 64 * 8:].min() > 240                # behind the last outlier
    none = dataclasses.replace(atlas, duplicates=[])
    none.write_lists(tmp_path)
    assert not (tmp_path / 'duplicates.jpg').exists()


def test_thumbnails_are_the_centre_of_their_files(atlas_and_features, folder):
    atlas, _ = atlas_and_features
    side = atlas.thumbnails.shape[1]
    assert side == 64
    for number in (0, 7, 200):
        with Image.open(folder / atlas.names[number]) as image:
            want = np.asarray(image.convert('RGB').resize((side, side), Image.Resampling.BICUBIC), float)
        assert np.abs(atlas.thumbnails[number] - want).mean() < 3


def test_columns_are_read_by_path_as_texts_or_numbers(tmp_path):
    path = tmp_path / 'labels.csv'
    path.write_text('path,kind,size\n' + ''.join(f'/data/{n}.png,k{n % 3},{n / 2}\n' for n in range(20)))
    columns = read_columns(path, [f'{n}.png' for n in range(30)], '/data')
    assert columns['kind'] == [f'k{n % 3}' for n in range(20)] + [''] * 10
    np.testing.assert_array_equal(columns['size'], [n / 2 for n in range(20)] + [np.nan] * 10)
    with pytest.raises(InputError, match=r'none of the 1 images.*other'):
        read_columns(path, ['other'], '/data')
    path.write_text('path,size\n' + ''.join(f'{n},{n}\n' for n in range(20)) + '20,inf\n21,nan\n')
    sizes = read_columns(path, [str(n) for n in range(22)], '')['size']
    np.testing.assert_array_equal(sizes, [*range(20), np.nan, np.nan])
    path.write_text('path,number\n' + ''.join(f'{n},{1700000000 + n}\n' for n in range(20)))
    assert read_columns(path, ['7'] * 20 + ['8'], '')['number'] == ['1700000007'] * 20 + ['1700000008']
    np.testing.assert_array_equal(read_columns(path, [str(n) for n in range(20)], '')['number'],
                                  np.arange(1700000000, 1700000020))
    path.write_text('file,kind\na,b\n')
    with pytest.raises(InputError, match='path'):
        read_columns(path, ['a'], '')
    with pytest.raises(MissingFileError, match='gone'):
        read_columns(tmp_path / 'gone.csv', ['a'], '')


@pytest.mark.skipif(not find_spec('pyarrow'), reason='needs pyarrow')
def test_parquet_has_a_row_for_each_image(atlas_and_features, tmp_path):
    from pyarrow import parquet
    atlas, features = atlas_and_features
    table = parquet.read_table(write_parquet(atlas, features, tmp_path / 'atlas.parquet'))
    assert table.column_names == ['path', 'map_x', 'map_y', 'cluster', 'density', 'features']
    assert table['path'].to_pylist() == atlas.names
    np.testing.assert_array_equal(np.stack(table['features'].to_numpy()), features)
    np.testing.assert_array_equal(table['map_y'].to_numpy(), atlas.points[:, 1])


def test_tensorboards_projector_reads_the_folder(atlas_and_features, tmp_path):
    projector = pytest.importorskip('tensorboard.plugins.projector.projector_config_pb2')
    text_format = pytest.importorskip('google.protobuf.text_format')
    atlas, features = atlas_and_features
    names = list(atlas.names)
    atlas.names[3] = 'tab\tand\nline'
    try:
        folder = write_projector(atlas, features, tmp_path / 'projector')
    finally:
        atlas.names[:] = names
    config = text_format.Parse((folder / 'projector_config.pbtxt').read_text(), projector.ProjectorConfig())
    embedding, = config.embeddings
    np.testing.assert_allclose(np.loadtxt(folder / embedding.tensor_path, delimiter='\t'), features,
                               rtol=1e-4, atol=1e-6)
    rows = [line.split('\t') for line in (folder / embedding.metadata_path).read_text().splitlines()]
    assert rows[0] == ['path', 'cluster', 'density'] and len(rows) == len(names) + 1
    assert rows[4][0] == 'tab and line' and [row[0] for row in rows[5:]] == names[4:]
    with Image.open(folder / embedding.sprite.image_path) as sprite:
        assert sprite.width == 21 * embedding.sprite.single_image_dim[0]
        cell = np.asarray(sprite)[64:128, 128:192]          # of row 1, column 2
    np.testing.assert_array_equal(cell, atlas.thumbnails[23])


def test_data_uris_are_pictures():
    picture = np.full((16, 24, 3), 77, np.uint8)
    with Image.open(io.BytesIO(base64.b64decode(data_uri(picture).partition(',')[2]))) as image:
        np.testing.assert_allclose(np.asarray(image), picture, atol=2)
