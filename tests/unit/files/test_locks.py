"""One process at a time works on a file."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import filelock
import pytest

from mmsimclr.files import locked_file


def test_a_file_is_locked_during_the_block_and_no_longer(tmp_path):
    def is_free(name):
        try:
            with filelock.FileLock(tmp_path / f'{name}.lock', timeout=0):
                return True
        except filelock.Timeout:
            return False
    with ThreadPoolExecutor(1) as other:
        with locked_file(tmp_path / 'a'):
            assert not other.submit(is_free, 'a').result() and other.submit(is_free, 'b').result()
        (tmp_path / 'b.lock').unlink(missing_ok=True)
        assert not os.listdir(tmp_path), 'the lock is removed'
        assert other.submit(is_free, 'a').result()


def test_those_who_wait_take_turns_though_the_lock_is_removed(tmp_path):
    counter, barrier = tmp_path / 'counter', threading.Barrier(4)
    counter.write_text('0')

    def count(_):
        barrier.wait()
        for _ in range(5):
            with locked_file(counter):
                before = int(counter.read_text())
                counter.write_text(str(before + 1))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert counter.read_text() == '20'


@pytest.mark.parametrize('code, is_fault', [(errno.ENOLCK, False), (errno.EIO, True)])
def test_a_file_system_without_locks_is_worked_on_all_the_same(tmp_path, monkeypatch, code, is_fault):
    def fail(*args, **kwargs):
        raise OSError(code, 'from the file system')
    monkeypatch.setattr(filelock.FileLock, 'acquire', fail)
    if is_fault:
        with pytest.raises(OSError, match='from the file system'), locked_file(tmp_path / 'a'):
            pass
    else:
        with locked_file(tmp_path / 'a'):
            pass
