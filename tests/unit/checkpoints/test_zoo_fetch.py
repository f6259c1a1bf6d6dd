"""Weights of the zoo against a server that misbehaves, mirrors, a cache that is damaged, and no network."""

import hashlib
import re
import threading
import time

import pytest
import yaml
from hostile_server import HostileServer
from processes import CONTEXT
from tiny_zoo import TinyZoo

from mmsimclr.checkpoints import CheckpointError, find_checkpoint, zoo
from mmsimclr.checkpoints.zoo import FetchError, cache_folder, fetch_model, fetch_url

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
    for name in ('MMSIMCLR_MIRRORS', 'MMSIMCLR_OFFLINE', 'MMSIMCLR_CONFIG'):
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


def names(folder):
    return sorted(path.name for path in folder.rglob('*')) if folder.exists() else []


def test_second_host_serves_when_the_first_is_gone_and_the_cache_thereafter(tiny, server, cache):
    seen = []
    path = fetch_model('tiny', progress=lambda *pair: seen.append(pair))
    assert path == cache / tiny.file_name and path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert names(cache) == [tiny.file_name]
    assert fetch_model('tiny') == path
    assert server.seen_paths == [f'/{tiny.published_path}']


def test_a_model_without_weights_and_an_unknown_one_are_refused(tiny):
    with pytest.raises(CheckpointError, match=r'no weights of tiny-untrained were published; .* of: tiny$'):
        fetch_model('tiny-untrained')
    with pytest.raises(CheckpointError, match=r"no model 'tinny' in the zoo; did you mean 'tiny'\?"):
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


def test_a_later_call_goes_on_where_a_failed_one_broke_off(tiny, server, cache):
    server.cut_after = [100_000]
    with pytest.raises(FetchError, match=r'after 100000 of 256000 bytes\. 100000 bytes are kept'):
        fetch_model('tiny', attempts=1)
    assert tiny.file_name not in names(cache)
    assert fetch_model('tiny').read_bytes() == CONTENT
    assert server.bytes_sent == len(CONTENT)


def test_stall_ends_by_timeout(tiny, server):
    server.stall_after = 1000
    began = time.monotonic()
    with pytest.raises(FetchError, match=r'no data for 0\.2 s after 1000 bytes'):
        fetch_model('tiny', timeout=0.2, attempts=1)
    assert time.monotonic() - began < 5


def test_when_all_fail_the_message_tells_each_reason_and_the_remedy(
        tiny, server, cache, tmp_path, monkeypatch):
    wrong, missing = tmp_path / 'wrong', tmp_path / 'missing'
    wrong.mkdir()
    (wrong / tiny.file_name).write_bytes(b'<html>log in</html>')
    monkeypatch.setenv('MMSIMCLR_MIRRORS', f'{wrong}, {missing},')
    server.status = 500
    with pytest.raises(FetchError) as caught:
        fetch_model('tiny', attempts=1)
    lines = str(caught.value).splitlines()
    sent = hashlib.sha256(b'<html>log in</html>').hexdigest()
    digest = tiny.file_name[-12:-4]
    expected = [
        f'{tiny.file_name} is at none of its addresses:',
        f'  {wrong}/{tiny.file_name} is a wrong file: expected sha256 {digest}, got {sent} (19 bytes)',
        f'  {wrong}/{tiny.published_path}: no such file',
        f'  {missing}/{tiny.file_name}: no such file',
        f'  {missing}/{tiny.published_path}: no such file',
        f'  {GONE}/{tiny.published_path}: cannot connect (',
        f'  {server.address}/{tiny.published_path} could not be fetched in 1 attempts: the server answered',
        'The host of the published models has been reported gone. To supply the file by hand, with a SHA-256 '
        f'that begins with {digest}, put it at {cache / tiny.file_name}, or into a folder or on a server '
        f'that MMSIMCLR_MIRRORS, or mirrors in {tmp_path}/settings/mmsimclr/config.yml, names']
    assert len(lines) == len(expected)
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True)), lines
    assert names(cache) == []


def test_a_wrong_file_never_gets_the_name(tiny, server, cache):
    server.files = None
    server.content = b'<html>log in</html>'
    with pytest.raises(FetchError, match=r'sent a wrong file: expected sha256 [0-9a-f]{8}, got'):
        fetch_model('tiny')
    assert names(cache) == []


@pytest.mark.parametrize('kind', ['folder', 'file://', 'http://'])
@pytest.mark.parametrize('layout', ['side by side', 'as published'])
@pytest.mark.parametrize('by', ['argument', 'environment', 'config file'])
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
    elif by == 'config file':
        _write_config(tmp_path, mirrors=[mirror])
    found = fetch_model('tiny', mirrors=[mirror] if by == 'argument' else ())
    assert found == (cache / tiny.file_name if kind == 'http://' else held)
    assert found.read_bytes() == CONTENT
    asked = {'side by side': [f'/base/{path}'], 'as published': [f'/base/{tiny.file_name}', f'/base/{path}']}
    assert server.seen_paths == (asked[layout] if kind == 'http://' else [])


def _write_config(tmp_path, **settings):
    path = tmp_path / 'settings' / 'mmsimclr' / 'config.yml'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings))


def test_mirrors_are_asked_in_order_argument_environment_config_file(tiny, server, tmp_path, monkeypatch):
    monkeypatch.setenv('MMSIMCLR_MIRRORS', f'{server.address}/environment')
    _write_config(tmp_path, mirrors=[f'{server.address}/file-1', f'{server.address}/file-2'])
    fetch_model('tiny', mirrors=[f'{server.address}/argument'])
    first = [path for path in server.seen_paths if path.count('/') == 2]
    places = ('argument', 'environment', 'file-1', 'file-2')
    assert first == [f'/{place}/{tiny.file_name}' for place in places]


def test_a_mirror_that_does_not_answer_is_asked_once(tiny, server):
    server.status, before = 503, server.seen_paths
    with pytest.raises(FetchError):
        fetch_model('tiny', mirrors=[f'{server.address}/base'], attempts=1)
    assert before == [f'/base/{tiny.file_name}', f'/{tiny.published_path}']


def test_a_mirror_of_another_kind_is_refused(tiny):
    with pytest.raises(ValueError, match="begin with http://, https:// or file://, got 'ftp://a'"):
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
    with pytest.raises(FetchError, match=f'{server.address}/.*: not tried, since MMSIMCLR_OFFLINE is set'):
        fetch_model('tiny', mirrors=[server.address])
    cache.mkdir()
    (cache / tiny.file_name).write_bytes(b'damaged')
    with pytest.raises(FetchError, match=f'{cache / tiny.file_name} is damaged: expected sha256'):
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
    with pytest.raises(FetchError, match=rf'cannot write {re.escape(str(folder))}/.*Not a directory\. .*'
                                         'MMSIMCLR_CACHE for the cache, dest or --dest for one file'):
        fetch_model('tiny', folder if blocked == 'dest' else None)
    if blocked == 'cache':                                  # what lies in a folder needs no cache
        fetch_model('tiny', mirrors=[_folder(tmp_path, tiny)])


def test_a_download_is_shown_unless_the_caller_shows_it(tiny, cache, capsys):
    fetch_model('tiny')
    assert capsys.readouterr().err.startswith(f'{tiny.file_name}  100 %  0.3 of 0.3 MB, ')
    fetch_model('tiny')                                     # from the cache
    (cache / tiny.file_name).unlink()
    seen = []
    fetch_model('tiny', progress=lambda *pair: seen.append(pair))
    assert capsys.readouterr().err == '' and seen[0] == (0, len(CONTENT))


def test_an_encoder_by_its_models_name_shows_its_download(tiny, capsys):
    assert find_checkpoint('tiny').read_bytes() == CONTENT
    assert capsys.readouterr().err.startswith(f'{tiny.file_name}  100 %')


def test_cache_is_where_the_variables_say(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path))
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.delenv('MMSIMCLR_CACHE', raising=False)
    assert cache_folder() == tmp_path / '.cache' / 'mmsimclr' / 'checkpoints'
    monkeypatch.setenv('XDG_CACHE_HOME', '/xdg')
    assert str(cache_folder()) == '/xdg/mmsimclr/checkpoints'
    monkeypatch.setenv('MMSIMCLR_CACHE', '~/here')
    assert cache_folder() == tmp_path / 'here'


def test_an_address_is_verified_by_the_hash_in_its_name_or_the_one_given(server, cache):
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert fetch_url(f'{server.address}/a-{digest[:8]}.pth?download=1') == cache / f'a-{digest[:8]}.pth'
    assert fetch_url(f'{server.address}/b.pth', digest[:12]).read_bytes() == CONTENT
    for url, given in ((f'{server.address}/a-0123abcd.pth', None), (f'{server.address}/c.pth', '0123abcd'),
                       (f'{server.address}/a-{digest[:8]}.pth', '0123abcd')):
        with pytest.raises(FetchError, match='expected sha256 0123abcd'):
            fetch_url(url, given)


def test_files_of_one_name_from_two_addresses_are_kept_apart(server, cache):
    server.files = {'/a/checkpoint.pth': b'a', '/b/checkpoint.pth': b'b'}
    for _ in range(2):
        for name in 'ab':
            assert fetch_url(f'{server.address}/{name}/checkpoint.pth').read_bytes() == name.encode()
    assert server.seen_paths == ['/a/checkpoint.pth', '/b/checkpoint.pth']


def test_without_a_hash_no_mirror_is_trusted_and_no_file_at_dest(server, cache, tmp_path):
    (tmp_path / 'checkpoint.pth').write_bytes(b'another')
    path = fetch_url(f'{server.address}/checkpoint.pth', mirrors=[tmp_path], dest=tmp_path)
    assert path == tmp_path / 'checkpoint.pth' and path.read_bytes() == CONTENT


def test_a_file_address_is_used_where_it_lies(cache, tmp_path):
    held = tmp_path / 'a file.pth'
    held.write_bytes(CONTENT)
    assert fetch_url(held.as_uri()) == held
    with pytest.raises(FetchError, match='expected sha256 0123abcd'):
        fetch_url(held.as_uri(), '0123abcd')


@pytest.mark.parametrize(('arguments', 'message'), [
    (('ftp://a/b.pth',), 'url must begin with'), (('http://a/',), 'end in the name of a file'),
    (('http://a/b/..',), 'end in the name of a file'),
    (('http://a/b.pth', '0123'), '8 to 64 hexadecimal digits'),
    (('http://a/b.pth', 'no hash!'), '8 to 64 hexadecimal digits')])
def test_addresses_and_hashes_of_another_kind_are_refused(cache, arguments, message):
    with pytest.raises(ValueError, match=message):
        fetch_url(*arguments)


def fetch_in_a_process(url, folder, out):
    """Fetch into a folder that another process shares, and write what was received."""
    out.with_suffix('.began').touch()
    out.write_bytes(zoo.fetch_url(url, dest=folder).read_bytes())


def test_two_processes_download_a_file_once_and_both_have_it(server, tmp_path):
    server.gate = threading.Event()
    url = f'{server.address}/a-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth'
    outs = [tmp_path / name for name in ('one', 'two')]
    processes = [CONTEXT.Process(target=fetch_in_a_process, args=(url, tmp_path / 'shared', out))
                 for out in outs]
    for process in processes:
        process.start()
    deadline = time.monotonic() + 60
    while not (server.bytes_sent and all(out.with_suffix('.began').exists() for out in outs)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)                                         # the second is at the lock by now
    assert not any(out.exists() for out in outs)
    server.gate.set()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert [out.read_bytes() for out in outs] == [CONTENT] * 2
    assert server.bytes_sent == len(CONTENT) and len(server.seen_paths) == 1
    assert len(names(tmp_path / 'shared')) == 1
