"""CIFAR-10 from folders, archives and an address: verified, and refused by name where it is wrong."""

import functools
import hashlib
import os
import shutil
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tiny_cifar10 import NAMES, TinyCIFAR10

from mmsimclr.files import DownloadError
from mmsimclr.prepare import cifar10 as preparation
from mmsimclr.prepare.cifar10 import prepare_cifar10

LAYOUTS = [('write_binary', 'cifar-10-batches-bin'), ('write_pickled', 'cifar-10-batches-py')]


@pytest.fixture
def tiny(monkeypatch):
    tiny = TinyCIFAR10()
    tiny.make_official(monkeypatch)
    return tiny


@pytest.fixture
def said():
    """Collect the lines of the report."""
    return []


@pytest.fixture
def web(tiny, tmp_path, monkeypatch):
    """Serve a folder on the loopback; its archive is taken for the official one."""
    folder = tmp_path / 'web'
    folder.mkdir()
    archive = _tar(tiny.write_binary(tmp_path / 'made' / 'cifar-10-batches-bin'),
                   folder / 'cifar-10-binary.tar.gz')
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setattr(preparation, 'OFFICIAL_BYTES', archive.stat().st_size)
    monkeypatch.setattr(preparation, 'OFFICIAL_MD5', hashlib.md5(archive.read_bytes()).hexdigest())

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/cifar-10-binary.tar.gz', archive
    server.shutdown()
    server.server_close()


def _tar(folder, archive):
    with tarfile.open(archive, 'w:gz') as tar:
        tar.add(folder, arcname=folder.name)
    return archive


def _assert_complete(root, tiny):
    folder = root / 'cifar-10-batches-bin'
    for name in NAMES:
        assert (folder / f'{name}.bin').read_bytes() == tiny.binary(name)
    assert {entry.name for entry in folder.iterdir()} == {
        'batches.meta.txt', *(f'{name}.bin' for name in NAMES)}
    assert not [entry.name for entry in root.iterdir() if entry.name.startswith('.')]


@pytest.mark.parametrize(('write', 'name'), LAYOUTS)
@pytest.mark.parametrize('form', ['folder', 'folder above', 'archive', 'folder with archive'])
def test_each_layout_is_taken_as_folder_and_as_archive(tiny, tmp_path, said, write, name, form):
    above = tmp_path / 'source'
    folder = getattr(tiny, write)(above / name)
    source = {'folder': folder, 'folder above': above}.get(form)
    if source is None:
        source = _tar(folder, above / 'cifar-10-any.tar.gz')
        shutil.rmtree(folder)
        source = source if form == 'archive' else above
    prepare_cifar10(tmp_path / 'root', str(source), report=said.append)
    _assert_complete(tmp_path / 'root', tiny)
    assert sum('the official one' in line for line in said) == 6


def test_second_run_finds_everything_verified_and_writes_nothing(tiny, tmp_path, said):
    source = tiny.write_binary(tmp_path / 'source')
    folder = prepare_cifar10(tmp_path / 'root', str(source), report=said.append)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    said.clear()
    prepare_cifar10(tmp_path / 'root', url='http://127.0.0.1:9/x', report=said.append)
    assert len(said) == 1 and str(folder) in said[0]
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_only_the_wrong_batch_is_replaced(tiny, tmp_path, said):
    source = tiny.write_pickled(tmp_path / 'source')
    folder = prepare_cifar10(tmp_path / 'root', str(source), report=said.append)
    os.truncate(folder / 'data_batch_3.bin', 99)
    said.clear()
    prepare_cifar10(tmp_path / 'root', str(source), report=said.append)
    _assert_complete(tmp_path / 'root', tiny)
    assert 'data_batch_3.bin' in said[0] and 'expected 73752 bytes, got 99' in said[0]
    assert [line for line in said if 'the official one' in line] == [
        line for line in said if line.startswith('data_batch_3.bin')]


@pytest.mark.parametrize(('write', 'wrong'), [
    ('write_binary', 'data_batch_4.bin'), ('write_pickled', 'data_batch_4')])
@pytest.mark.parametrize('damage', ['truncate', 'delete', 'garbage'])
def test_damaged_source_file_is_refused_by_name(tiny, tmp_path, said, write, wrong, damage):
    path = getattr(tiny, write)(tmp_path / 'source') / wrong
    if damage == 'truncate':
        os.truncate(path, path.stat().st_size // 2)
    elif damage == 'delete':
        path.unlink()
    else:
        path.write_bytes(b'garbage')
    with pytest.raises((ValueError, FileNotFoundError), match=wrong.replace('.', r'\.')):
        prepare_cifar10(tmp_path / 'root', str(path.parent), report=said.append)
    assert not (tmp_path / 'root' / 'cifar-10-batches-bin' / 'data_batch_4.bin').exists()


@pytest.mark.parametrize('change', ['label', 'pixel'])
@pytest.mark.parametrize('write', ['write_binary', 'write_pickled'])
def test_plausible_but_wrong_content_is_refused(tiny, tmp_path, said, write, change):
    other = TinyCIFAR10()
    if change == 'label':
        other.labels['test_batch'][5] = (other.labels['test_batch'][5] + 1) % 10
    else:
        other.images['test_batch'][5, 3, 1, 2] ^= 1
    source = getattr(other, write)(tmp_path / 'source')
    with pytest.raises(ValueError, match=r'test_batch(\.bin)? is truncated or wrong: expected md5'):
        prepare_cifar10(tmp_path / 'root', str(source), report=said.append)


def test_a_whole_layout_makes_up_for_a_damaged_one_beside_it(tiny, tmp_path, said):
    damaged = tiny.write_binary(tmp_path / 'source' / 'cifar-10-batches-bin')
    os.truncate(damaged / 'test_batch.bin', 5)
    tiny.write_pickled(tmp_path / 'source' / 'cifar-10-batches-py')
    prepare_cifar10(tmp_path / 'root', str(tmp_path / 'source'), report=said.append)
    _assert_complete(tmp_path / 'root', tiny)


def test_truncated_archive_is_refused_by_name(tiny, tmp_path, said):
    archive = _tar(tiny.write_binary(tmp_path / 'bin'), tmp_path / 'mine.tar.gz')
    os.truncate(archive, archive.stat().st_size // 2)
    size = archive.stat().st_size
    with pytest.raises(ValueError, match=rf'mine\.tar\.gz is truncated .*\({size} bytes\)'):
        prepare_cifar10(tmp_path / 'root', str(archive), report=said.append)
    assert not list((tmp_path / 'root').iterdir())


@pytest.mark.parametrize(('name', 'message'), [
    ('data_batch_1.bin', r'mine\.tar\.gz:data_batch_1\.bin .* got 5'),
    ('other', r'mine\.tar\.gz holds no CIFAR-10')])
def test_wrong_file_within_an_archive_is_named_with_its_archive(tiny, tmp_path, said, name, message):
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / name).write_bytes(b'short')
    archive = _tar(tmp_path / 'bin', tmp_path / 'mine.tar.gz')
    with pytest.raises(ValueError, match=message):
        prepare_cifar10(tmp_path / 'root', str(archive), report=said.append)


@pytest.mark.parametrize('source', ['empty', 'absent'])
def test_source_without_cifar10_says_what_was_looked_for(tiny, tmp_path, said, source):
    (tmp_path / 'empty').mkdir()
    expected = r'data_batch_1\.bin' if source == 'empty' else 'does not exist'
    with pytest.raises(FileNotFoundError, match=f'{source}.*{expected}'):
        prepare_cifar10(tmp_path / 'root', str(tmp_path / source), report=said.append)


@pytest.mark.parametrize('keep', [False, True])
def test_official_archive_is_downloaded_and_kept_only_on_request(tiny, tmp_path, said, web, keep):
    prepare_cifar10(tmp_path / 'root', 'official', url=web[0], keep_archive=keep, report=said.append)
    _assert_complete(tmp_path / 'root', tiny)
    assert (tmp_path / 'root' / 'cifar-10-binary.tar.gz').exists() is keep


def test_auto_goes_on_from_damaged_files_to_the_official_address(tiny, tmp_path, said, web):
    damaged = tiny.write_pickled(tmp_path / 'root' / 'cifar-10-batches-py')
    os.truncate(damaged / 'data_batch_2', 5)
    prepare_cifar10(tmp_path / 'root', url=web[0], report=said.append)
    _assert_complete(tmp_path / 'root', tiny)
    assert any('data_batch_2' in line for line in said)


def test_auto_prefers_what_is_already_there(tiny, tmp_path, said):
    tiny.write_pickled(tmp_path / 'root' / 'cifar-10-batches-py')
    prepare_cifar10(tmp_path / 'root', url='http://127.0.0.1:9/x', report=said.append)
    _assert_complete(tmp_path / 'root', tiny)


def test_a_wrong_official_file_is_refused_and_removed(tiny, tmp_path, said, web):
    url, archive = web
    content = bytearray(archive.read_bytes())
    content[50] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DownloadError, match='expected md5'):
        prepare_cifar10(tmp_path / 'root', url=url, report=said.append)
    assert not list((tmp_path / 'root').iterdir())


def test_an_address_without_the_archive_gives_the_reason_and_another_way(tiny, tmp_path, said, web):
    with pytest.raises(DownloadError, match=r'moved.* 404 .*--source'):
        prepare_cifar10(tmp_path / 'root', url=f'{web[0]}.moved', report=said.append)
