"""Files of a web server that fails now and then, of an S3 server, and of a store that only tests have."""

import pickle

import pytest
from hostile_server import HostileServer
from torch.utils.data import DataLoader, Dataset

from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import RemoteError, RemoteFolder, is_remote, remote

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def memory(stored):
    stored |= {'s3://test/a.bin': CONTENT, 's3://test/below/b.bin': b'bcd', 's3://other/c': b'c'}
    return RemoteFolder('s3://test/')


@pytest.fixture
def server(monkeypatch):
    pytest.importorskip('obstore')
    monkeypatch.setattr(remote, 'FIRST_WAIT_S', 0.01)
    with HostileServer() as server:
        server.files = {'/data/a.bin': CONTENT, '/data/below/b%20c.bin': b'bcd'}
        yield server
        remote._child.cache_clear()


class Ranges(Dataset):
    """Reads what it is asked for, ahead by batches."""

    def __init__(self, folder: RemoteFolder, wanted: list) -> None:
        self.folder, self.wanted = folder, wanted

    def __len__(self) -> int:
        return len(self.wanted)

    def __getitem__(self, index: int) -> bytes:
        return self.folder.read(*self.wanted[index])

    def __getitems__(self, indices: list[int]) -> list[bytes]:
        self.folder.read_ahead(self.wanted[index] for index in indices)
        assert len(self.folder._coming) == len(indices)
        return [self[index] for index in indices]


def test_addresses_are_told_from_paths():
    assert all(map(is_remote, ('s3://b/x', 'gs://b', 'http://h/x', 'https://h')))
    assert not any(map(is_remote, ('data', '/data', 'C:/data', 's3:/b', 'hdfs://h/x')))


def test_a_store_has_sizes_and_ranges(memory):
    assert memory.sizes() == {'a.bin': len(CONTENT), 'below/b.bin': 3}
    assert memory.read('a.bin', 300, 7) == CONTENT[300:307] and memory.read('below/b.bin') == b'bcd'
    with pytest.raises(MissingFileError, match='s3://test/c'):
        memory.read('c')
    with pytest.raises(MissingFileError, match=r'b\.bin ends before 6 bytes'):
        memory.read('below/b.bin', 1, 5)
    assert pickle.loads(pickle.dumps(memory)).read('a.bin', 1, 1) == CONTENT[1:2]


def test_ranges_are_kept_on_disk_up_to_the_bound(memory, stored, tmp_path, monkeypatch):
    monkeypatch.setenv('MMSIMCLR_DATA_CACHE', str(tmp_path))
    monkeypatch.setenv('MMSIMCLR_DATA_CACHE_GB', str(1000 / 1e9))
    memory.keep(memory.sizes())
    assert memory.read('a.bin', 900, 100) == CONTENT[900:1000]
    assert memory.read('a.bin', 901, 100) == CONTENT[901:1001]                  # one byte beyond the bound
    assert memory.read('below/b.bin') == b'bcd'                                 # behind a.bin
    kept = [path for path in tmp_path.rglob('*') if path.is_file()]
    assert [path.read_bytes() for path in kept] == [CONTENT[900:1000]]
    stored['s3://test/a.bin'] = b''                                         # which nothing asks for now
    assert memory.read('a.bin', 900, 100) == CONTENT[900:1000]
    with pytest.raises(MissingFileError):
        memory.read('a.bin', 901, 100)
    other = RemoteFolder('s3://test')
    other.keep(memory.sizes(), version='another')
    with pytest.raises(MissingFileError):
        other.read('a.bin', 900, 100)
    kept[0].write_bytes(b'short')                                               # a damaged one is not taken
    with pytest.raises(MissingFileError):
        memory.read('a.bin', 900, 100)


@pytest.mark.slow
def test_a_web_server_that_fails_now_and_then_is_asked_again(server):
    folder = RemoteFolder(f'{server.address}/data')
    server.statuses, server.cut_after = [503, 500, 503, 502], [20]
    assert folder.read('a.bin', 300, 100) == CONTENT[300:400]
    assert set(server.seen_ranges) <= {'bytes=300-399', 'bytes=320-399'} and len(server.seen_ranges) > 4
    assert folder.read('below/b c.bin') == b'bcd' and folder.read('a.bin') == CONTENT
    with pytest.raises(MissingFileError, match=rf'{server.address}/data/gone\.bin'):
        folder.read('gone.bin', 0, 5)
    with pytest.raises(InputError, match='does not list'):
        folder.sizes()
    server.status = 403
    with pytest.raises(RemoteError, match=rf'a\.bin could not be read in {remote.ATTEMPTS} attempts'):
        folder.read('a.bin', 0, 5)
    assert not isinstance(RemoteError('x'), OSError)            # which would count as a bad image


@pytest.mark.slow
def test_processes_of_a_loader_read_ahead_also_after_the_run_has_read(server):
    """The library's threads do not live on in forked processes, so the run itself must not have any."""
    folder = RemoteFolder(f'{server.address}/data')
    assert folder.read('a.bin', 0, 2) == CONTENT[:2]
    server.statuses = [503] * 3
    wanted = [('a.bin', 7 * number, 50) for number in range(30)]
    loader = DataLoader(Ranges(folder, wanted), 5, num_workers=2, collate_fn=list, timeout=60)
    found = [part for batch in loader for part in batch]
    assert found == [CONTENT[start:start + length] for _, start, length in wanted]
    assert folder.read('a.bin', 1, 2) == CONTENT[1:3]


@pytest.mark.slow
def test_an_s3_bucket_is_listed_and_read(monkeypatch):
    pytest.importorskip('obstore')
    boto3 = pytest.importorskip('boto3')
    server = pytest.importorskip('moto.server').ThreadedMotoServer('127.0.0.1', port=0)
    for name, value in dict(AWS_ACCESS_KEY_ID='key', AWS_SECRET_ACCESS_KEY='secret',
                            AWS_DEFAULT_REGION='us-east-1', AWS_REGION='us-east-1').items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv('AWS_ENDPOINT_URL', f'http://{host}:{port}')
        client = boto3.client('s3', endpoint_url=f'http://{host}:{port}')
        client.create_bucket(Bucket='images')
        for name, content in (('run/a.bin', CONTENT), ('run/below/b.bin', b'bcd'), ('other/c', b'c')):
            client.put_object(Bucket='images', Key=name, Body=content)
        folder = RemoteFolder('s3://images/run')
        assert folder.sizes() == {'a.bin': len(CONTENT), 'below/b.bin': 3}
        assert folder.read('a.bin', 300, 100) == CONTENT[300:400] and folder.read('below/b.bin') == b'bcd'
        with pytest.raises(MissingFileError, match='s3://images/run/c'):
            folder.read('c', 0, 1)
    finally:
        server.stop()
        remote._child.cache_clear()
