"""The downloader against a loopback server that misbehaves on purpose."""

import hashlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mmsimclr.files.download import DownloadError, download
from mmsimclr.files.verified_file import atomic_writer, difference, file_digest

CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


class _Server:
    """What the server does, and what it was asked."""

    def __init__(self):
        self.content = CONTENT
        self.etag = '"one"'
        self.ranges = True
        self.honours_if_range = True
        self.status = None
        self.cut_after = []  # For each of the next requests: break off after so many bytes.
        self.stall_after = None
        self.seen_ranges = []
        self.released = threading.Event()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    state = _Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            requested = self.headers.get('Range')
            state.seen_ranges.append(requested)
            if state.status:
                self.send_error(state.status)
                return
            start = 0
            fresh = self.headers.get('If-Range') == state.etag or not state.honours_if_range
            if requested and state.ranges and fresh:
                start = int(re.fullmatch(r'bytes=(\d+)-', requested)[1])
            if start >= len(state.content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                size = len(state.content)
                self.send_header('Content-Range', f'bytes {start}-{size - 1}/{size}')
            body = state.content[start:]
            self.send_header('Content-Length', str(len(body)))
            if state.etag:
                self.send_header('ETag', state.etag)
            self.end_headers()
            if state.stall_after is not None:
                self.wfile.write(body[:state.stall_after])
                self.wfile.flush()
                state.released.wait(20)
                return
            self.wfile.write(body[:state.cut_after.pop(0)] if state.cut_after else body)

    http_server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=http_server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f'http://127.0.0.1:{http_server.server_port}/file.bin'
    yield state
    state.released.set()
    http_server.shutdown()
    http_server.server_close()


def _fetch(server, path, **arguments):
    return download(server.url, path, **{'retry_wait_s': 0.0, 'hashes': {'md5': MD5}, **arguments})


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
    with pytest.raises(DownloadError, match='expected 7 bytes, got 256000'):
        _fetch(server, tmp_path / 'file.bin', hashes=None, size=7)


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


def test_stall_ends_by_timeout_and_keeps_what_came(server, tmp_path):
    server.stall_after = 100_000
    began = time.monotonic()
    with pytest.raises(DownloadError, match=r'no data for 0\.3 s after 100000 bytes'):
        _fetch(server, tmp_path / 'file.bin', attempts=1, timeout=0.3)
    assert time.monotonic() - began < 5
    assert (tmp_path / 'file.bin.part').stat().st_size == 100_000


def test_nobody_listening_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with pytest.raises(DownloadError, match=r'http://127\.0\.0\.1:9/x: cannot connect'):
        download('http://127.0.0.1:9/x', tmp_path / 'x', timeout=5)


def test_verified_file_is_not_fetched_again(server, tmp_path):
    (tmp_path / 'file.bin').write_bytes(CONTENT)
    _fetch(server, tmp_path / 'file.bin')
    assert server.seen_ranges == []


def test_damaged_file_is_replaced(server, tmp_path):
    (tmp_path / 'file.bin').write_bytes(CONTENT[:-1])
    assert _fetch(server, tmp_path / 'file.bin').read_bytes() == CONTENT


def test_processes_wanting_one_file_take_turns(server, tmp_path):
    # Threads stand in for processes: flock belongs to the open file, not to the process.
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


def test_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'old')
    with pytest.raises(KeyboardInterrupt), atomic_writer(path) as file:
        file.write(b'new and incomplete')
        raise KeyboardInterrupt
    assert path.read_bytes() == b'old'
    assert [entry.name for entry in tmp_path.iterdir()] == ['file']


def test_difference_names_size_then_digest(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'abc')
    sha256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'  # FIPS 180-2, B.1
    assert file_digest(path, 'sha256') == sha256
    assert difference(path, {'sha256': sha256.upper()}, 3) == ''
    assert difference(path, size=4) == 'expected 4 bytes, got 3'
    assert difference(path, {'md5': 'f' * 32}).startswith(f"expected md5 {'f' * 32}, got 9001")
