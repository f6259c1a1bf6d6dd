import copy
import io
import os
import pickle
import shutil
import tarfile

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler
from tiny_folder import write_folder
from torch.utils.data import DataLoader

from mmsimclr.datasets import WebDatasetShards, unlabeled_image_folder
from mmsimclr.datasets.webdataset_shards import scan_shards
from mmsimclr.engine import SampleIndex, SeededSampler
from mmsimclr.prepare.shards import write_shards
from mmsimclr.registry import DATASETS
from mmsimclr.transforms import LoadImage, read_image


def quiet(line):
    pass


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('images')
    return root, write_folder(root)


@pytest.fixture(scope='module')
def original(tmp_path_factory, folder):
    out = tmp_path_factory.mktemp('shards')
    write_shards(folder[0], out, images_per_shard=4, labels=True, report=quiet)
    return out


@pytest.fixture
def shards(tmp_path, original):
    return shutil.copytree(original, tmp_path / 'shards')


def place_of(item):
    return int(item['sample_idx'])


def add(tar, name, content=b'x'):
    header = tarfile.TarInfo(name)
    header.size = len(content)
    tar.addfile(header, io.BytesIO(content))


def test_every_image_is_there_once_byte_by_byte_with_its_class(folder, shards):
    dataset = DATASETS.build(dict(type='WebDatasetShards', data_root=str(shards)))
    items = [dataset[i] for i in range(len(dataset))]
    assert {item['img']: item['gt_label'] for item in items} == {
        content: label for content, (_, label) in folder[1].items()}
    assert len(dataset) == 11 and dataset.metainfo['classes'] == ('bird', 'cat')
    assert dataset.get_gt_labels().tolist() == [item['gt_label'] for item in items]
    assert dataset.get_cat_ids(3) == [items[3]['gt_label']]
    assert items[5]['img_path'] == f'{shards}/00001.tar/000000005{items[5]["img_path"][-4:]}'


def test_load_image_decodes_an_item_as_its_file(folder, shards):
    dataset = WebDatasetShards(str(shards), pipeline=[LoadImage()])
    raw = WebDatasetShards(str(shards))
    for i in range(len(dataset)):
        name, _ = folder[1][raw[i]['img']]
        assert np.array_equal(dataset[i]['img'], read_image(folder[0] / name))


def test_a_damaged_image_is_named_by_shard_and_member(shards):
    dataset = WebDatasetShards(str(shards))
    item = dataset.get_data_info(0)
    with pytest.raises(OSError, match=r'00000.tar/000000000\.(jpg|png)'):
        LoadImage()({**item, 'img': item['img'][:40]})


def test_an_item_carries_the_very_index_object_and_negative_ones_count_from_the_end(shards):
    dataset = WebDatasetShards(str(shards))
    index = SampleIndex(8, 1, 2)
    assert dataset[index]['sample_idx'] is index
    assert dataset[-1]['img'] == dataset[10]['img'] and dataset[-1]['sample_idx'] == 10
    for beyond in (11, -12):
        with pytest.raises(IndexError):
            dataset[beyond]


@pytest.mark.parametrize('num_workers', [0, 2])
@pytest.mark.parametrize('world_size', [1, 3])
def test_an_epoch_over_ranks_and_workers_holds_each_image_once(shards, world_size, num_workers):
    dataset = WebDatasetShards(str(shards), pipeline=[place_of])
    seen = []
    for rank in range(world_size):
        sampler = SeededSampler(dataset, shuffle=True, seed=5)
        sampler.rank, sampler.world_size = rank, world_size
        sampler.num_samples = -(-len(dataset) // world_size)
        sampler.total_size = sampler.num_samples * world_size
        sampler.set_epoch(2)
        seen.append([place for batch in DataLoader(dataset, 2, sampler=sampler, num_workers=num_workers)
                     for place in batch.tolist()])
    assert len({len(places) for places in seen}) == 1
    # In the order drawn: rank 0's first, rank 1's first, ... What comes after all images is padding.
    order = [place for places in zip(*seen, strict=True) for place in places]
    assert sorted(order[:11]) == list(range(11)) and order[:11] != list(range(11))
    assert len(order) - 11 < world_size and order[11:] == order[:len(order) - 11]


def test_with_drop_last_all_ranks_have_as_many_batches_and_no_image_twice_unless_they_divide(shards):
    dataset = WebDatasetShards(str(shards), pipeline=[place_of])
    batches = []
    for rank in range(2):
        sampler = DefaultSampler(dataset, shuffle=True, seed=5)
        sampler.rank, sampler.world_size, sampler.num_samples, sampler.total_size = rank, 2, 6, 12
        batches.append([batch.tolist() for batch in DataLoader(dataset, 4, sampler=sampler, drop_last=True)])
    places = [place for rank in batches for batch in rank for place in batch]
    assert [len(rank) for rank in batches] == [1, 1]
    assert len(set(places)) == 8


def test_webdataset_reads_the_shards(folder, shards):
    webdataset = pytest.importorskip('webdataset', reason='webdataset is not installed')
    urls = sorted(str(path) for path in shards.glob('*.tar'))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    found = {sample.get('jpg', sample.get('png')): int(sample['cls']) for sample in samples}
    assert found == {content: label for content, (_, label) in folder[1].items()}
    assert [sample['__key__'] for sample in samples] == [f'{i:09d}' for i in range(11)]


def test_shards_that_webdataset_wrote_are_read(folder, tmp_path):
    webdataset = pytest.importorskip('webdataset', reason='webdataset is not installed')
    with webdataset.ShardWriter(str(tmp_path / 'w-%06d.tar'), maxcount=4, verbose=0) as writer:
        for number, (content, (_, label)) in enumerate(folder[1].items()):
            writer.write({'__key__': f'sample{number:03d}', 'jpg': content, 'cls': label, 'json': {'a': 1}})
    dataset = WebDatasetShards(str(tmp_path))
    assert [(item['img'], item['gt_label']) for item in map(dataset.get_data_info, range(11))] == [
        (content, label) for content, (_, label) in folder[1].items()]


def test_without_an_index_the_headers_are_read_and_without_classes_there_are_none(shards):
    indexed = WebDatasetShards(str(shards))
    (shards / 'index.npz').unlink()
    (shards / 'classes.txt').unlink()
    scanned = WebDatasetShards(str(shards))
    assert [scanned[i] for i in range(11)] == [indexed[i] for i in range(11)]
    assert 'classes' not in scanned.metainfo
    assert not (shards / 'index.npz').exists()


def test_other_members_and_folders_are_passed_over_and_labels_are_optional(tmp_path):
    with tarfile.open(tmp_path / 'a.tar', 'w') as tar:
        for name in ('n01/img.1.seg.png', 'n01/img_1.json', 'n01/img_1.JPEG', 'README', 'n01/img_2.txt'):
            add(tar, name, name.encode())
    dataset = WebDatasetShards(str(tmp_path))
    assert [dataset[i] for i in range(len(dataset))] == [
        {'img': b'n01/img_1.JPEG', 'img_path': f'{tmp_path}/a.tar/n01/img_1.JPEG', 'sample_idx': 0}]
    assert dataset.get_gt_labels().tolist() == [-1]


def test_long_names_and_empty_images_have_the_right_place(tmp_path):
    with tarfile.open(tmp_path / 'a.tar', 'w', format=tarfile.PAX_FORMAT) as tar:
        add(tar, f'{"x" * 300}/a.jpg', b'first')
        add(tar, 'b.jpg', b'')
        add(tar, 'c.jpg', b'third' * 200)
    dataset = WebDatasetShards(str(tmp_path))
    assert [dataset[i]['img'] for i in range(3)] == [b'first', b'', b'third' * 200]


@pytest.mark.parametrize('subset', [3, -3, [4, 0, 9]])
def test_subsets(shards, subset):
    whole = WebDatasetShards(str(shards))
    places = range(11)[subset] if isinstance(subset, slice) else (
        subset if isinstance(subset, list) else (range(11)[:subset] if subset > 0 else range(11)[subset:]))
    expected = [whole[i]['img'] for i in places]
    shrunk = copy.deepcopy(whole)
    shrunk.get_subset_(subset)
    for dataset in (WebDatasetShards(str(shards), indices=subset), whole.get_subset(subset), shrunk,
                    pickle.loads(pickle.dumps(shrunk))):
        assert [dataset[i]['img'] for i in range(len(dataset))] == expected
    assert len(whole) == 11


def test_lazy_init_reads_at_first_use(shards):
    dataset = WebDatasetShards(str(shards / 'nowhere'), lazy_init=True)
    with pytest.raises(FileNotFoundError, match='nowhere is not a folder'):
        len(dataset)


def test_a_missing_shard_is_an_error_that_names_it(shards):
    (shards / '00001.tar').unlink()
    with pytest.raises(ValueError, match=r'00001\.tar has no bytes, and \d+ in index\.npz; bring the'):
        WebDatasetShards(str(shards))


def test_a_new_shard_is_an_error_until_it_is_indexed(shards):
    shutil.copy(shards / '00000.tar', shards / '00003.tar')
    with pytest.raises(ValueError, match=r'00003\.tar has \d+ bytes, and no in index\.npz; .*index again'):
        WebDatasetShards(str(shards))
    scan_shards(shards).write(shards)
    assert len(WebDatasetShards(str(shards))) == 15


@pytest.mark.parametrize('keep', [700, 512 * 3, -512 * 21])
@pytest.mark.parametrize('indexed', [True, False])
def test_a_truncated_shard_is_an_error_with_or_without_an_index(shards, keep, indexed):
    content = (shards / '00000.tar').read_bytes()
    (shards / '00000.tar').write_bytes(content[:keep])
    if not indexed:
        (shards / 'index.npz').unlink()
    with pytest.raises(ValueError, match=r'00000\.tar (has \d+ bytes, and|is truncated|is not a whole)'):
        WebDatasetShards(str(shards))


def test_a_shard_cut_after_a_member_is_an_error(shards):
    with tarfile.open(shards / '00000.tar') as tar:
        third = tar.getmembers()[2]
    (shards / '00000.tar').write_bytes((shards / '00000.tar').read_bytes()[:third.offset])
    with pytest.raises(ValueError, match=r'00000\.tar is truncated or damaged'):
        scan_shards(shards)


def write_in_place(path, offset, content, as_before):
    times = path.stat()
    with path.open('r+b') as file:
        file.seek(offset)
        file.write(content)
    after = times.st_mtime_ns + (0 if as_before else 1000)
    os.utime(path, ns=(times.st_atime_ns, after))


@pytest.mark.parametrize('index', ['of today', 'without times', 'copied'])
def test_a_label_that_was_corrected_after_the_index_was_written_counts(shards, index):
    with tarfile.open(shards / '00001.tar') as tar:
        member = next(each for each in tar if each.name.endswith('.cls'))
        old = int(tar.extractfile(member).read())
    if index == 'without times':
        arrays = dict(np.load(shards / 'index.npz'))
        del arrays['times']
        np.savez(shards / 'index.npz', **arrays)
    elif index == 'copied':
        shards = shutil.copytree(shards, shards.with_name('copy'), copy_function=shutil.copyfile)
    before = WebDatasetShards(str(shards)).get_gt_labels()
    write_in_place(shards / '00001.tar', member.offset_data, b'%d' % (1 - old), as_before=False)
    after = WebDatasetShards(str(shards)).get_gt_labels()
    changed, = np.flatnonzero(before != after)
    assert (before[changed], after[changed]) == (old, 1 - old)


def test_a_damaged_header_is_an_error_when_scanned_and_when_read(shards):
    with tarfile.open(shards / '00000.tar') as tar:
        second = tar.getmembers()[2]
    write_in_place(shards / '00000.tar', second.offset, b'?' * 100, as_before=True)
    dataset = WebDatasetShards(str(shards))                     # of the size that was indexed
    assert len(dataset[0]['img'])
    with pytest.raises(ValueError, match=r'00000\.tar is damaged or another than when it was indexed'):
        dataset[1]
    with pytest.raises(ValueError, match=r'00000\.tar is truncated or damaged: after \d+ bytes neither'):
        scan_shards(shards)


def test_a_shard_cut_while_training_is_an_error(shards):
    dataset = WebDatasetShards(str(shards))
    (shards / '00002.tar').write_bytes((shards / '00002.tar').read_bytes()[:900])
    with pytest.raises(ValueError, match=r'00002\.tar is damaged or another'):
        dataset[8]


@pytest.mark.parametrize(('members', 'message'), [
    (['a.jpg', 'a.png'], "the sample 'a' has two images"), (['a.txt'], 'holds no image'),
    ([], 'holds no image'),
    (['a.jpg', 'a.cls'], r"a\.tar: the class of 'a' is no number .*b'x'")])
def test_shards_that_make_no_sense_are_errors(tmp_path, members, message):
    with tarfile.open(tmp_path / 'a.tar', 'w') as tar:
        for name in members:
            add(tar, name)
    with pytest.raises(ValueError, match=message):
        WebDatasetShards(str(tmp_path))


def test_files_that_are_no_tar_are_errors(tmp_path):
    for content in (b'', b'not a tar' * 200):
        (tmp_path / 'a.tar').write_bytes(content)
        with pytest.raises(ValueError, match=r'a\.tar is not a whole, uncompressed tar file'):
            WebDatasetShards(str(tmp_path))


def test_compressed_shards_and_empty_folders_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no \.tar shards in .*; to make them'):
        WebDatasetShards(str(tmp_path))
    with tarfile.open(tmp_path / 'a.tar.gz', 'w:gz') as tar:
        add(tar, 'a.jpg')
    with pytest.raises(FileNotFoundError, match=r'unpack them to \.tar'):
        WebDatasetShards(str(tmp_path))
    (tmp_path / 'a.tar.gz').rename(tmp_path / 'a.tar')
    with pytest.raises(ValueError, match='not a whole, uncompressed tar'):
        WebDatasetShards(str(tmp_path))


def test_a_damaged_index_is_an_error_that_says_how_to_mend_it(shards):
    for content in (b'', (shards / 'index.npz').read_bytes()[:-30], b'PK not a zip'):
        (shards / 'index.npz').write_bytes(content)
        with pytest.raises(ValueError, match=r'index\.npz .*damaged.*prepare shards index'):
            WebDatasetShards(str(shards))


def test_held_out_images_and_the_others_are_all_of_them_and_the_split_stays(shards, monkeypatch):
    monkeypatch.setattr(unlabeled_image_folder, 'MIN_HELD_OUT', 2)

    def names(split, share=0.5):
        data = WebDatasetShards(str(shards), split=split, held_out_share=share)
        return [data.get_data_info(index)['img_path'] for index in range(len(data))]

    train, held_out = names('train'), names('held_out')
    assert len(held_out) >= 2 and train and sorted(train + held_out) == sorted(names('all'))
    assert set(held_out) < set(names('held_out', 0.9))
    assert names('held_out', 0.001) == [] and names('train', 0.001) == names('all')
