"""The downloader against a loopback server that misbehaves on purpose."""

import hashlib
import io
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hostile_server import HostileServer

from mmsimclr.files.download import DownloadError, UnreachableError, download

CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with HostileServer(CONTENT) as server:
        yield server


def _fetch(server, path, **arguments):
    arguments = {'retry_wait_s': 0.0, 'hashes': {'md5': MD5}, **arguments}
    return download(f'{server.address}/file.bin', path, **arguments)


def test_file_arrives_whole_and_nothing_else_is_left(server, tmp_path):
    path = _fetch(server, tmp_path / 'new' / 'file.bin', size=len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ['file.bin']


def test_truncated_transfer_goes_on_from_where_it_broke_off(server, tmp_path):
    server.cut_after = [100_000, 50_000]
    assert _fetch(server, tmp_path / 'file.bin').read_bytes() == CONTENT
    assert server.seen_ranges == [None, 'bytes=100000-', 'bytes=150000-']


def test_a_later_call_goes_on_with_the_partial_file(server, tmp_path):
    server.cut_after = [100_000]
    with pytest.raises(DownloadError, match=r'after 100000 of 256000 bytes.*file\.bin\.part'):
        _fetch(server, tmp_path / 'file.bin', attempts=1)
    assert not (tmp_path / 'file.bin').exists()
    assert _fetch(server, tmp_path / 'file.bin').read_bytes() == CONTENT
    assert server.seen_ranges == [None, 'bytes=100000-']


def test_server_without_ranges_is_read_from_the_beginning(server, tmp_path):
    server.ranges = False
    server.cut_after = [100_000]
    assert _fetch(server, tmp_path / 'file.bin').read_bytes() == CONTENT
    assert server.seen_ranges == [None, 'bytes=100000-']


@pytest.mark.parametrize('honours_if_range', [True, False])
@pytest.mark.parametrize('changed', [CONTENT[::-1], CONTENT[:50_000]])
def test_a_file_that_changed_meanwhile_is_read_from_the_beginning(
        server, tmp_path, honours_if_range, changed):
    server.cut_after = [100_000]
    with pytest.raises(DownloadError):
        _fetch(server, tmp_path / 'file.bin', attempts=1)
    server.content, server.etag = changed, '"two"'
    server.honours_if_range = honours_if_range
    path = _fetch(server, tmp_path / 'file.bin', hashes=None)
    assert path.read_bytes() == changed


def test_without_a_validator_nothing_is_continued(server, tmp_path):
    server.etag = ''
    server.cut_after = [100_000]
    assert _fetch(server, tmp_path / 'file.bin').read_bytes() == CONTENT
    assert server.seen_ranges == [None, None]


def test_partial_file_of_unknown_origin_is_not_trusted(server, tmp_path):
    (tmp_path / 'file.bin.part').write_bytes(b'other')
    assert _fetch(server, tmp_path / 'file.bin', hashes=None).read_bytes() == CONTENT
    assert server.seen_ranges == [None]


def test_complete_partial_file_needs_no_request(server, tmp_path):
    server.cut_after = [len(CONTENT) - 1]
    with pytest.raises(DownloadError):
        _fetch(server, tmp_path / 'file.bin', attempts=1)
    with open(tmp_path / 'file.bin.part', 'ab') as part:
        part.write(CONTENT[-1:])
    assert _fetch(server, tmp_path / 'file.bin').read_bytes() == CONTENT
    assert len(server.seen_ranges) == 1


def test_partial_file_beyond_the_end_is_dropped(server, tmp_path):
    server.cut_after = [100_000]
    with pytest.raises(DownloadError):
        _fetch(server, tmp_path / 'file.bin', attempts=1)
    server.content = CONTENT[:5000]
    path = _fetch(server, tmp_path / 'file.bin', hashes=None)
    assert path.read_bytes() == CONTENT[:5000]


def test_wrong_file_is_refused_with_both_digests_and_removed(server, tmp_path):
    server.content = b'<html>a login page</html>'
    actual = hashlib.md5(server.content).hexdigest()
    with pytest.raises(DownloadError, match=f'expected md5 {MD5}, got {actual} \\(25 bytes\\)'):
        _fetch(server, tmp_path / 'file.bin')
    assert not list(tmp_path.iterdir())


def test_wrong_size_is_refused(server, tmp_path):
    with pytest.raises(DownloadError, match='expected 7 bytes, and the server has 256,000'):
        _fetch(server, tmp_path / 'file.bin', hashes=None, size=7)
    assert not list(tmp_path.iterdir())


class Endless(BaseHTTPRequestHandler):
    """Sends bytes without a length until nobody listens, or ``pause_s`` between each of them."""

    pause_s, piece = 0.0, bytes(1 << 16)

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            for _ in range(100_000):
                self.wfile.write(self.piece)
                time.sleep(self.pause_s)

    def log_message(self, *_):
        pass


@pytest.fixture
def endless():
    server = ThreadingHTTPServer(('127.0.0.1', 0), Endless)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/file.bin'
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize('limits', [dict(size=100_000), dict(max_bytes=100_000)])
def test_a_server_that_never_ends_is_left_at_the_size_that_is_known(endless, tmp_path, limits):
    with pytest.raises(DownloadError, match='goes on after 100,000 bytes'):
        download(endless, tmp_path / 'file.bin', attempts=1, **limits)
    assert not list(tmp_path.iterdir())


def test_a_server_that_drips_is_left_after_the_whole_time(endless, tmp_path, monkeypatch):
    monkeypatch.setattr(Endless, 'pause_s', 0.05)
    monkeypatch.setattr(Endless, 'piece', b'x')
    started = time.monotonic()
    with pytest.raises(UnreachableError, match=r'did not come in 0\.5 s: .* bytes had come'):
        download(endless, tmp_path / 'file.bin', timeout=10, attempts=100, max_seconds=0.5)
    assert time.monotonic() - started < 5
    assert 1 <= (tmp_path / 'file.bin.part').stat().st_size <= 12


def test_a_server_whose_header_drips_is_left_after_the_whole_time(tmp_path):
    over = threading.Event()

    class Dripping(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            self.wfile.write(b'HTTP/1.1 200 OK\r\nX-Slow: ')
            with suppress(OSError):
                while not over.wait(0.05):
                    self.wfile.write(b'x')

    server = ThreadingHTTPServer(('127.0.0.1', 0), Dripping)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    started = time.monotonic()
    try:
        with pytest.raises(UnreachableError, match=r'did not come in 0\.5 s: no whole header'):
            download(f'http://127.0.0.1:{server.server_port}/x', tmp_path / 'file.bin', timeout=10,
                     attempts=100, max_seconds=0.5)
    finally:
        over.set()
        server.shutdown()
    assert time.monotonic() - started < 5 and not list(tmp_path.iterdir())


@pytest.mark.parametrize('size', [None, 10 ** 9])
def test_a_file_whose_size_is_not_sent_does_not_fill_the_disk(endless, tmp_path, monkeypatch, size):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(10, 0, 2_000_000))
    with pytest.raises(DownloadError, match=r'disk'):
        download(endless, tmp_path / 'file.bin', size=size, attempts=1)
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_on_the_disk_is_not_begun(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(10, 0, 255_999))
    with pytest.raises(DownloadError, match=r'needs 256,000 more bytes on the disk .* 255,999 left'):
        _fetch(server, tmp_path / 'file.bin')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('url', ['http://[', 'http://127.0.0.1:999999/x', 'http://127.0.0.1:x/x',
                                 'http://127.0.0.1:1/\u00e4\ud800', 'http://', 'http:///x'])
def test_an_address_that_is_none_is_an_error_of_the_download(url, tmp_path):
    with pytest.raises(DownloadError):
        download(url, tmp_path / 'file.bin', attempts=1, timeout=2)


def test_refusal_ends_at_once_and_leaves_an_existing_file_alone(server, tmp_path):
    (tmp_path / 'file.bin').write_bytes(b'mine')
    server.status = 404
    with pytest.raises(DownloadError, match='answered 404'):
        _fetch(server, tmp_path / 'file.bin')
    assert len(server.seen_ranges) == 1
    assert {entry.name for entry in tmp_path.iterdir()} == {'file.bin'}
    assert (tmp_path / 'file.bin').read_bytes() == b'mine'


def test_busy_server_is_asked_again_so_often_and_no_more(server, tmp_path):
    server.status = 503
    with pytest.raises(DownloadError, match='in 3 attempts: the server answered 503'):
        _fetch(server, tmp_path / 'file.bin', attempts=3)
    assert len(server.seen_ranges) == 3
    assert not list(tmp_path.iterdir())


def test_a_route_lost_on_the_way_is_an_interruption(server, tmp_path, monkeypatch):
    class Lost(io.BytesIO):
        def read1(self, size):
            raise OSError(113, 'No route to host')

    downloading = sys.modules['mmsimclr.files.download']
    real, answers = downloading._open, iter([Lost, None])

    def open_or_lose(*args, **kwargs):
        response, lost = real(*args, **kwargs), next(answers)
        if lost:
            response.read1 = lost().read1
        return response

    monkeypatch.setattr(downloading, '_open', open_or_lose)
    assert _fetch(server, tmp_path / 'file.bin').read_bytes() == CONTENT


def test_whether_the_server_was_reached_is_told_by_the_kind_of_error(server, tmp_path):
    server.status = 404
    with pytest.raises(DownloadError) as refused:
        _fetch(server, tmp_path / 'file.bin')
    assert not isinstance(refused.value, UnreachableError)
    server.status = 503
    with pytest.raises(UnreachableError):
        _fetch(server, tmp_path / 'file.bin', attempts=1)


def test_a_message_names_the_partial_file_only_if_something_came(server, tmp_path):
    server.status = 503
    with pytest.raises(UnreachableError) as error:
        _fetch(server, tmp_path / 'file.bin', attempts=2)
    assert '.part' not in str(error.value) and '503' in str(error.value)
    server.status, server.cut_after = None, [100]
    with pytest.raises(UnreachableError, match=r'file\.bin\.part'):
        _fetch(server, tmp_path / 'file.bin', attempts=1)


def test_stall_ends_by_timeout_and_keeps_what_came(server, tmp_path):
    server.stall_after = 100_000
    began = time.monotonic()
    with pytest.raises(DownloadError, match=r'no data for 0\.3 s after 100000 bytes'):
        _fetch(server, tmp_path / 'file.bin', attempts=1, timeout=0.3)
    assert time.monotonic() - began < 5
    assert (tmp_path / 'file.bin.part').stat().st_size == 100_000


def test_nobody_listening_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with pytest.raises(UnreachableError, match=r'http://127\.0\.0\.1:9/x: cannot connect'):
        download('http://127.0.0.1:9/x', tmp_path / 'x', timeout=5)


def test_verified_file_is_not_fetched_again(server, tmp_path):
    (tmp_path / 'file.bin').write_bytes(CONTENT)
    _fetch(server, tmp_path / 'file.bin')
    assert server.seen_ranges == []


def test_damaged_file_is_replaced(server, tmp_path):
    (tmp_path / 'file.bin').write_bytes(CONTENT[:-1])
    assert _fetch(server, tmp_path / 'file.bin').read_bytes() == CONTENT


def test_processes_wanting_one_file_take_turns(server, tmp_path):
    # Threads stand in for processes: each call has a lock of its own.
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: _fetch(server, tmp_path / 'file.bin'), range(4)))
    assert all(path.read_bytes() == CONTENT for path in paths)
    assert len(server.seen_ranges) == 1


def test_progress_ends_at_the_total(server, tmp_path):
    server.cut_after = [100_000]
    seen = []
    _fetch(server, tmp_path / 'file.bin', progress=lambda *pair: seen.append(pair))
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize('arguments', [{'timeout': 0}, {'attempts': 0}, {'url': 'file:///etc/hosts'}])
def test_arguments_out_of_range_are_refused(tmp_path, arguments):
    with pytest.raises(ValueError):
        download(**{'url': 'http://127.0.0.1:9/x', 'path': tmp_path / 'x', **arguments})


def test_the_beginning_of_a_digest_is_enough_to_verify(server, tmp_path):
    (tmp_path / 'file.bin').write_bytes(b'other')
    for _ in range(2):
        assert _fetch(server, tmp_path / 'file.bin', hashes={'md5': MD5[:8]}).read_bytes() == CONTENT
    assert len(server.seen_ranges) == 1
    wrong = MD5[:7] + 'ab'[MD5[7] == 'a']
    with pytest.raises(DownloadError, match=f'expected md5 {wrong}, got {MD5}'):
        _fetch(server, tmp_path / 'file.bin', hashes={'md5': wrong})
