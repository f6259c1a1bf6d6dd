"""One process at a time has a file open."""

import errno
import fcntl
import threading

import pytest

from mmsimclr.files import locked_file


def test_a_second_holder_is_refused_until_the_first_has_finished(tmp_path):
    with locked_file(tmp_path / 'a') as file:
        file.write(b'first')
        with pytest.raises(BlockingIOError), locked_file(tmp_path / 'a', wait=False):
            pass
        with locked_file(tmp_path / 'b', wait=False):
            pass
    with locked_file(tmp_path / 'a', wait=False) as file:
        assert file.read() == b'first'


def test_one_that_waited_for_a_removed_file_makes_it_anew(tmp_path):
    path, got = tmp_path / 'a', []

    def second():
        with locked_file(path) as file:
            got.append(file.read())
            assert path.exists()
            file.write(b'second')
    with locked_file(path) as file:
        file.write(b'first')
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive() and not got
        path.unlink()
    thread.join(10)
    assert got == [b''] and path.read_bytes() == b'second'


def test_a_file_system_without_locks_is_worked_on_all_the_same(tmp_path, monkeypatch):
    code = errno.ENOSYS

    def flock(*_):
        raise OSError(code, 'from flock')
    monkeypatch.setattr(fcntl, 'flock', flock)
    with locked_file(tmp_path / 'a'):
        pass
    code = errno.EIO
    with pytest.raises(OSError, match='from flock'), locked_file(tmp_path / 'a'):
        pass
