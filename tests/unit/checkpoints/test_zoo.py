"""Fetching weights: a server that misbehaves, mirrors, a damaged cache, no network; the user's settings."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hostile_server import HostileServer
from tiny_zoo import TinyZoo

from mmsimclr import files
from mmsimclr.checkpoints import CheckpointError, find_checkpoint
from mmsimclr.checkpoints.zoo import (
    FetchError,
    cache_folder,
    configured_mirrors,
    fetch_model,
    fetch_url,
    verify_file,
)
from mmsimclr.errors import InputError

CONTENT = bytes(range(256)) * 1000
GONE = 'http://127.0.0.1:9'


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with HostileServer(CONTENT) as server:
        yield server


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Use an empty cache, no mirrors, and no waiting between attempts."""
    for name in ('MMSIMCLR_MIRRORS', 'MMSIMCLR_OFFLINE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('MMSIMCLR_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path / 'settings'))
    monkeypatch.setattr(time, 'sleep', lambda seconds: None)
    return tmp_path / 'cache'


@pytest.fixture
def tiny(server, cache, tmp_path, quickstart_config):
    """Publish a file on two hosts: one that is gone, and the server."""
    with TinyZoo(tmp_path, CONTENT, [GONE, server.address], quickstart_config).in_use() as zoo:
        server.files = {f'/{zoo.published_path}': CONTENT}
        yield zoo


@pytest.fixture
def once(monkeypatch):
    """Have each address tried once."""
    monkeypatch.setattr(files, 'download', partial(files.download, attempts=1))


def names(folder):
    return sorted(path.name for path in folder.rglob('*')) if folder.exists() else []


def test_second_host_serves_when_the_first_is_gone_and_the_cache_thereafter(tiny, server, cache):
    path = fetch_model('tiny')
    assert path == cache / tiny.file_name and path.read_bytes() == CONTENT
    assert names(cache) == [tiny.file_name]
    assert fetch_model('tiny') == path
    assert server.seen_paths == [f'/{tiny.published_path}']


def test_a_model_without_weights_and_an_unknown_one_are_refused(tiny):
    with pytest.raises(CheckpointError, match=r'tiny-untrained.*: tiny$'):
        fetch_model('tiny-untrained')
    with pytest.raises(CheckpointError, match=r"'tinny'.*did you mean 'tiny'"):
        fetch_model('tinny')


@pytest.mark.parametrize('fault', ['truncates', 'dies midway', 'is busy', 'truncates without ranges'])
def test_a_server_that_recovers_is_asked_again(tiny, server, cache, fault):
    if fault == 'is busy':
        server.statuses = [503, 500]
    elif fault == 'dies midway':
        server.cut_after = [100_000, 0]
    else:
        server.cut_after = [100_000]
    server.ranges = 'without' not in fault
    assert fetch_model('tiny').read_bytes() == CONTENT
    assert names(cache) == [tiny.file_name]
    resumed = 'bytes=100000-' if 'busy' not in fault else None
    assert server.seen_ranges[1] == resumed
    assert server.bytes_sent == len(CONTENT) + (100_000 if 'without' in fault else 0)


def test_a_later_call_goes_on_where_a_failed_one_broke_off(tiny, server, cache, once):
    server.cut_after = [100_000]
    with pytest.raises(FetchError, match=r'after 100000 of 256000 bytes'):
        fetch_model('tiny')
    assert tiny.file_name not in names(cache)
    assert fetch_model('tiny').read_bytes() == CONTENT
    assert server.bytes_sent == len(CONTENT)


def test_when_all_fail_the_message_tells_each_reason_and_the_remedy(
        tiny, server, cache, tmp_path, monkeypatch, once):
    wrong, missing = tmp_path / 'wrong', tmp_path / 'missing'
    wrong.mkdir()
    (wrong / tiny.file_name).write_bytes(b'<html>log in</html>')
    monkeypatch.setenv('MMSIMCLR_MIRRORS', f'{wrong}, {missing},')
    server.status = 500
    with pytest.raises(FetchError) as caught:
        fetch_model('tiny')
    _, *tried, remedy = str(caught.value).splitlines()
    digest = tiny.file_name[-12:-4]
    expected = [(f'{wrong}/{tiny.file_name}', f'expected sha256 {digest}, got '),
                (f'{wrong}/{tiny.published_path}', 'no such file'),
                (f'{missing}/{tiny.file_name}', 'no such file'),
                (f'{missing}/{tiny.published_path}', 'no such file'),
                (f'{GONE}/{tiny.published_path}', 'cannot connect'),
                (f'{server.address}/{tiny.published_path}', 'the server answered 500')]
    for line, (place, reason) in zip(tried, expected, strict=True):
        assert line.strip().startswith(place) and reason in line
    for fact in (digest, str(cache / tiny.file_name), 'MMSIMCLR_MIRRORS'):
        assert fact in remedy
    assert names(cache) == []


def test_a_wrong_file_never_gets_the_name(tiny, server, cache):
    server.files = None
    server.content = b'<html>log in</html>'
    with pytest.raises(FetchError, match=r'sent a wrong file: expected sha256 [0-9a-f]{8}, got'):
        fetch_model('tiny')
    assert names(cache) == []


@pytest.mark.parametrize('kind', ['folder', 'file://', 'http://'])
@pytest.mark.parametrize('layout', ['side by side', 'as published'])
@pytest.mark.parametrize('by', ['argument', 'environment'])
def test_a_mirror_is_asked_before_the_published_hosts(
        tiny, server, cache, tmp_path, monkeypatch, kind, layout, by):
    path = tiny.file_name if layout == 'side by side' else tiny.published_path
    server.files = {f'/base/{path}': CONTENT}
    held = tmp_path / 'a mirror' / path
    held.parent.mkdir(parents=True)
    held.write_bytes(CONTENT)
    mirror = {'folder': str(tmp_path / 'a mirror'), 'file://': (tmp_path / 'a mirror').as_uri(),
              'http://': f'{server.address}/base/'}[kind]
    if by == 'environment':
        monkeypatch.setenv('MMSIMCLR_MIRRORS', mirror)
    found = fetch_model('tiny', mirrors=[mirror] if by == 'argument' else ())
    assert found == (cache / tiny.file_name if kind == 'http://' else held)
    assert found.read_bytes() == CONTENT
    asked = {'side by side': [f'/base/{path}'], 'as published': [f'/base/{tiny.file_name}', f'/base/{path}']}
    assert server.seen_paths == (asked[layout] if kind == 'http://' else [])


def test_mirrors_are_asked_in_order_argument_environment(tiny, server, monkeypatch):
    monkeypatch.setenv('MMSIMCLR_MIRRORS', f'{server.address}/first,{server.address}/second')
    fetch_model('tiny', mirrors=[f'{server.address}/argument'])
    first = [path for path in server.seen_paths if path.count('/') == 2]
    places = ('argument', 'first', 'second')
    assert first == [f'/{place}/{tiny.file_name}' for place in places]


def test_a_mirror_that_does_not_answer_is_asked_once(tiny, server, once):
    server.status, before = 503, server.seen_paths
    with pytest.raises(FetchError):
        fetch_model('tiny', mirrors=[f'{server.address}/base'])
    assert before == [f'/base/{tiny.file_name}', f'/{tiny.published_path}']


def test_a_mirror_of_another_kind_is_refused(tiny):
    with pytest.raises(ValueError, match=r"http://, .*got 'ftp://a'"):
        fetch_model('tiny', mirrors=['ftp://a'])


def test_dest_gets_a_file_of_its_own(tiny, server, cache, tmp_path):
    mirror, dest = tmp_path / 'mirror', tmp_path / 'new' / 'dest'
    mirror.mkdir()
    (mirror / tiny.file_name).write_bytes(CONTENT)
    path = fetch_model('tiny', dest, mirrors=[mirror])
    assert path == dest / tiny.file_name and path.read_bytes() == CONTENT
    assert names(dest) == [tiny.file_name] and not cache.exists()
    path.unlink()
    assert fetch_model('tiny', dest).read_bytes() == CONTENT        # from the server this time
    assert len(server.seen_paths) == 1 and not cache.exists()


def test_a_damaged_file_in_the_cache_is_replaced(tiny, server, cache):
    cache.mkdir()
    (cache / tiny.file_name).write_bytes(CONTENT[:-1])
    assert fetch_model('tiny').read_bytes() == CONTENT


def test_offline_uses_cache_and_folders_and_asks_nobody(tiny, server, cache, tmp_path, monkeypatch):
    monkeypatch.setenv('MMSIMCLR_OFFLINE', '1')
    with pytest.raises(FetchError, match=f'{server.address}/.*MMSIMCLR_OFFLINE'):
        fetch_model('tiny', mirrors=[server.address])
    cache.mkdir()
    (cache / tiny.file_name).write_bytes(b'damaged')
    with pytest.raises(FetchError, match=f'{cache / tiny.file_name}.*expected sha256'):
        fetch_model('tiny')
    assert fetch_model('tiny', mirrors=[_folder(tmp_path, tiny)]).parent == tmp_path / 'folder'
    (cache / tiny.file_name).write_bytes(CONTENT)
    assert fetch_model('tiny') == cache / tiny.file_name
    assert server.seen_paths == []
    monkeypatch.setenv('MMSIMCLR_OFFLINE', '0')
    (cache / tiny.file_name).unlink()
    fetch_model('tiny')
    assert len(server.seen_paths) == 1


def _folder(tmp_path, tiny):
    folder = tmp_path / 'folder'
    folder.mkdir()
    (folder / tiny.file_name).write_bytes(CONTENT)
    return folder


@pytest.mark.parametrize('blocked', ['cache', 'dest'])
def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tiny, tmp_path, monkeypatch, blocked):
    (tmp_path / 'file').write_bytes(b'')
    folder = tmp_path / 'file' / 'below'
    monkeypatch.setenv('MMSIMCLR_CACHE', str(folder))
    with pytest.raises(FetchError, match=rf'{folder}/.*Not a directory.*MMSIMCLR_CACHE.*dest'):
        fetch_model('tiny', folder if blocked == 'dest' else None)
    if blocked == 'cache':                                  # what lies in a folder needs no cache
        fetch_model('tiny', mirrors=[_folder(tmp_path, tiny)])


def test_a_download_is_shown_and_the_cache_is_silent(tiny, cache, capsys):
    fetch_model('tiny')
    shown = capsys.readouterr().err
    assert tiny.file_name in shown and '100 %' in shown and '256k' in shown
    fetch_model('tiny')
    assert capsys.readouterr().err == ''


def test_an_encoder_by_its_models_name_shows_its_download(tiny, capsys):
    assert find_checkpoint('tiny').read_bytes() == CONTENT
    shown = capsys.readouterr().err
    assert tiny.file_name in shown and '100 %' in shown


def test_an_address_is_verified_by_the_hash_in_its_name(server, cache):
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert fetch_url(f'{server.address}/a-{digest[:8]}.pth?download=1') == cache / f'a-{digest[:8]}.pth'
    with pytest.raises(FetchError, match='expected sha256 0123abcd'):
        fetch_url(f'{server.address}/a-0123abcd.pth')


def test_files_of_one_name_from_two_addresses_are_kept_apart(server, cache):
    server.files = {'/a/checkpoint.pth': b'a', '/b/checkpoint.pth': b'b'}
    for _ in range(2):
        for name in 'ab':
            assert fetch_url(f'{server.address}/{name}/checkpoint.pth').read_bytes() == name.encode()
    assert server.seen_paths == ['/a/checkpoint.pth', '/b/checkpoint.pth']


def test_without_a_hash_no_mirror_is_trusted(server, cache, tmp_path, monkeypatch):
    (tmp_path / 'checkpoint.pth').write_bytes(b'another')
    monkeypatch.setenv('MMSIMCLR_MIRRORS', str(tmp_path))
    assert fetch_url(f'{server.address}/checkpoint.pth').read_bytes() == CONTENT


def test_a_file_address_is_used_where_it_lies(cache, tmp_path):
    for name in ('a file.pth', 'a-0123abcd.pth'):
        (tmp_path / name).write_bytes(CONTENT)
    assert fetch_url((tmp_path / 'a file.pth').as_uri()) == tmp_path / 'a file.pth'
    with pytest.raises(FetchError, match='expected sha256 0123abcd'):
        fetch_url((tmp_path / 'a-0123abcd.pth').as_uri())


@pytest.mark.parametrize(('url', 'message'), [
    ('ftp://a/b.pth', 'url must begin with'), ('http://a/', 'end in the name of a file'),
    ('http://a/b/..', 'end in the name of a file')])
def test_addresses_of_another_kind_are_refused(cache, url, message):
    with pytest.raises(ValueError, match=message):
        fetch_url(url)


def test_two_who_fetch_at_once_download_a_file_once_and_both_have_it(server, tmp_path, monkeypatch):
    """The lock is on an open file: it holds between threads as between processes."""
    monkeypatch.setenv('MMSIMCLR_CACHE', str(tmp_path / 'shared'))
    server.gate = threading.Event()
    url = f'{server.address}/a-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth'
    with ThreadPoolExecutor(2) as pool:
        fetched = [pool.submit(fetch_url, url) for _ in range(2)]
        deadline = time.monotonic() + 60
        while not server.bytes_sent:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
        threading.Event().wait(0.3)                         # the second is at the lock by now
        assert not any(one.done() for one in fetched)
        server.gate.set()
        paths = [one.result(timeout=60) for one in fetched]
    assert paths[0] == paths[1] and paths[0].read_bytes() == CONTENT
    assert server.bytes_sent == len(CONTENT) and len(server.seen_paths) == 1
    assert len(names(tmp_path / 'shared')) == 1


@pytest.mark.parametrize(('name', 'content', 'promised', 'verified', 'model'), [
    ('tiny_20260101', CONTENT, CONTENT, True, 'tiny'), ('renamed', CONTENT, None, True, 'tiny'),
    ('a', b'other', b'other', True, None), ('a', b'other', None, False, None),
    ('a', CONTENT, b'other', False, 'tiny'), ('tiny_20260101', CONTENT[:-1], CONTENT, False, None)])
def test_a_file_is_verified_by_its_name_and_by_the_zoo(
        tiny, tmp_path, name, content, promised, verified, model):
    ending = f'-{hashlib.sha256(promised).hexdigest()[:8]}' if promised else ''
    path = tmp_path / f'{name}{ending}.pth'
    path.write_bytes(content)
    found = verify_file(path)
    assert (found.verified, found.model) == (verified, model)
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    for fact in (str(path), found.sha256[:8], model or 'no file of the model zoo'):
        assert fact in found.message
    with pytest.raises(FileNotFoundError, match='absent'):
        verify_file(tmp_path / 'absent')


def test_the_cache_and_the_mirrors_are_where_the_variables_say(tmp_path, monkeypatch):
    for name in ('MMSIMCLR_MIRRORS', 'MMSIMCLR_CACHE', 'XDG_CACHE_HOME'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    assert configured_mirrors() == []
    for variable, value, folder in (('XDG_CACHE_HOME', '', tmp_path / '.cache' / 'mmsimclr' / 'checkpoints'),
                                    ('XDG_CACHE_HOME', '/xdg', Path('/xdg/mmsimclr/checkpoints')),
                                    ('MMSIMCLR_CACHE', '~/here', tmp_path / 'here')):
        monkeypatch.setenv(variable, value)
        assert cache_folder() == folder
    monkeypatch.setenv('MMSIMCLR_MIRRORS', '/variable, ,http://b')
    assert configured_mirrors() == ['/variable', 'http://b']


@pytest.mark.parametrize('url', ['http://host/a%00.pth', 'http://host/a%0Ab.pth', 'file:///tmp/a%00.pth',
                                 'http://[host/a.pth', 'http://host/%1b[31m.pth'])
def test_addresses_with_control_characters_or_without_form_are_refused(url, cache):
    with pytest.raises(InputError, match=r'address|control characters'):
        fetch_url(url)
    assert not cache.exists()


WHOLE = hashlib.sha256(CONTENT).hexdigest()


def test_weights_are_compared_with_the_whole_sha256_where_the_index_has_it(
        server, cache, tmp_path, quickstart_config):
    with TinyZoo(tmp_path, CONTENT, [server.address], quickstart_config, WHOLE).in_use() as zoo:
        server.files = {f'/{zoo.published_path}': CONTENT}
        verdict = verify_file(fetch_model('tiny'))
        assert verdict.verified and verdict.model == 'tiny' and '8 digits' not in verdict.message


def test_other_weights_whose_first_8_digits_are_right_are_refused(
        server, cache, tmp_path, quickstart_config):
    whole = WHOLE[:8] + 56 * '0'                        # of weights of which these would be a forgery
    with TinyZoo(tmp_path, CONTENT, [server.address], quickstart_config, whole).in_use() as zoo:
        server.files = {f'/{zoo.published_path}': CONTENT}
        with pytest.raises(FetchError, match=f'expected sha256 {whole}'):
            fetch_model('tiny')
        assert names(cache) == []
        (tmp_path / 'file.pth').write_bytes(CONTENT)
        assert not verify_file(tmp_path / 'file.pth').verified
