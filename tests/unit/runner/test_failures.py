"""Errors that a user can mend end as one line, and failures of the machine say how to go on."""

import errno
import re
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from torch.utils.data import DataLoader, Dataset

from mmsimclr.checkpoints import CheckpointError
from mmsimclr.engine import scaled_lr
from mmsimclr.errors import InputError
from mmsimclr.runner import RunError, SaveError, plain_errors
from mmsimclr.runner.failures import explained_failures
from mmsimclr.transforms.load import ImageReadError


def test_an_error_of_ours_becomes_one_line():
    with pytest.raises(SystemExit, match=r"^error: rule must be one of .*, got 'cubic'$"), plain_errors():
        scaled_lr(0.3, 256, 'cubic')


def test_a_missing_file_becomes_one_line_whoever_misses_it(tmp_path):
    with pytest.raises(SystemExit, match=r'^error: .*No such file.*nowhere'), plain_errors():
        (tmp_path / 'nowhere').read_text()


@pytest.mark.parametrize('error', [ValueError('a fault'), OSError('of no file'), FileNotFoundError('none')])
def test_other_errors_keep_their_traceback(error):
    with pytest.raises(type(error)) as caught, plain_errors():
        raise error
    assert caught.value is error


def test_every_error_keeps_its_traceback_on_demand(monkeypatch):
    monkeypatch.setenv('MMSIMCLR_TRACEBACK', '1')
    with pytest.raises(ValueError, match='cubic'), plain_errors():
        scaled_lr(0.3, 256, 'cubic')


class FailingImages(Dataset):
    """Raise one of several errors, from another one, as loading an image does."""

    errors = (InputError('a.jpg is\nno image: x: y'), CheckpointError('b'), ImageReadError('c'),
              ValueError('d'))

    def __len__(self):
        return len(self.errors)

    def __getitem__(self, index):
        try:
            raise KeyError('cause')
        except KeyError as cause:
            raise self.errors[index] from cause


@pytest.mark.parametrize('index', range(4))
def test_an_error_of_ours_in_a_process_that_loads_images_becomes_one_line_too(index):
    loader = DataLoader(FailingImages(), num_workers=1, batch_size=1, sampler=[index])
    error = FailingImages.errors[index]
    with pytest.raises(ValueError if index == 3 else SystemExit) as caught, plain_errors():
        next(iter(loader))
    if index < 3:
        assert caught.value.code == f'error: {error}'
        assert type(caught.value.__context__) is type(error)
        assert 'KeyError' in str(caught.value.__context__), 'the traceback of the process is kept'


@pytest.mark.parametrize('arguments, said', [((), 'interrupted'), (('stopped; go on',), 'stopped; go on')])
def test_an_interruption_is_a_line_and_the_status_of_shells(arguments, said, capsys, monkeypatch):
    with pytest.raises(SystemExit) as ended, plain_errors(*arguments):
        raise KeyboardInterrupt
    assert ended.value.code == 130 and capsys.readouterr() == ('', f'{said}\n')
    monkeypatch.setenv('MMSIMCLR_TRACEBACK', '1')
    with pytest.raises(KeyboardInterrupt), plain_errors(*arguments):
        raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, 'SIGCHLD'), reason='about signals of Unix')
def test_a_loader_process_that_dies_at_the_end_adds_nothing():
    """Torch reports killed ones from a signal handler, whatever the program is doing then."""
    code = '''if True:
        import atexit, os, signal
        from mmsimclr.errors import InputError
        from mmsimclr.runner import plain_errors

        def report(*_):
            raise RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed.')

        def lose_one():
            if not os.fork():
                os.kill(os.getpid(), signal.SIGKILL)
            os.wait()

        signal.signal(signal.SIGCHLD, report)
        atexit.register(lose_one)
        with plain_errors():
            raise InputError('one line')
    '''
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr == 'error: one line\n'


def runner_of(processes: int, num_workers: int = 0, last_checkpoint: str | None = 'x/epoch_2.pth'):
    hub = MessageHub.get_instance(f'failures {processes}')
    hub.update_info('last_ckpt', last_checkpoint)
    return SimpleNamespace(
        rank=0, world_size=processes, iter=6, message_hub=hub, work_dir='work_dirs/x',
        train_dataloader=SimpleNamespace(timeout=3, num_workers=num_workers),
        cfg={'env_cfg': {'dist_cfg': {'timeout': 10}}})


def explanation(error: Exception, runner) -> str:
    with pytest.raises((RunError, SaveError)) as caught, explained_failures(runner):
        raise error
    assert caught.value.__cause__ is error
    return str(caught.value)


@pytest.mark.parametrize('error, num_workers, said', [
    (RuntimeError('DataLoader worker (pid(s) 7) exited unexpectedly'), 2, 'iteration 7 .*dmesg.*num_workers'),
    (ConnectionResetError('peer'), 2, r'connection .* broke at iteration 7 \(peer\)'),
    (EOFError(), 1, 'connection .* broke'),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you "
                  'tried to allocate 9 bytes.'), 0, 'memory ran out: lower'),
    (OSError(errno.EMFILE, 'Too many open files'), 2, r'too many files are open .*ulimit -n'),
    (RuntimeError('Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback:\nRuntimeError: '
                  'unable to open shared memory object </torch_1_2> in read-write mode: Too many open files '
                  '(24)'), 2, r'too many files are open .*ulimit -n'),
    (RuntimeError('Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback:\nRuntimeError: '
                  'unable to write to file </torch_12_34>: No space left on device (28)'), 2,
     r'through /dev/shm failed .*</torch_12_34>: No space left on device \(28\)\)'),
    (RuntimeError('DataLoader timed out after 3 seconds'), 2,
     r'for 3 s \(train_dataloader\.timeout\) at iteration 7'),
    (torch.OutOfMemoryError('CUDA out of memory.\nMore'), 0, r'\(CUDA out of memory.\): lower .*batch'),
    (MemoryError(), 0, 'memory ran out: lower'), (OSError(errno.ENOMEM, 'fork'), 0, 'memory ran out: lower'),
    (OSError(errno.ENOSPC, 'No space left', 'log.json'), 0, r'writing to log\.json failed \(No space left\)'),
    (OSError(errno.EIO, 'I/O error', 'a.tar'), 0, r'reading or writing a\.tar failed'),
    (OSError(errno.EIO, 'I/O error'), 0, r'a file failed at iteration 7 \(I/O error\); .* does not say'),
    (SaveError('y.pth could not be written'), 0, r'^y\.pth could not be written\. The last')])
def test_failures_of_the_machine_are_said_with_what_to_do(error, num_workers, said):
    message = explanation(error, runner_of(1, num_workers))
    assert re.search(said, message), message
    assert message.endswith('The last whole checkpoint is x/epoch_2.pth; --resume goes on from it')


@pytest.mark.parametrize('full', [[], ['/dev/shm'], ['work_dirs/x', '/dev/shm']])
def test_a_full_disk_that_the_error_does_not_name_is_looked_for(full, monkeypatch):
    """The queues of loader processes are in /dev/shm, and their error names no file."""
    monkeypatch.setattr(shutil, 'disk_usage', lambda place: SimpleNamespace(
        free=0 if place in full else 1 << 40))
    message = explanation(OSError(errno.ENOSPC, 'No space left on device'), runner_of(1, 2))
    found = re.search(r'Full is: (.*?)\. The last', message)
    assert (found[1].split(', ') if found else []) == full
    assert 'No space left on device' in message and ('work_dirs/x' in message) == ('work_dirs/x' in full)


def test_a_killed_rank_is_not_taken_for_a_loader_without_memory():
    for error in (ConnectionResetError('Connection reset by peer'), EOFError(),
                  RuntimeError('Connection closed by peer [10.0.0.2]:1234')):
        message = explanation(error, runner_of(2, num_workers=4))
        assert 'process 0 of 2 stopped at iteration 7' in message and 'its own log says why' in message
        assert 'loads images' not in message and 'memory' not in message


@pytest.mark.parametrize('error', [
    RuntimeError('[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.2]:1234\nmore'),
    torch.distributed.DistBackendError('NCCL communicator was aborted'), torch.distributed.DistStoreError()])
def test_a_process_among_many_says_where_it_stopped(error):
    message = explanation(error, runner_of(2, last_checkpoint=None))
    first_line = str(error).partition('\n')[0] or 'DistStoreError'
    assert f'process 0 of 2 stopped at iteration 7 ({first_line})' in message
    assert 'for 10 s (env_cfg.dist_cfg.timeout)' in message and 'No checkpoint was written yet' in message
    assert 'MMSIMCLR_TRACEBACK' in message


@pytest.mark.parametrize('error, processes', [
    (RuntimeError('mat1 and mat2 shapes cannot be multiplied'), 1), (ValueError('x'), 2),
    (ConnectionRefusedError(errno.ECONNREFUSED, 'the tracking server'), 1), (InputError('x'), 2)])
def test_faults_of_others_are_left_as_they_are(error, processes):
    with pytest.raises(type(error)) as caught, explained_failures(runner_of(processes)):
        raise error
    assert caught.value is error


def test_an_image_on_a_failing_disk_is_not_taken_for_a_failing_save():
    error = ImageReadError('cannot read image a.jpg: Input/output error')
    error.errno = errno.EIO
    with pytest.raises(ImageReadError) as caught, explained_failures(runner_of(1)):
        raise error
    assert caught.value is error
