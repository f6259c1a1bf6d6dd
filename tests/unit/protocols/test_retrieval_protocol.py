"""The retrieval protocol: layouts, rules as options, and images whose neighbours are known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_benchmark import tiny_benchmark

from mmsimclr.errors import InputError
from mmsimclr.evaluation.retrieval import unit
from mmsimclr.protocols import Retrieval, read_predictions
from mmsimclr.reporting import published_values


def noise(path: Path, seed: int, mirrored: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(256, size=(40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels[:, ::-1] if mirrored else pixels).save(path)


def part(root: Path, source: str, **arguments) -> dict:
    return dict(type='IdentityImages', data_root=str(root), source=source, **arguments)


@pytest.fixture
def market(tmp_path) -> Path:
    """Return a folder in Market-1501's layout, where equal seeds are equal images."""
    root = tmp_path / 'Market'
    for name, seed in {'0001_c1s1_000001_00': 1, '0002_c2s1_000002_00': 2, '0003_c1s1_000003_00': 3}.items():
        noise(root / 'query' / f'{name}.png', seed)
    for name, seed in {
            '0001_c1s1_000011_01': 1,        # the query itself, by the same camera: left out
            '-1_c3s1_000012_01': 1,          # junk
            '0001_c2s1_000013_01': 11,
            '0002_c1s1_000014_01': 2,        # the query itself, by another camera: right
            '0000_c1s1_000015_01': 3,        # a distractor, nearest to query 3
            '0003_c4s1_000016_01': 13}.items():
        noise(root / 'bounding_box_test' / f'{name}.png', seed)
    return root


def run(root: Path, folder: Path, **arguments):
    return Retrieval(part(root, 'query'), part(root, 'bounding_box_test'), **arguments).run(
        tiny_benchmark(folder))


def test_market_1501s_rules_leave_out_junk_and_the_same_camera_and_count_distractors(market, tmp_path):
    result = run(market, tmp_path / 'run', size_px=(64, 32))
    assert result.num_images == dict(query=3, gallery=6) and result.protocol == 'retrieval'
    kept = read_predictions(tmp_path / 'run' / 'predictions.npz')
    right = dict(zip(kept.images.tolist(), (kept.labels == kept.predicted).tolist(), strict=True))
    # Query 1 finds its person or another by chance; were junk or its camera counted, it would not be.
    assert right['query/0002_c2s1_000002_00.png'] and not right['query/0003_c1s1_000003_00.png']
    assert result.metrics['rank_1_accuracy_percent'] == pytest.approx(100 * sum(right.values()) / 3)
    assert result.metrics['rank_10_accuracy_percent'] == 100
    assert result.settings['junk'] == 1 and result.settings['exclude'] == 'camera'
    assert result.settings['crop_px'] == [64, 32] and result.settings['mirrored'] == 'added, normalised after'
    # By hand: the order of all images that count, from features of the images and their mirror images.
    benchmark = tiny_benchmark(tmp_path / 'run')
    rows = {}
    for name in ('query', 'bounding_box_test'):
        plain, mirrored = (benchmark.features(part(market, name), crop_px=[64, 32], **mirror).stages['pooled']
                           for mirror in ({}, dict(mirrored=True)))
        assert not np.allclose(plain, mirrored)
        rows[name] = unit(plain + mirrored)
    scores = rows['query'][0] @ rows['bounding_box_test'].T
    names = sorted(path.name for path in (market / 'bounding_box_test').iterdir())
    counted = [i for i, name in enumerate(names) if name[:2] != '-1' and name[:7] != '0001_c1']
    best = max(counted, key=lambda i: scores[i])
    assert right['query/0001_c1s1_000001_00.png'] == (names[best][:4] == '0001')


def test_without_the_camera_rule_the_same_image_is_found(market, tmp_path):
    result = run(market, tmp_path / 'run', exclude=None, size_px=None)
    # Junk is left out still. Query 1 and 2 find themselves, and 3 the distractor.
    assert result.metrics['rank_1_accuracy_percent'] == pytest.approx(200 / 3)
    assert result.settings['crop_px'] == 32 and result.settings['exclude'] is None
    everyone = run(market, tmp_path / 'all', exclude=None, size_px=None, junk=('0000',))
    # The image of '-1' equals that of 0001_c1s1, and comes first: '-1' sorts before it.
    assert everyone.metrics['rank_1_accuracy_percent'] == pytest.approx(100 / 3)


def test_multiple_queries_take_the_place_of_the_query(market, tmp_path):
    # The second is of another camera than the query.
    for name, seed in {'0001_c1s1_000001_00': 11, '0002_c1s1_000002_00': 11}.items():
        noise(market / 'gt_bbox' / f'{name}.png', seed)
    others = dict(multi_query=part(market, 'gt_bbox'))
    single, several = (run(market, tmp_path / name, size_px=None, flip=False, **arguments)
                       for name, arguments in (('one', {}), ('all', others)))
    kept = {name: read_predictions(tmp_path / name / 'predictions.npz') for name in ('one', 'all')}
    assert (kept['all'].predicted == kept['all'].labels).tolist()[:2] == [True, True]
    assert kept['all'].predicted[1:].tolist() == kept['one'].predicted[1:].tolist()
    assert several.num_images == dict(query=3, gallery=6, multi_query=2) and len(single.num_images) == 2
    with pytest.raises(InputError, match='multi_query'):
        Retrieval({}, {}, multi_query=part(market, 'gt_bbox'), exclude='image')


def test_sysu_30ks_layout_has_one_right_image_among_others(tmp_path):
    root = tmp_path / 'sysu'
    for number in range(3):
        name = f'00002831{number}'
        noise(root / 'query' / name / f'{name}_c2_2.png', number)
        noise(root / 'gallery' / name / f'{name}_c1_1.png', number + (number == 2))
    noise(root / 'gallery' / '0000others' / '0000others_c1_1.png', 2)
    result = Retrieval(part(root, 'query'), part(root, 'gallery'), normalise='first', size_px=None).run(
        tiny_benchmark(tmp_path / 'run'))
    assert result.metrics['rank_1_accuracy_percent'] == pytest.approx(200 / 3)
    assert result.metrics['rank_5_accuracy_percent'] == 100
    assert result.settings['identities'] == 3 and result.settings['junk'] == 0
    published = published_values('retrieval', 'SYSU-30k', 'rank_1_accuracy_percent')
    assert [value.value for value in published] == [10.9]


def test_a_folder_of_identities_leaves_the_query_itself_out(tmp_path):
    for name, seed in {'a/1': 1, 'a/2': 1, 'b/1': 2, 'b/2': 3, 'c/1': 3}.items():
        noise(tmp_path / 'val' / f'{name}.png', seed)
    images = part(tmp_path, 'val', pattern='(?P<identity>[^/]+)/')
    result = Retrieval(images, images, exclude='image', size_px=None).run(tiny_benchmark(tmp_path / 'run'))
    found = read_predictions(tmp_path / 'run' / 'predictions.npz')
    names = dict(zip(found.images.tolist(), (found.predicted == found.labels).tolist(), strict=True))
    assert names['val/a/1.png'] and names['val/a/2.png'] and not names['val/b/2.png']
    assert not names['val/c/1.png'] and result.settings['queries_without_match'] == 1
    assert result.metrics['rank_10_accuracy_percent'] == 80             # 'c' has no other image


def test_a_csv_names_images_identities_and_cameras(tmp_path):
    for seed in range(4):
        noise(tmp_path / f'{seed}.png', seed // 2)
    (tmp_path / 'query.csv').write_text('image,identity,camera\n0.png,ann,yard\n2.png,bob,hall\n')
    (tmp_path / 'gallery.csv').write_text(
        'image,identity,camera\n1.png,ann,hall\n3.png,bob,hall\n0.png,eve,hall\n')
    result = Retrieval(part(tmp_path, 'query.csv'), part(tmp_path, 'gallery.csv'), size_px=None).run(
        tiny_benchmark(tmp_path / 'run'))
    # Of equals the earlier is first: ann. bob's only image is of the same camera.
    assert result.metrics['rank_1_accuracy_percent'] == 50 and result.settings['queries_without_match'] == 1


def test_the_mirror_image_is_found_where_it_is_added(tmp_path):
    noise(tmp_path / 'query' / '1_c1.png', 1)
    noise(tmp_path / 'gallery' / '1_c2.png', 1, mirrored=True)
    noise(tmp_path / 'gallery' / '0_c2.png', 2)
    similar = {}
    for flip in (True, False):
        benchmark = tiny_benchmark(tmp_path / f'run{flip}')
        protocol = Retrieval(part(tmp_path, 'query'), part(tmp_path, 'gallery'), flip=flip, size_px=(48, 24))
        rows = {name: protocol._features(benchmark, part(tmp_path, name))[0] for name in ('query', 'gallery')}
        similar[flip] = float((rows['query'] @ rows['gallery'].T)[0, 1])
    assert similar[True] == pytest.approx(1, abs=1e-5) and similar[False] < 0.9999


@pytest.mark.parametrize('arguments, said', [
    (dict(exclude='identity'), 'camera'), (dict(normalise='never'), 'after')])
def test_arguments_out_of_range_are_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        Retrieval({}, {}, **arguments)


def test_images_without_cameras_are_refused_where_cameras_are_needed(tmp_path):
    noise(tmp_path / 'val' / 'a' / '1.png', 1)
    images = part(tmp_path, 'val', pattern='(?P<identity>[^/]+)/')
    with pytest.raises(InputError, match=r"1 of 1 have none; exclude='image'"):
        Retrieval(images, images).run(tiny_benchmark(tmp_path / 'run'))
