"""Measuring as a ratio: alternating runs, in one process or each in its own; medians; peak memory."""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path

import torch

from mmsimclr.environment import hardware, versions

# What the measurements compare with, where it is installed (requirements/benchmark.in).
PEERS = ('onedl-mmpretrain', 'lightly', 'torchvision', 'faiss-cpu')

SERVED = 'seconds of a run: '


def parse(parser: argparse.ArgumentParser, quick: Mapping[str, object]) -> argparse.Namespace:
    """Return the arguments, ``out`` among them; ``--quick`` sets those given: does the script run at all?"""
    parser.add_argument('--quick', action='store_true', help='tiny sizes, which only show that it runs')
    folder = 'benchmarks/results/gpu' if torch.cuda.is_available() else 'benchmarks/results'
    parser.add_argument('--out', default=f'{folder}/{Path(sys.argv[0]).stem}.json',
                        help='file to write (default: %(default)s)')
    if parser.parse_known_args()[0].quick:
        parser.set_defaults(**quick)
    return parser.parse_args()


def peer_versions() -> dict[str, str | None]:
    """Return the version of each peer; None where it is not installed."""
    found = {}
    for name in PEERS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def alternate(runs: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each run, in rounds of one after the other; a first round does not count."""
    seconds = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def alternate_processes(script: str | Path, commands: Mapping[str, Sequence[object]], rounds: int
                        ) -> dict[str, list[float]]:
    """As :func:`alternate`, each run in a process of its own, in which the script calls :func:`serve`.

    So none lives with what another has set in the process, or finds memory that another left.

    Args:
        script: The script that is started.
        commands: Arguments of the script by name of the run.
        rounds: Rounds that count.
    """
    seconds = {name: [] for name in commands}
    with ExitStack() as stack:
        processes = {name: stack.enter_context(subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)) for name, arguments in commands.items()}
        for number in range(rounds + 1):
            for name, process in processes.items():
                process.stdin.write('run\n')
                process.stdin.flush()
                while (line := process.stdout.readline()) and not line.startswith(SERVED):
                    pass
                if not line:
                    raise RuntimeError(f'{script}: the process of {name} ended with {process.wait()}')
                if number:
                    seconds[name].append(float(line.removeprefix(SERVED)))
    return seconds


def in_turn(script: str | Path, commands: Mapping[str, Sequence[object]]) -> dict[str, list[float]]:
    """Return the list of seconds that each of several processes of a script prints, run one after the other.

    For what has loader processes: beside another's they would make batches in the time of the other.
    """
    return {name: json.loads(subprocess.run(
        [sys.executable, str(script), *map(str, arguments)], check=True, text=True,
        stdout=subprocess.PIPE).stdout.splitlines()[-1]) for name, arguments in commands.items()}


def serve(run: Callable[[], None]) -> None:
    """Run once for each line that comes in, and print the seconds it took."""
    for _ in sys.stdin:
        started = time.perf_counter()
        run()
        print(f'{SERVED}{time.perf_counter() - started}', flush=True)


def ratios(seconds: Mapping[str, list[float]], of: str) -> dict[str, dict[str, float]]:
    """Return each run's median, and how many times that of ``of`` it takes (median of the rounds' ratios)."""
    return {name: dict(median_s=statistics.median(times),
                       times_ours=statistics.median(a / b for a, b in zip(times, seconds[of], strict=True)))
            for name, times in seconds.items()}


def peak_mib(script: str | Path, *arguments: object) -> float:
    """Return what a script prints when run in a process of its own: its growth in MiB."""
    done = subprocess.run([sys.executable, str(script), *map(str, arguments)], capture_output=True, text=True,
                          check=True)
    return float(done.stdout.split()[-1])


def growth_mib(run: Callable[[], None], before: Callable[[], None]) -> float:
    """Return by how much the peak of memory rises in ``run``, after ``before`` has loaded what both need."""
    before()
    Path('/proc/self/clear_refs').write_text('5')            # forgets the peak of importing
    start = _status_kib('VmRSS')
    run()
    return (_status_kib('VmHWM') - start) / 1024


def _status_kib(name: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f'{name}:'))


def write(path: str | Path, **content: object) -> None:
    """Write a measurement as JSON, with the machine and the versions it was made on."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    record = {**content, 'hardware': hardware(), 'versions': versions()}
    Path(path).write_text(json.dumps(record, indent=2) + '\n', encoding='utf-8')
    print(json.dumps(content, indent=2))
