"""The work of one cell, in a process of its own: pre-training, then every measurement."""

import json
import os
import shutil
import signal
import sys
import threading
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from multiprocessing import parent_process
from pathlib import Path

import torch

from mmsimclr.errors import InputError, UserError
from mmsimclr.files import HeldError, Lease, LostLeaseError, file_digest, read_if_whole, write_json
from mmsimclr.protocols import Result, pretrain, read_result, run_benchmark
from mmsimclr.studies.record import CellResult, read_cell
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
            if read_cell(folder / cell.record, cell.name) is None:
                write_json(folder / cell.record, asdict(run_cell(cell, folder)))
        except SystemExit as error:                          # preempted
            status = error.code if isinstance(error.code, int) else FAILED
        except (HeldError, LostLeaseError):
            status = HELD_ELSEWHERE
        except Exception as error:
            traceback.print_exc()
            reason = error.explanation if isinstance(error, UserError) else f'{type(error).__name__}: {error}'
            write_json(folder / 'failed.json', dict(reason=reason))
            status = FAILED
    sys.stdout.flush()
    os._exit(status)


def run_cell(cell: Cell, folder: Path) -> CellResult:
    """Pre-train and measure, going on where an earlier process stopped; return the numbers."""
    config = cell.load(folder / 'pretraining')
    config.resume = True
    first = read_if_whole(read_result, folder / 'pretraining' / 'result.json')
    if first is None or first.checkpoint_sha256 != _digest(_checkpoint(folder, first)):
        first = run_benchmark(config, None, config_path=cell.base) if config.get('protocol') else \
            pretrain(config, cell.base, 'mmsimclr study')    # the former is a supervised baseline, say
    results, checkpoint = {'pretraining': first}, _checkpoint(folder, first)
    sha256 = _digest(checkpoint)
    for measure in cell.measures:
        place = folder / f'{measure.name}-{measure.sha256[:8]}'
        if checkpoint is None:
            raise InputError(f'{cell.base} leaves no checkpoint to measure {measure.name} on')
        done = read_if_whole(read_result, place / 'result.json')
        results[measure.name] = done if done and done.checkpoint_sha256 == sha256 else run_benchmark(
            measure.load(place), str(checkpoint), config_path=measure.config, cache_dir=folder / 'features')
    shutil.rmtree(folder / 'features', ignore_errors=True)
    times = [result.wall_time_s for result in results.values()]
    return CellResult(
        cell.name, cell.at, cell.seed, cell.config_sha256, cell.data_sha256,
        {measure.name: measure.sha256 for measure in cell.measures},
        {f'{name}.{metric}': value for name, result in results.items()
         for metric, value in result.metrics.items()},
        None if None in times else round(sum(times), 1), cell.tuning, options=_plain(cell.options),
        series={f'{name}.{key}': values for name, result in results.items()
                for key, values in result.series.items()},
        provenance=dict(checkpoint_sha256=first.checkpoint_sha256, versions=first.versions,
                        hardware=first.hardware))


def _checkpoint(folder: Path, result: Result) -> Path | None:
    # The result has a path from where that process was started.
    return folder / 'pretraining' / Path(result.checkpoint).name if result.checkpoint else None


def _digest(checkpoint: Path | None) -> str | None:
    return file_digest(checkpoint) if checkpoint and checkpoint.is_file() else None


def _plain(options: dict) -> dict:
    return json.loads(json.dumps(options, default=lambda value: getattr(value, '__name__', repr(value))))


def _end_with_the_parent() -> None:
    """End this process when the one that started it ends, however that came about."""
    parent = parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()
