import tarfile

import pytest
from tiny_folder import write_folder

from mmsimclr.datasets import WebDatasetShards
from mmsimclr.prepare.shards import write_shards


@pytest.fixture
def images(tmp_path):
    write_folder(tmp_path / 'images')
    return tmp_path / 'images'


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != '.npz'}


def write(images, out, **arguments):
    lines = []
    write_shards(images, out, **{'images_per_shard': 4, **arguments}, report=lines.append)
    return lines


def test_shards_are_as_large_as_asked_and_named_by_number(images, tmp_path):
    lines = write(images, tmp_path / 'out', labels=True)
    assert [line[-8] for line in lines] == ['4', '4', '3'] and lines[2].startswith('00002.tar')
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        '00000.tar', '00001.tar', '00002.tar', 'classes.txt', 'index.npz']
    with tarfile.open(tmp_path / 'out' / '00001.tar') as tar:
        assert [name.rsplit('.')[0] for name in tar.getnames()] == [
            f'00000000{i}' for i in range(4, 8) for _ in range(2)]


def test_the_order_is_shuffled_by_the_seed_and_by_it_alone(images, tmp_path):
    for out, seed in (('a', 0), ('b', 0), ('c', 1)):
        write(images, tmp_path / out, seed=seed)
    assert contents(tmp_path / 'a') == contents(tmp_path / 'b') != contents(tmp_path / 'c')
    found = [WebDatasetShards(str(tmp_path / out)) for out in 'ac']
    in_order = [path.read_bytes() for path in sorted(images.rglob('*.*'))]
    orders = [[in_order.index(dataset[i]['img']) for i in range(11)] for dataset in found]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(11))
    assert orders[0] != orders[1] and list(range(11)) not in orders


def test_without_labels_images_of_any_depth_have_no_class(images, tmp_path):
    (images / 'loose.jpg').write_bytes((images / 'bird' / '0.JPG').read_bytes())
    write(images, tmp_path / 'out')
    dataset = WebDatasetShards(str(tmp_path / 'out'))
    assert len(dataset) == 12 and all('gt_label' not in dataset[i] for i in range(12))
    assert not (tmp_path / 'out' / 'classes.txt').exists()
    with pytest.raises(ValueError, match=r'loose\.jpg lies in no class folder'):
        write(images, tmp_path / 'labelled', labels=True)


def test_an_interrupted_call_goes_on_and_ends_as_an_uninterrupted_one(images, tmp_path):
    def interrupt(line):
        if line.startswith('00001'):
            raise KeyboardInterrupt
    write(images, tmp_path / 'whole')
    out = tmp_path / 'out'
    with pytest.raises(KeyboardInterrupt):
        write_shards(images, out, 4, report=interrupt)
    (out / '.00002.tar.part').write_bytes(b'half of it')
    before = (out / '00000.tar').stat().st_mtime_ns
    assert write(images, out) == ['00000.tar: there already, 4 images', '00001.tar: there already, 4 images',
                                  '00002.tar: written, 3 images']
    assert contents(out) == contents(tmp_path / 'whole')
    assert (out / '00000.tar').stat().st_mtime_ns == before


@pytest.mark.parametrize('change', [dict(seed=1), dict(labels=True)])
def test_shards_of_other_settings_are_not_taken_for_these(images, tmp_path, change):
    write(images, tmp_path / 'out')
    with pytest.raises(ValueError, match=r'00000\.tar is not what these images and settings give'):
        write(images, tmp_path / 'out', **change)


def test_a_damaged_shard_is_not_taken_for_a_whole_one(images, tmp_path):
    write(images, tmp_path / 'out')
    path = tmp_path / 'out' / '00001.tar'
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(ValueError, match=r'00001\.tar is not what'):
        write(images, tmp_path / 'out')
    path.unlink()
    assert write(images, tmp_path / 'out')[1] == '00001.tar: written, 4 images'


def test_shards_of_another_run_beside_these_are_an_error(images, tmp_path):
    write(images, tmp_path / 'out')
    with pytest.raises(ValueError, match=r'holds other shards, such as 00001\.tar; write to an empty'):
        write(images, tmp_path / 'out', images_per_shard=100)


def test_an_image_that_cannot_be_opened_is_named_and_leaves_no_shard(images, tmp_path):
    (images / 'cat' / '4.JPG').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'cannot read image .*cat/4\.JPG; remove or replace it'):
        write(images, tmp_path / 'out', images_per_shard=100)
    assert not list((tmp_path / 'out').glob('*.tar'))


def test_what_the_disk_does_not_keep_is_noticed(images, tmp_path, monkeypatch):
    original = tarfile.TarFile.extractfile

    def rot(self, member):
        file = original(self, member)
        file.read(1)
        return file
    monkeypatch.setattr(tarfile.TarFile, 'extractfile', rot)
    with pytest.raises(ValueError, match='does not hold what was written to it'):
        write(images, tmp_path / 'out')
    assert not list((tmp_path / 'out').glob('[0-9]*.tar'))


def test_a_shard_of_no_images_is_refused(images, tmp_path):
    with pytest.raises(ValueError, match='images_per_shard must be an integer >= 1, got 0'):
        write(images, tmp_path / 'out', images_per_shard=0)
