"""Leases on folders: never two holders, and none that outlives its process."""

import errno
import json
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from mmsimclr.errors import InputError, UserError
from mmsimclr.files import HeldError, Lease, LostLeaseError, lease, leased

CONTEXT = multiprocessing.get_context('fork')
QUICK = dict(heartbeat_s=0.1, expires_s=0.4)


def start(function, *args):
    process = CONTEXT.Process(target=function, args=args, daemon=True)
    process.start()
    return process


def hold(folder, taken, **arguments):
    with Lease.take(folder, **arguments):
        taken.set()
        time.sleep(60)


@pytest.fixture
def holder_process(tmp_path):
    """Return a process that holds the lease of tmp_path, with quick beats."""
    taken = CONTEXT.Event()
    process = start(lambda: hold(tmp_path, taken, label='train', **QUICK))
    assert taken.wait(20)
    yield process
    process.kill()
    process.join()


def record_of(folder) -> dict:
    return json.loads((folder / '.lease').read_bytes().split(b'\n')[0])


def edit(folder, **changes) -> None:
    (folder / '.lease').write_text(json.dumps({**record_of(folder), **changes}) + '\n000000000000\n')


def try_take(folder, **arguments):
    """Return the lease, or None at once if another has it."""
    try:
        return Lease.take(folder, waits=False, **arguments)
    except HeldError:
        return None


def seconds(function) -> float:
    began = time.monotonic()
    function()
    return time.monotonic() - began


def test_a_second_one_is_refused_and_told_who_and_since_when(tmp_path, holder_process):
    with pytest.raises(HeldError) as caught:
        Lease.take(tmp_path)
    assert isinstance(caught.value, UserError)
    holder = caught.value.holder
    assert (holder.pid, holder.host, holder.label) == (holder_process.pid, os.uname().nodename, 'train')
    for part in (tmp_path, holder.pid, holder.host, holder.since, 'train'):
        assert str(part) in str(caught.value)
    assert try_take(tmp_path) is None
    assert pickle.loads(pickle.dumps(caught.value)).holder == holder


def test_it_is_given_back_and_leaves_nothing(tmp_path):
    with Lease.take(tmp_path / 'new' / 'folder') as taken:
        assert taken.is_ours() and os.listdir(taken.file.parent) == ['.lease']
        with pytest.raises(HeldError):                  # no second one in the same process either
            Lease.take(tmp_path / 'new' / 'folder')
        assert taken.is_ours()
    assert not taken.is_ours() and not taken.lost and not os.listdir(tmp_path / 'new' / 'folder')
    taken.release()
    (tmp_path / 'folder.lease').mkdir()
    with Lease.take(tmp_path / 'folder.lease') as taken:
        assert taken.file == tmp_path / 'folder.lease' / '.lease'
    (tmp_path / 'folder.lease').rmdir()
    with Lease.take(tmp_path / 'features.npz.lease'):
        assert (tmp_path / 'features.npz.lease').is_file()
        with Lease.take(tmp_path / 'other.npz.lease'):
            pass
    assert os.listdir(tmp_path) == ['new']


def test_a_block_inside_another_of_the_process_shares_it(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path)
    with leased(tmp_path) as outer:
        with leased(tmp_path / 'link') as inner:
            assert inner is outer
        assert outer.is_ours()
        process = start(lambda: sys.exit(isinstance(_raised(leased(tmp_path).__enter__), HeldError)))
        process.join()
        assert process.exitcode == 1
    assert not outer.is_ours()


def _raised(function):
    try:
        function()
    except Exception as error:
        return error
    return None


def _compete(folder, seed, wins_left, deaths_at_call):
    """Take the lease again and again; mark a violation where another is inside too; at times die."""
    rng, inside = random.Random(seed), folder / 'inside'
    while wins_left.value > 0:
        taken = try_take(folder)
        if taken is None:
            continue
        try:
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            (folder / 'violation').touch()
            return
        with wins_left.get_lock():
            wins_left.value -= 1
        if rng.random() < 0.3:
            time.sleep(0.001)
        if not taken.is_ours():
            (folder / 'violation').touch()
        inside.unlink()
        if deaths_at_call and rng.random() < 0.2:
            os.kill(os.getpid(), signal.SIGKILL)
        taken.release()


@pytest.mark.parametrize('deaths', [False, True])
def test_of_many_that_race_never_two_have_it(tmp_path, deaths):
    wins_left = CONTEXT.Value('i', 300)
    racers = [start(_compete, tmp_path, seed, wins_left, deaths) for seed in range(4)]
    seed, deadline = 4, time.monotonic() + 60
    while wins_left.value > 0 and time.monotonic() < deadline:
        for place, racer in enumerate(racers):
            if not racer.is_alive():
                racer.join()
                racers[place] = start(_compete, tmp_path, seed := seed + 1, wins_left, deaths)
        time.sleep(0.005)
    for racer in racers:
        racer.join(10)
        racer.kill()
    assert wins_left.value <= 0, 'they must not block each other'
    assert not (tmp_path / 'violation').exists()
    assert seed > 20 or not deaths, 'the test must kill some'


def _take_the_dead_ones(folder, gate, wins):
    gate.wait()
    if try_take(folder):
        with wins.get_lock():
            wins.value += 1
    gate.wait()


def test_of_many_that_find_a_dead_holder_one_takes_over(tmp_path):
    for number in range(25):
        folder = tmp_path / str(number)
        dead = start(lambda folder=folder: Lease.take(folder) and os._exit(0))
        dead.join()
        token = record_of(folder)['token']
        gate, wins = CONTEXT.Barrier(4), CONTEXT.Value('i', 0)
        racers = [start(_take_the_dead_ones, folder, gate, wins) for _ in range(4)]
        for racer in racers:
            racer.join(20)
        assert wins.value == 1 and record_of(folder)['token'] != token


def test_one_killed_with_9_loses_it_at_once(tmp_path, holder_process):
    os.kill(holder_process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, holder_process.pid, os.WEXITED | os.WNOWAIT)
    # A zombie now: its threads are gone, and it was not reaped.
    taken = []
    assert seconds(lambda: taken.append(Lease.take(tmp_path))) < 2
    assert taken[0].is_ours()
    taken[0].release()


def before_each_call(act, set_attribute):
    """Have ``act`` called before whatever changes the folder."""
    def announced(function):
        return lambda *args, **kwargs: (act(), function(*args, **kwargs))[1]
    for name in ('open', 'ftruncate', 'pwrite', 'fsync', 'unlink', 'close'):
        set_attribute(os, name, announced(getattr(os, name)))


@pytest.mark.parametrize('has_holder', [False, True])
@pytest.mark.parametrize('step', range(8))
def test_one_killed_at_any_step_of_taking_or_giving_back_blocks_nobody(tmp_path, step, has_holder):
    """Kill it just before each call that changes the folder in turn."""
    if has_holder:
        start(lambda: Lease.take(tmp_path) and os._exit(0)).join()

    def die_at_step():
        calls = iter(range(100))
        before_each_call(lambda: next(calls) == step and os.kill(os.getpid(), signal.SIGKILL), setattr)
        with Lease.take(tmp_path):
            pass
        os._exit(0)
    process = start(die_at_step)
    process.join(20)
    assert process.exitcode in (0, -signal.SIGKILL)
    taken = []
    assert seconds(lambda: taken.append(Lease.take(tmp_path))) < 2
    assert taken[0].is_ours() and os.listdir(tmp_path) == ['.lease']
    taken[0].release()
    assert not os.listdir(tmp_path)


def test_the_steps_above_are_all_of_them(tmp_path):
    """Fewer than eight calls are made: the last steps of the test above kill nobody."""
    calls = []
    start(lambda: Lease.take(tmp_path) and os._exit(0)).join()
    with pytest.MonkeyPatch.context() as patch:
        before_each_call(lambda: calls.append(1), patch.setattr)
        with Lease.take(tmp_path):
            pass
    assert 5 < len(calls) < 8


def test_one_on_another_machine_is_refused_while_it_beats_and_lost_when_it_is_silent(
        tmp_path, holder_process, monkeypatch):
    monkeypatch.setattr(lease, '_machine', lambda: 'elsewhere')
    with pytest.raises(HeldError) as caught:
        Lease.take(tmp_path, **QUICK)
    assert caught.value.holder.pid == holder_process.pid
    assert try_take(tmp_path, **QUICK) is None
    holder_process.kill()
    holder_process.join()
    taken = []
    assert 0.3 < seconds(lambda: taken.append(Lease.take(tmp_path, **QUICK))) < 5
    assert taken[0].is_ours()
    taken[0].release()


@pytest.mark.parametrize('since', ['1970-01-01 00:00:00+00:00', '2199-01-01 00:00:00+00:00'])
def test_clocks_of_machines_need_not_agree(tmp_path, since):
    start(lambda: Lease.take(tmp_path, **QUICK) and os._exit(0)).join()
    edit(tmp_path, machine='another', host='far', since=since)
    os.utime(tmp_path / '.lease', (1, 1))
    assert try_take(tmp_path, **QUICK) is None
    taken = []
    assert 0.3 < seconds(lambda: taken.append(Lease.take(tmp_path, **QUICK))) < 5
    taken[0].release()


def test_the_one_who_waits_longest_for_a_beat_decides(tmp_path):
    """A holder that beats every minute is not taken for dead after a second."""
    start(lambda: Lease.take(tmp_path, heartbeat_s=60, expires_s=120) and os._exit(0)).join()
    edit(tmp_path, machine='another')
    taken = start(lambda: hold(tmp_path, CONTEXT.Event(), **QUICK))
    time.sleep(1)
    assert taken.is_alive() and record_of(tmp_path)['machine'] == 'another'
    taken.kill()
    taken.join()


def test_a_forked_child_does_not_own_it(tmp_path):
    taken = Lease.take(tmp_path, heartbeat_s=0.05, expires_s=1)

    def child():
        owns = taken.is_ours()
        refused = isinstance(_raised(lambda: Lease.take(tmp_path)), HeldError)
        taken.release()
        os._exit(10 * owns + refused)
    process = start(child)
    process.join()
    assert process.exitcode == 1
    assert taken.is_ours() and not taken.lost
    beats = (tmp_path / '.lease').read_bytes()
    time.sleep(0.3)
    assert (tmp_path / '.lease').read_bytes() != beats, 'the parent goes on beating'
    taken.release()
    assert not os.listdir(tmp_path)


def test_a_pid_that_was_given_to_another_process_is_not_the_holder(tmp_path):
    start(lambda: Lease.take(tmp_path) and os._exit(0)).join()
    edit(tmp_path, pid=os.getppid())                # which is alive
    taken = Lease.take(tmp_path)
    assert taken.is_ours()
    taken.release()


def test_a_program_that_replaces_itself_goes_on_at_once(tmp_path):
    take = f'from mmsimclr.files import Lease; held = Lease.take({str(tmp_path)!r})'
    script = (f'import os, sys; {take}; print(held.holder.token, flush=True); os.execv(sys.executable, '
              f'[sys.executable, "-c", {take + "; print(held.is_ours(), held.holder.token)"!r}])')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=60)
    first, ours, second = done.stdout.split()
    assert ours == 'True' and first != second, done.stderr


def without_locks(*_):
    raise OSError(errno.ENOLCK, 'No locks available')


def test_without_locks_one_that_stood_still_is_taken_over_notices_and_leaves_the_other_alone(
        tmp_path, monkeypatch):
    monkeypatch.setattr(lease.fcntl, 'flock', without_locks)
    taken, noticed = CONTEXT.Event(), CONTEXT.Event()

    def stand_still():
        with Lease.take(tmp_path, **QUICK) as held:
            taken.set()
            while not held.lost:
                time.sleep(0.01)
            noticed.set()
    process = start(stand_still)
    assert taken.wait(20)
    with pytest.raises(HeldError):
        Lease.take(tmp_path, **QUICK)
    os.kill(process.pid, signal.SIGSTOP)
    with Lease.take(tmp_path, **QUICK) as held:
        os.kill(process.pid, signal.SIGCONT)
        assert noticed.wait(20)
        process.join()
        assert process.exitcode == 0 and held.is_ours()
    assert not os.listdir(tmp_path)


def test_where_locks_are_seen_one_that_stands_still_is_not_robbed(tmp_path, holder_process, monkeypatch):
    os.kill(holder_process.pid, signal.SIGSTOP)
    time.sleep(0.5)
    monkeypatch.setattr(lease, '_machine', lambda: 'elsewhere')
    with pytest.raises(HeldError):
        Lease.take(tmp_path, **QUICK)


def test_a_process_that_outlives_the_holder_does_not_keep_the_folder(tmp_path):
    """Processes that load images end some seconds after a run that was killed."""
    def hold_and_fork():
        Lease.take(tmp_path)
        child = os.fork()
        if not child:
            time.sleep(20)
        (tmp_path.parent / 'child').write_text(str(child))
        os._exit(0)
    start(hold_and_fork).join()
    with Lease.take(tmp_path) as taken:
        assert taken.is_ours()
    os.kill(int((tmp_path.parent / 'child').read_text()), signal.SIGKILL)


@pytest.mark.parametrize('how', ['taken over', 'removed'])
def test_a_holder_notices_that_it_has_lost_it(tmp_path, how):
    taken = Lease.take(tmp_path, heartbeat_s=0.05, expires_s=1)
    if how == 'removed':
        (tmp_path / '.lease').unlink()
    else:
        edit(tmp_path, token='f' * 32, pid=1)
        others = (tmp_path / '.lease').read_bytes()
    with pytest.raises(LostLeaseError, match=str(tmp_path)):
        taken.check()
    deadline = time.monotonic() + 5
    while not taken.lost and time.monotonic() < deadline:
        time.sleep(0.01)
    assert taken.lost and not taken.is_ours()
    taken.release()
    if how == 'taken over':
        assert (tmp_path / '.lease').read_bytes() == others, 'it is not ours to remove'


def test_a_thread_notices_the_loss_by_itself(tmp_path):
    taken = Lease.take(tmp_path, heartbeat_s=0.02, expires_s=1)
    edit(tmp_path, token='f' * 32)
    deadline = time.monotonic() + 5
    while not taken.lost and time.monotonic() < deadline:
        time.sleep(0.01)
    assert taken.lost


def test_a_folder_that_vanished_is_no_loss_to_another_run(tmp_path):
    taken = Lease.take(tmp_path / 'folder')
    (tmp_path / 'folder').rename(tmp_path / 'moved')
    taken.check()
    assert not taken.is_ours() and not taken.lost
    taken.release()


@pytest.mark.parametrize('content', [
    b'{"host": 1}', b'{"host"', b'{"host": "a", "pid": 1, "si', b'{"host": [' + b'[' * 3000,
    b'{"host": "a", "pid": 1, "since": "", "label": "", "token": "' + b'a' * 32 + b'", "machine": "", '
    b'"job": 3, "heartbeat_s": 1}',
    b'{"host": "a", "pid": -1, "since": "", "label": "", "token": "../../x", "machine": "", "started": "", '
    b'"jobs": {}, "heartbeat_s": 1e99}'], ids=range(6))
def test_a_damaged_lease_is_taken_over_if_nobody_writes_it(tmp_path, content):
    (tmp_path / '.lease').write_bytes(content)
    assert try_take(tmp_path, **QUICK) is None
    with Lease.take(tmp_path, **QUICK) as taken:
        assert taken.is_ours()
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('content', [
    b'\xff\xfe', b'[' * 4000, b'{}', b'{"pid": "x"}', b'null\n', b'\n\n', b'my own notes on a lease\n'],
    ids=range(7))
def test_a_file_of_somebody_else_is_named_and_kept(tmp_path, content):
    (tmp_path / '.lease').write_bytes(content)
    for _ in range(2):
        with pytest.raises(InputError, match=r'\.lease is no lease of mmsimclr: move it away'):
            Lease.take(tmp_path, **QUICK)
    assert (tmp_path / '.lease').read_bytes() == content


def as_job(monkeypatch, job, restart):
    for name, value in (('SLURM_JOB_ID', job), ('SLURM_RESTART_COUNT', restart)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)


@pytest.mark.parametrize('locks', [True, False])
@pytest.mark.parametrize('before, after, at_once', [
    (('7', None), ('7', '1'), True), (('7', '1'), ('7', '3'), True),
    (('7', None), ('7', None), False),                          # another step of the job, which may be alive
    (('7', None), ('8', '1'), False), (('7', None), (None, '1'), False), ((None, None), (None, '1'), False),
    (('7', None), ('7', 'x'), False)])
def test_a_requeued_job_takes_its_own_lease_at_once_on_another_machine(
        tmp_path, monkeypatch, before, after, at_once, locks):
    as_job(monkeypatch, *before)
    start(lambda: Lease.take(tmp_path, **QUICK) and os._exit(0)).join()
    as_job(monkeypatch, *after)
    monkeypatch.setattr(lease, '_machine', lambda: 'elsewhere')
    if not locks:
        monkeypatch.setattr(lease.fcntl, 'flock', without_locks)
    found = try_take(tmp_path)
    assert (found is not None) == at_once
    if found:
        assert found.is_ours() and record_of(tmp_path)['restart'] == int(after[1])
        found.release()


def test_a_requeued_job_does_not_take_what_another_process_of_it_has_locked(
        tmp_path, holder_process, monkeypatch):
    as_job(monkeypatch, '7', '1')
    edit(tmp_path, job='7')
    assert try_take(tmp_path) is None


@pytest.mark.parametrize('content', [b'', b'\0' * 300])
def test_an_empty_file_is_free(tmp_path, content):
    """It is what a power failure can leave."""
    (tmp_path / '.lease').write_bytes(content)
    with Lease.take(tmp_path) as taken:
        assert taken.is_ours() and record_of(tmp_path)['pid'] == os.getpid()


@pytest.mark.parametrize('kind', ['folder', 'fifo', 'loop', 'nowhere'])
def test_what_stands_in_the_way_is_named_and_kept(tmp_path, kind):
    place = tmp_path / '.lease'
    dict(folder=place.mkdir, fifo=lambda: os.mkfifo(place), loop=lambda: place.symlink_to(place),
         nowhere=lambda: place.symlink_to(tmp_path / 'nowhere'))[kind]()
    for take in (Lease.take, try_take):
        with pytest.raises((InputError, OSError), match=r'\.lease'):
            take(tmp_path, **QUICK)
    assert os.listdir(tmp_path) == ['.lease']


@pytest.mark.parametrize('times', [(0, 1), (-1, 1), (1, 1.5), (float('nan'), 1), (1, float('nan'))])
def test_times_must_make_sense(tmp_path, times):
    with pytest.raises(InputError, match='heartbeat_s'):
        Lease.take(tmp_path, heartbeat_s=times[0], expires_s=times[1])
    with suppress(FileNotFoundError):
        assert not os.listdir(tmp_path)


def test_a_full_disk_is_named_and_nothing_stays(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/\.lease"):
        Lease.take(tmp_path)
    assert not os.listdir(tmp_path)
