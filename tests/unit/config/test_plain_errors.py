import signal
import subprocess
import sys

import pytest

from mmsimclr.engine import scaled_lr
from mmsimclr.runner import plain_errors
from mmsimclr.transforms.views import sample_seed


def test_an_error_of_ours_becomes_one_line():
    with pytest.raises(SystemExit, match=r"^error: rule must be one of .*, got 'cubic'$"), plain_errors():
        scaled_lr(0.3, 256, 'cubic')


def test_a_missing_file_becomes_one_line_whoever_misses_it(tmp_path):
    with pytest.raises(SystemExit, match=r'^error: .*No such file.*nowhere'), plain_errors():
        (tmp_path / 'nowhere').read_text()


def test_an_operation_that_fails_in_our_code_keeps_its_traceback():
    with pytest.raises(TypeError), plain_errors():
        sample_seed('0', 0, 0)


def test_an_error_of_others_keeps_its_traceback():
    with pytest.raises(ValueError, match='not ours'), plain_errors():
        raise ValueError('not ours')


def test_every_error_keeps_its_traceback_on_demand(monkeypatch):
    monkeypatch.setenv('MMSIMCLR_TRACEBACK', '1')
    with pytest.raises(ValueError, match='cubic'), plain_errors():
        scaled_lr(0.3, 256, 'cubic')


@pytest.mark.parametrize('arguments, said', [((), 'interrupted'), (('stopped; go on',), 'stopped; go on')])
def test_an_interruption_is_a_line_and_the_status_of_shells(arguments, said, capsys, monkeypatch):
    with pytest.raises(SystemExit) as ended, plain_errors(*arguments):
        raise KeyboardInterrupt
    assert ended.value.code == 130 and capsys.readouterr() == ('', f'{said}\n')
    monkeypatch.setenv('MMSIMCLR_TRACEBACK', '1')
    with pytest.raises(KeyboardInterrupt), plain_errors(*arguments):
        raise KeyboardInterrupt


def test_exits_pass():
    with pytest.raises(SystemExit, match='3'), plain_errors():
        raise SystemExit(3)


@pytest.mark.skipif(not hasattr(signal, 'SIGCHLD'), reason='about signals of Unix')
def test_a_loader_process_that_dies_at_the_end_adds_nothing():
    """Torch reports killed ones from a signal handler, whatever the program is doing then."""
    code = '''if True:
        import atexit, os, signal
        from mmsimclr.config import plain_errors
        from mmsimclr.engine import scaled_lr

        def report(*_):
            raise RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed.')

        def lose_one():
            if not os.fork():
                os.kill(os.getpid(), signal.SIGKILL)
            os.wait()

        signal.signal(signal.SIGCHLD, report)
        atexit.register(lose_one)
        with plain_errors():
            scaled_lr(0.3, 256, 'cubic')
    '''
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith('error: rule must be one of ')
    assert len(done.stderr.splitlines()) == 1
