"""Shards and folders of images that are not on this machine, beside the same ones that are; a run from S3."""

import io
import os
import pickle

import numpy as np
import pytest
import torch
from hostile_server import HostileServer
from tiny_folder import write_folder
from tiny_run import tiny_config
from torch.utils.data import DataLoader

from mmsimclr.datasets import ReplaceUnreadable, UnlabeledImageFolder, WebDatasetShards, webdataset_shards
from mmsimclr.files import remote
from mmsimclr.prepare.shards import write_shards
from mmsimclr.runner import build_runner
from mmsimclr.transforms import LoadChannels


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Return a folder of images and one of their shards."""
    images, shards = (tmp_path_factory.mktemp(name) for name in ('images', 'shards'))
    write_folder(images, 24)
    write_shards(images, shards, images_per_shard=7, labels=True, report=lambda line: None)
    return images, shards


def contents(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def items(dataset) -> list[tuple]:
    return [(item['img'], item['sample_idx'], item.get('gt_label'), item['img_path'].split('/')[-2:])
            for item in map(dataset.get_data_info, range(len(dataset)))]


@pytest.fixture
def in_memory(folders, stored):
    for name, folder in zip(('images', 'shards'), folders, strict=True):
        for path, content in contents(folder).items():
            stored[f's3://tests/{name}/{path}'] = content
    return 's3://tests/images', 's3://tests/shards'


@pytest.mark.parametrize('split', ['all', 'train'])
def test_shards_elsewhere_have_the_items_of_those_here(folders, in_memory, split):
    here, there = (WebDatasetShards(str(root), split=split, held_out_share=0.9)
                   for root in (folders[1], in_memory[1]))
    assert items(there) == items(here) and (len(here) == 24) == (split == 'all')
    assert there.metainfo['classes'] == here.metainfo['classes'] == ('bird', 'cat')
    assert items(pickle.loads(pickle.dumps(there))) == items(here)


def test_shards_elsewhere_need_an_index_that_fits_them(in_memory, stored):
    stored[f'{in_memory[1]}/00001.tar'] = b'short'
    with pytest.raises(ValueError, match=r'00001\.tar has 5 bytes'):
        WebDatasetShards(in_memory[1])
    del stored[f'{in_memory[1]}/index.npz']
    with pytest.raises(FileNotFoundError, match=r'index\.npz: index the shards where they are'):
        WebDatasetShards(in_memory[1])


def test_a_folder_elsewhere_has_the_images_of_the_one_here(folders, in_memory, stored):
    for name in ('.hidden/1.png', 'notes.txt'):
        stored[f'{in_memory[0]}/{name}'] = b'x'
    here, there = UnlabeledImageFolder(str(folders[0])), UnlabeledImageFolder(in_memory[0])
    assert len(there) == len(here) == 24
    for place in range(24):
        item, path = there.get_data_info(place), here.get_data_info(place)['img_path']
        with open(path, 'rb') as file:
            assert item['img'] == file.read()
        assert os.path.relpath(path, folders[0]) == os.path.relpath(item['img_path'], in_memory[0])
    with pytest.raises(FileNotFoundError, match='s3://tests/none'):
        UnlabeledImageFolder('s3://tests/none')


def test_arrays_elsewhere_are_the_images_where_there_are_no_others(stored):
    file = io.BytesIO()
    np.save(file, np.zeros((4, 5), np.uint16))
    for name in ('b.npy', 'a/c.NPY', '.hidden/1.npy', 'notes.txt'):
        stored[f's3://tests/arrays/{name}'] = file.getvalue()
    found = UnlabeledImageFolder('s3://tests/arrays')
    assert [found.get_data_info(place)['img_path'][-7:] for place in range(len(found))] == [
        'a/c.NPY', 's/b.npy']
    assert LoadChannels(1)(found.get_data_info(1))['ori_shape'] == (4, 5)


def test_descriptors_of_shards_are_kept_and_bounded(folders, monkeypatch):
    opened, open_regular = [], webdataset_shards.open_regular

    def counted(path):
        opened.append(open_regular(path))
        return opened[-1]
    dataset = WebDatasetShards(str(folders[1]))
    want = items(dataset)
    fresh = WebDatasetShards(str(folders[1]))
    fresh.full_init()
    monkeypatch.setattr(webdataset_shards, 'open_regular', counted)
    assert items(fresh) == want == items(fresh) and len(opened) == 4        # once for each shard
    monkeypatch.setattr(webdataset_shards, 'MAX_OPEN', 2)
    few = WebDatasetShards(str(folders[1]))
    assert items(few) == want
    assert sum(not file.closed for file in opened[-4:]) == 2
    loader = DataLoader(fresh, 5, num_workers=2, collate_fn=list)
    assert [item['img'] for batch in loader for item in batch] == [item[0] for item in want]


@pytest.mark.slow
def test_a_web_server_that_fails_now_and_then_gives_every_image(folders, monkeypatch):
    pytest.importorskip('obstore')
    monkeypatch.setattr(remote, 'FIRST_WAIT_S', 0.01)
    with HostileServer() as server:
        server.files = {f'/{name}/{path}': content for name, folder in zip('is', folders, strict=True)
                        for path, content in contents(folder).items()}
        server.files['/i/files.txt'] = '\n'.join(f'./{path}' for path in contents(folders[0])).encode()
        server.statuses, server.cut_after = [503, 500], [100]
        images = UnlabeledImageFolder(f'{server.address}/i')
        here = UnlabeledImageFolder(str(folders[0]))
        assert [images._relative_path(i) for i in range(24)] == [here._relative_path(i) for i in range(24)]
        shards = ReplaceUnreadable(WebDatasetShards(f'{server.address}/s'), 0.1)
        server.statuses, server.cut_after = [503, 500, 502] * 3, [700] * 3
        loader = DataLoader(shards, 4, num_workers=2, collate_fn=list, timeout=60)
        assert [item['img'] for batch in loader for item in batch] == [
            item[0] for item in items(WebDatasetShards(str(folders[1])))]
        assert not shards.unreadable.any()                  # an outage is no fault of an image
    remote._child.cache_clear()


@pytest.mark.slow
def test_a_run_from_s3_is_the_run_from_disk(folders, tmp_path, monkeypatch):
    pytest.importorskip('obstore')
    boto3 = pytest.importorskip('boto3')
    server = pytest.importorskip('moto.server').ThreadedMotoServer('127.0.0.1', port=0)
    for name, value in dict(AWS_ACCESS_KEY_ID='key', AWS_SECRET_ACCESS_KEY='secret',
                            AWS_REGION='us-east-1', MMSIMCLR_DATA_CACHE=str(tmp_path / 'kept'),
                            MMSIMCLR_DATA_CACHE_GB='1').items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        address = 'http://{}:{}'.format(*server.get_host_and_port())
        monkeypatch.setenv('AWS_ENDPOINT_URL', address)
        client = boto3.client('s3', endpoint_url=address, region_name='us-east-1')
        client.create_bucket(Bucket='tests')
        for path, content in contents(folders[1]).items():
            client.put_object(Bucket='tests', Key=f'shards/{path}', Body=content)
        weights = []
        for name, root in (('disk', str(folders[1])), ('s3', 's3://tests/shards')):
            config = tiny_config(tmp_path / name)
            loader = config.train_dataloader
            loader.update(num_workers=2, persistent_workers=True)
            loader.dataset = dict(type='WebDatasetShards', data_root=root, pipeline=[
                dict(type='LoadImage'), *loader.dataset.pipeline])
            runner = build_runner(config)
            runner.train()
            assert runner.iter == 3
            weights.append(runner.model.state_dict())
        for name, value in weights[0].items():
            assert torch.equal(value, weights[1][name]), name
        assert len([path for path in (tmp_path / 'kept').rglob('*-*') if path.is_file()]) == 24
    finally:
        server.stop()
        remote._child.cache_clear()
