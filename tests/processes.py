"""Processes for tests: ranks of a process group, and tools, with an end to every wait.

All are forked from one server that has imported what they need but has never computed, so that each
starts in a fraction of a second and none shares state with the test.
"""

import contextlib
import multiprocessing
import os
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

ROOT = Path(__file__).parents[1]
PRELOADED = ['torch', 'torch.distributed', 'matplotlib.figure', 'mmpretrain.models', 'mmsimclr.config',
             'mmsimclr.datasets', 'mmsimclr.engine', 'mmsimclr.models', 'mmsimclr.quickstart',
             'mmsimclr.runner', 'mmsimclr.transforms']

CONTEXT = multiprocessing.get_context('forkserver')
CONTEXT.set_forkserver_preload(PRELOADED)


def run_ranks(function: Callable, world_size: int, *args: Any, folder: Path,
              timeout_s: float = 90) -> list[Any]:
    """Call ``function(*args)`` on every rank of a gloo process group; return the results in rank order.

    Args:
        function: A function of a module that the ranks can import.
        world_size: Number of ranks.
        args: Its arguments, picklable.
        folder: An empty folder for the rendezvous and the results.
        timeout_s: Seconds until the ranks are killed.

    Raises:
        AssertionError: If a rank raised or did not end in time; the message says what each one did.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ranks = [CONTEXT.Process(target=_rank_main, args=(function, rank, world_size, str(folder), args),
                             daemon=False) for rank in range(world_size)]
    for process in ranks:
        process.start()
    deadline = time.monotonic() + timeout_s
    for process in ranks:
        process.join(max(0.0, deadline - time.monotonic()))
    late = [rank for rank, process in enumerate(ranks) if process.is_alive()]
    _kill(ranks)
    outcomes = []
    for rank in range(world_size):
        path = folder / f'{rank}.pt'
        outcomes.append(torch.load(path, weights_only=False) if path.is_file()
                        else ('ended without a result', f'exit code {ranks[rank].exitcode}'))
    assert not late, f'ranks {late} of {world_size} did not end within {timeout_s} s: {outcomes}'
    for rank, (what, value) in enumerate(outcomes):
        assert what == 'returned', f'rank {rank} of {world_size} {what}:\n{value}'
    return [value for _, value in outcomes]


def _rank_main(function: Callable, rank: int, world_size: int, folder: str, args: tuple) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size),
                      CUDA_VISIBLE_DEVICES='')
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank,
                            world_size=world_size, timeout=timedelta(seconds=60))
    try:
        outcome = 'returned', function(*args)
    except BaseException:
        outcome = 'raised', traceback.format_exc()
    partial = Path(folder, f'.{rank}.pt')
    torch.save(outcome, partial)
    partial.replace(Path(folder, f'{rank}.pt'))
    if outcome[0] == 'returned':
        dist.destroy_process_group()


def _kill(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        if process.is_alive():
            process.kill()
        process.join(10)


class Tool:
    """A script of tools/ (or a module, ``-m name``) running in a process of its own.

    Attributes:
        process: The process.
        output: File that receives its standard output and error.
    """

    def __init__(self, output: Path, script: str, *args: Any, cwd: Path = ROOT, **environment: str) -> None:
        self.output = output
        self.process = CONTEXT.Process(
            target=_tool_main, args=(str(output), script, [str(arg) for arg in args], str(cwd), environment))
        self.process.start()

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(encoding='utf-8') if self.output.is_file() else ''

    def wait(self, timeout_s: float = 120) -> tuple[int, str]:
        """Return exit status and output; kill it after the timeout, which fails the test."""
        self.process.join(timeout_s)
        late = self.process.is_alive()
        self.kill()
        assert not late, f'{self.output.name} did not end within {timeout_s} s:\n{self.text}'
        return self.process.exitcode, self.text

    def wait_for(self, happened: Callable[[], bool], timeout_s: float = 60) -> None:
        """Wait until something has happened; it is an error if the tool ends or time passes first."""
        deadline = time.monotonic() + timeout_s
        while not happened():
            alive = self.process.is_alive() and time.monotonic() < deadline
            assert alive, f'it never happened; exit code {self.process.exitcode}, output:\n{self.text}'
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once, with the loader processes it has started."""
        if self.process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join(10)


def run_tool(output: Path, script: str, *args: Any, timeout_s: float = 120,
             **environment: str) -> tuple[int, str]:
    """Run a script of tools/ with arguments; return its exit status and what it printed."""
    return Tool(output, script, *args, **environment).wait(timeout_s)


def _tool_main(output: str, script: str, args: list[str], cwd: str, environment: dict[str, str]) -> None:
    os.setsid()
    # Tests that run in the background of a shell inherit that Ctrl-C is to be ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = (os.fdopen(stream, 'w', encoding='utf-8', buffering=1, closefd=False)
                              for stream in (1, 2))
    torch.set_num_threads(1)
    os.chdir(cwd)
    # Bit-exact resumption is a promise for CPUs; without this a machine's GPU would be taken.
    os.environ.update({'CUDA_VISIBLE_DEVICES': '', **environment})
    sys.path[:0] = [path for path in environment.get('PYTHONPATH', '').split(os.pathsep) if path]
    sys.argv = [script, *args]
    if script.startswith('-m '):
        runpy.run_module(script[3:], run_name='__main__', alter_sys=True)
    else:
        runpy.run_path(str(ROOT / 'tools' / script), run_name='__main__')
