"""Features in files: order, values, what the manifest says, refusals, bounded memory."""

import hashlib
import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from extraction_samples import NUM_IMAGES, InMemory, Means, content, make_folder, resnet, small
from processes import CONTEXT

from mmsimclr.features import Embedder, extract_to_files, read_features, store
from mmsimclr.models import ResNet
from mmsimclr.transforms import ImageReadError


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_folder(tmp_path / 'images')


@pytest.mark.parametrize('form, batch_size, num_workers', [
    ('feats', 1, 0), ('feats.npz', 4, 0), ('feats.npz', 64, 0), ('feats', 4, 2)])
def test_rows_are_those_of_a_plain_loop_in_the_order_of_the_paths(folder, tmp_path, form, batch_size,
                                                                 num_workers):
    stages = ('pooled', 'stem', 'layer2')
    embedder = small(resnet(), stages=stages, batch_size=batch_size)
    got = extract_to_files(embedder, folder, tmp_path / form, num_workers=num_workers, command='the command')
    paths = sorted(folder.rglob('*.png'))
    assert [Path(path) for path in got.paths] == paths
    assert got.labels.tolist() == ['abc'.index(path.parent.name) for path in paths]
    assert got.manifest['images']['classes'] == ['a', 'b', 'c']
    assert list(got.stages) == list(stages) and len(got) == NUM_IMAGES
    want = {stage: np.concatenate([small(resnet(), stages=stages)(path)[stage] for path in paths])
            for stage in stages}
    for stage, rows in got.stages.items():
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, want[stage], rtol=1e-4, atol=1e-6)
    assert not (tmp_path / f'{form}.partial').exists()


def test_a_folder_is_memory_mapped_and_an_npz_is_what_numpy_reads(folder, tmp_path):
    mapped = extract_to_files(small(Means()), folder, tmp_path / 'feats')
    assert isinstance(mapped.stages['pooled'], np.memmap) and isinstance(mapped.paths, np.memmap)
    assert {path.name for path in (tmp_path / 'feats').iterdir()} == {
        'pooled.npy', 'paths.npy', 'labels.npy', 'manifest.json'}
    packed = extract_to_files(small(Means()), folder, tmp_path / 'feats.npz')
    for name, array in dict(packed.stages, paths=packed.paths, labels=packed.labels).items():
        assert isinstance(array, np.memmap), name
    assert np.array_equal(packed.paths, mapped.paths) and np.array_equal(packed.labels, mapped.labels)
    with np.load(tmp_path / 'feats.npz', allow_pickle=False) as archive:
        assert set(archive.files) == {'pooled', 'paths', 'labels', 'manifest'}
        assert np.array_equal(archive['pooled'], mapped.stages['pooled'])
        assert json.loads(str(archive['manifest'])) == {**mapped.manifest, 'command': None}


def test_the_manifest_says_what_the_features_are_of(folder, tmp_path):
    network = ResNet(depth=18, base_channels=16, stem='cifar')
    checkpoint = tmp_path / 'encoder.pth'
    torch.save({'state_dict': {f'backbone.{name}': value for name, value in network.state_dict().items()}},
               checkpoint)
    embedder = Embedder(checkpoint, 'cpu', stages=('layer1', 'pooled'), resize_px=9, crop_px=8, batch_size=5)
    manifest = extract_to_files(embedder, folder, tmp_path / 'feats', dtype='float16',
                                command='make it').manifest
    assert manifest == json.loads((tmp_path / 'feats' / 'manifest.json').read_text())
    encoder, images = manifest['encoder'], manifest['images']
    assert encoder['sha256'] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert encoder['path'] == str(checkpoint) and encoder['layout'] == embedder.report.layout
    assert encoder['tensors_matched'] == encoder['tensors_expected'] == 120
    assert manifest['stages'] == {'layer1': 16, 'pooled': 128}
    assert manifest['preparation'] == dict(resize_px=9, crop_px=8, interpolation='bicubic', squash=False)
    assert manifest['pooling'] == 'average'
    assert manifest['input']['mean'] == list(embedder.report.input.mean)
    assert (images['num'], images['num_unreadable'], images['unreadable']) == (NUM_IMAGES, 0, [])
    assert (manifest['dtype'], manifest['batch_size'], manifest['device']) == ('float16', 5, 'cpu')
    assert manifest['command'] == 'make it' and manifest['versions']['torch']


def test_labels_of_a_dataset_are_kept_and_its_images_need_no_files(tmp_path):
    got = extract_to_files(small(Means()), InMemory(6, [5, 0, 3, 3, 1, 2]), tmp_path / 'feats')
    assert got.labels.tolist() == [5, 0, 3, 3, 1, 2] and got.labels.dtype == np.int64 and got.paths is None
    np.testing.assert_allclose(got.stages['pooled'], np.outer(np.arange(6) / 255, [1, 2, 3]), rtol=1e-5)
    several = extract_to_files(small(Means()), InMemory(2, [[0, 1, 1], [1, 0, 0]]), tmp_path / 'several')
    assert several.labels.tolist() == [[0, 1, 1], [1, 0, 0]]
    assert extract_to_files(small(Means()), InMemory(3), tmp_path / 'none').labels is None


@pytest.mark.parametrize('labels, message', [
    ([1, None, 2], '1 of 3 images have no gt_label'), ([1.5, 2, 3], r'must be an integer.*first is 1\.5'),
    ([[1], [1, 2], [0]], r'integers of one length .*first is \[1\]')])
def test_labels_that_do_not_make_an_array_are_refused(labels, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        extract_to_files(small(Means()), InMemory(3, labels), tmp_path / 'feats')


def test_float16_rounds_the_float32_features_and_refuses_what_it_cannot_hold(folder, tmp_path):
    full = extract_to_files(small(Means()), folder, tmp_path / 'full').stages['pooled']
    half = extract_to_files(small(Means()), folder, tmp_path / 'half', dtype='float16').stages['pooled']
    assert half.dtype == np.float16 and np.array_equal(half, full.astype(np.float16))
    with pytest.raises(ValueError, match=r'image .*00\.png is 3[\d.e+]+, too large for float16'):
        extract_to_files(small(Means(factor=2e5)), folder / 'b', tmp_path / 'large', dtype='float16')


def test_progress_begins_with_what_is_done_and_ends_with_all(folder, tmp_path):
    seen = []
    extract_to_files(small(Means()), folder, tmp_path / 'feats', commit_s=0,
                     progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 11), (4, 11), (8, 11), (11, 11), (11, 11)]


def test_an_unreadable_image_is_an_error_that_names_it_and_replacing_it_goes_on(folder, tmp_path):
    bad, good = folder / 'b' / '03.png', folder / 'b' / '00.png'
    whole = bad.read_bytes()
    want = extract_to_files(small(Means()), folder, tmp_path / 'want')
    bad.write_bytes(b'\0' * len(whole))                   # of the same size, as a failing disk would
    with pytest.raises(ImageReadError, match=r'cannot read image .*b/03\.png.*--skip-unreadable.*repeat'):
        extract_to_files(small(Means()), folder, tmp_path / 'feats', commit_s=1e9)
    assert store.FeatureStore(tmp_path / 'feats').num_done() == 4, 'what was done before is kept'
    bad.write_bytes(whole)
    assert good.exists()
    extract_to_files(small(Means()), folder, tmp_path / 'feats')
    assert content(tmp_path / 'feats')['pooled.npy'] == content(tmp_path / 'want')['pooled.npy']
    assert len(want) == NUM_IMAGES


@pytest.mark.parametrize('num_workers', [0, 1])
def test_skipped_images_have_no_rows_and_are_listed(folder, tmp_path, num_workers, monkeypatch):
    monkeypatch.setattr(store, 'BLOCK_ROWS', 2)
    paths = sorted(folder.rglob('*.png'))
    bad = [paths[i] for i in (0, 4, 5, 6, 7, 9)]                    # 4 to 7 are a whole batch
    kept = [path for path in paths if path not in bad]
    for path in bad:
        path.write_bytes(b'no image')
    got = extract_to_files(small(Means()), folder, tmp_path / 'feats', skip_unreadable=True,
                           num_workers=num_workers)
    assert [Path(path) for path in got.paths] == kept
    assert got.labels.tolist() == ['abc'.index(path.parent.name) for path in kept]
    want = np.concatenate([small(Means())(path) for path in kept])
    np.testing.assert_allclose(got.stages['pooled'], want, rtol=1e-6)
    images = got.manifest['images']
    assert (images['num'], images['num_unreadable']) == (NUM_IMAGES, 6)
    for path, reason in zip(bad, images['unreadable'], strict=True):
        assert str(path) in reason and 'not an image' in reason
    with pytest.raises(ValueError, match=r'leaves out 6 images that could not be read'):
        extract_to_files(small(Means()), folder, tmp_path / 'feats')


def test_images_none_of_which_can_be_read_are_an_error(folder, tmp_path):
    for path in folder.rglob('*.png'):
        path.write_bytes(path.read_bytes()[:60])                    # the header is whole
    with pytest.raises(ValueError, match=r'none of the 11 images can be read: cannot read image .*a/02\.png'):
        extract_to_files(small(Means()), folder, tmp_path / 'feats', skip_unreadable=True)


def test_a_folder_without_images_or_an_empty_dataset_is_refused(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='no images'):
        extract_to_files(small(Means()), tmp_path / 'empty', tmp_path / 'feats')
    with pytest.raises(FileNotFoundError, match='does not exist'):
        extract_to_files(small(Means()), tmp_path / 'absent', tmp_path / 'feats')
    with pytest.raises(ValueError, match='InMemory is empty'):
        extract_to_files(small(Means()), InMemory(0), tmp_path / 'feats')
    with pytest.raises(TypeError, match=r'get_data_info.*got list'):
        extract_to_files(small(Means()), [1, 2], tmp_path / 'feats')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['empty']


def test_a_feature_that_is_not_finite_is_refused_by_the_name_of_its_image(folder, tmp_path):
    module = Means()
    with torch.no_grad():
        module.weight[1] = torch.nan
    with pytest.raises(ValueError, match=r'feature of image .*/a/02\.png is not finite'):
        extract_to_files(small(module), folder, tmp_path / 'feats')


def test_what_is_there_already_and_is_no_result_is_left_alone(folder, tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.txt').write_text('all of it')
    with pytest.raises(FileExistsError, match='mine exists and holds no features'):
        extract_to_files(small(Means()), folder, tmp_path / 'mine')
    (tmp_path / 'mine.npz').write_text('all of it')
    with pytest.raises(ValueError, match=r'mine\.npz holds no features of mmsimclr, or is damaged'):
        extract_to_files(small(Means()), folder, tmp_path / 'mine.npz')
    assert (tmp_path / 'mine.npz').read_text() == 'all of it'


def test_a_disk_too_small_is_found_at_once(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(10, 0, 700))
    # 11 rows of 3 float32 and a path of up to some 70 characters
    with pytest.raises(RuntimeError, match=r'the features of 11 images need .* GB on the disk of .* GB left'):
        extract_to_files(small(Means()), folder, tmp_path / 'feats')


@pytest.mark.parametrize('name', ['feats', 'feats.npz'])
def test_a_damaged_or_foreign_result_is_named(folder, tmp_path, name):
    out = tmp_path / name
    extract_to_files(small(Means()), folder, out)
    damaged = out if out.is_file() else out / 'pooled.npy'
    damaged.write_bytes(damaged.read_bytes()[:-40])
    with pytest.raises(ValueError, match=f'{name}.*is damaged'):
        read_features(out)
    with pytest.raises(FileNotFoundError, match='no features at'):
        read_features(tmp_path / 'absent')


@pytest.mark.parametrize('options, message', [
    (dict(dtype='float64'), "dtype must be one of float32, float16, got 'float64'"),
    (dict(num_workers=-1), 'got -1 and'), (dict(commit_s=-1), 'and -1')])
def test_arguments_out_of_range_are_refused(folder, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        extract_to_files(small(Means()), folder, tmp_path / 'feats', **options)


def grown_by(folder: str, num_images: int, length: int) -> None:
    """Write the megabytes by which the process grew while it extracted."""
    torch.set_num_threads(1)
    embedder = small(Means(length), batch_size=256, resize_px=4, crop_px=4)
    extract_to_files(embedder, InMemory(256), Path(folder, 'warm'))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    extract_to_files(embedder, InMemory(num_images), Path(folder, 'feats.npz'))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    Path(folder, 'grown').write_text(str(grown))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_features(tmp_path):
    num_images, length = 3000, 10_000                               # 120 MB of features
    process = CONTEXT.Process(target=grown_by, args=(str(tmp_path), num_images, length))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert read_features(tmp_path / 'feats.npz').stages['pooled'].nbytes == num_images * length * 4
    assert float((tmp_path / 'grown').read_text()) < 40
