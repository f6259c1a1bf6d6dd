"""The work of one cell, in a process of its own: pre-training, then every measurement."""

import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from multiprocessing import parent_process
from pathlib import Path

import torch

from mmsimclr.errors import InputError, UserError
from mmsimclr.files import HeldError, Lease, LostLeaseError, atomic_writer
from mmsimclr.protocols import Result, pretrain, read_result, run_benchmark
from mmsimclr.studies.record import CellResult
from mmsimclr.studies.study import Cell

HELD_ELSEWHERE = 76                             # beside PREEMPTED, 75
FAILED = 77


def work(cell: Cell, folder: Path, cpus: tuple[int, ...] | None = None) -> None:
    """Do what is left of a cell in its folder, on some cores, and end the process; its status says how.

    0: the cell's record is written. :data:`HELD_ELSEWHERE`: another process works on the cell.
    :data:`FAILED`: ``failed.json`` says why. 75: it was told to stop, and has saved.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)             # the worker tells it to save, by SIGTERM
    _end_with_the_parent()
    if cpus:
        os.sched_setaffinity(0, cpus)
        torch.set_num_threads(len(cpus))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # It waits for a sign of life of a holder on another machine, and takes over from a dead one.
        lease = Lease.take(folder, label=cell.title)
    except HeldError:
        os._exit(HELD_ELSEWHERE)
    status = 0
    with lease, open(folder / 'log.txt', 'a', buffering=1, encoding='utf-8') as log, \
            redirect_stdout(log), redirect_stderr(log):
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            if cell.name != folder.name:
                raise InputError(f'{cell.title} was planned as {folder.name} and is now {cell.name}: its '
                                 'configs or its images changed meanwhile; start the study again')
            if not (folder / cell.record).exists():
                _write(folder / cell.record, asdict(run_cell(cell, folder)))
        except SystemExit as error:                          # preempted
            status = error.code if isinstance(error.code, int) else FAILED
        except (HeldError, LostLeaseError):
            status = HELD_ELSEWHERE
        except Exception as error:
            traceback.print_exc()
            reason = error.explanation if isinstance(error, UserError) else f'{type(error).__name__}: {error}'
            _write(folder / 'failed.json', dict(reason=reason))
            status = FAILED
    sys.stdout.flush()
    os._exit(status)


def run_cell(cell: Cell, folder: Path) -> CellResult:
    """Pre-train and measure, going on where an earlier process stopped; return the numbers."""
    started = time.perf_counter()
    config = cell.load(folder / 'pretraining')
    config.resume = True
    results: dict[str, Result] = {}
    done = folder / 'pretraining' / 'result.json'
    if done.is_file():
        results['pretraining'] = read_result(done)
    elif config.get('protocol'):                             # a supervised baseline, say
        results['pretraining'] = run_benchmark(config, None, config_path=cell.base)
    else:
        results['pretraining'] = pretrain(config, cell.base, 'mmsimclr study')
    named = results['pretraining'].checkpoint                # as a path from where that process was started
    checkpoint = named and folder / 'pretraining' / Path(named).name
    for measure in cell.measures:
        place = folder / f'{measure.name}-{measure.sha256[:8]}'
        done = place / 'result.json'
        if checkpoint is None:
            raise InputError(f'{cell.base} leaves no checkpoint to measure {measure.name} on')
        results[measure.name] = read_result(done) if done.is_file() else run_benchmark(
            measure.load(place), str(checkpoint), config_path=measure.config, cache_dir=folder / 'features')
    shutil.rmtree(folder / 'features', ignore_errors=True)
    first = results['pretraining']
    seconds = sum(result.wall_time_s or 0.0 for result in results.values())
    return CellResult(
        cell.name, cell.at, cell.seed, cell.config_sha256, cell.data_sha256,
        {measure.name: measure.sha256 for measure in cell.measures},
        {f'{name}.{metric}': value for name, result in results.items()
         for metric, value in result.metrics.items()},
        round(seconds or time.perf_counter() - started, 1), cell.tuning, options=_plain(cell.options),
        series={f'{name}.{key}': values for name, result in results.items()
                for key, values in result.series.items()},
        provenance=dict(checkpoint_sha256=first.checkpoint_sha256, versions=first.versions,
                        hardware=first.hardware))


def _plain(options: dict) -> dict:
    return json.loads(json.dumps(options, default=lambda value: getattr(value, '__name__', repr(value))))


def _write(path: Path, content: dict) -> None:
    with atomic_writer(path) as file:
        file.write((json.dumps(content, indent=1, allow_nan=False) + '\n').encode())


def _end_with_the_parent() -> None:
    """End this process when the one that started it ends, however that came about."""
    parent = parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()
