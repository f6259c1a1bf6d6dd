"""Ctrl-C at a terminal: the step is finished and saved, and the command that is printed goes on."""

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from processes import ROOT

NAME = 'simclr_resnet18-w16_1xb128-coslr-5e_shapes'
TINY = ['model.backbone.base_channels=4', 'model.neck.in_channels=32', 'model.neck.hid_channels=16',
        'train_dataloader.dataset.num_images=80', 'batch_size=8', 'custom_hooks.2.bank.num_images=40',
        'custom_hooks.2.queries.num_images=20', 'default_hooks.checkpoint.interval=1000']


class Terminal:
    """A command on a terminal of its own, whose keys are pressed by writing to it."""

    def __init__(self, words: list[str], cwd: Path) -> None:
        self.keys, terminal = pty.openpty()
        environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'CUDA_VISIBLE_DEVICES': '', 'COLUMNS': '200'}
        self.process = subprocess.Popen(words, cwd=cwd, stdin=terminal, stdout=terminal, stderr=terminal,
                                        env=environment, start_new_session=True,
                                        preexec_fn=self._take_terminal)
        os.close(terminal)
        self.text = ''

    @staticmethod
    def _take_terminal() -> None:
        import fcntl
        import termios
        signal.signal(signal.SIGINT, signal.default_int_handler)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def read_until(self, pattern: str, timeout_s: float = 120) -> None:
        deadline = time.monotonic() + timeout_s
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, self.text
            try:
                self.text += os.read(self.keys, 65536).decode()
            except OSError:                                            # the other end is closed
                assert re.search(pattern, self.text), self.text

    def press_ctrl_c(self) -> None:
        os.write(self.keys, b'\x03')

    def status(self) -> int:
        return self.process.wait(60)


def test_ctrl_c_loses_no_step_and_prints_the_command_that_goes_on(tmp_path):
    words = [sys.executable, '-m', 'mmsimclr', 'train', NAME, 'epochs=300', '--work-dir', 'run', *TINY]
    terminal = Terminal(words, tmp_path)
    terminal.read_until(r'step  1/10 ')
    assert terminal.text.index('images  ') < terminal.text.index('step  1/10')
    assert len(terminal.text[:terminal.text.index('step  1/10')].splitlines()) < 25
    time.sleep(1)
    terminal.press_ctrl_c()
    terminal.read_until('To go on:\r\n  .*--resume\r\n')
    assert terminal.status() == 130 and 'Traceback' not in terminal.text
    done = int(re.search(r'SIGINT: stopped after iteration (\d+) of 3000', terminal.text)[1])
    saved = torch.load(tmp_path / 'run' / 'interrupted.pth', weights_only=False)
    assert saved['meta']['iter'] == done > 1
    shown = shlex.split(re.search(r'To go on:\r\n  (.*)\r\n', terminal.text)[1])
    assert shown[:2] == ['mmsimclr', 'train'] and shown[-1] == '--resume'
    # Fewer epochs would be another schedule; a second Ctrl-C while it saves, or before, ends it at once.
    again = Terminal([sys.executable, '-m', *shown], tmp_path)
    again.read_until(r'ETA ')
    assert f'going on after {done:,}' in again.text
    again.press_ctrl_c()
    again.press_ctrl_c()
    assert again.status() == 130
