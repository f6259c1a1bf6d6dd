"""Running a study: cells in processes, shared by any number of workers over one folder."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from mmsimclr.engine.hooks.preemption import PREEMPTED
from mmsimclr.errors import InputError, MachineError
from mmsimclr.files import check_fields, read_if_whole, read_json, write_json
from mmsimclr.studies.cell_process import FAILED, HELD_ELSEWHERE, work
from mmsimclr.studies.record import CellResult, read_cell, read_records
from mmsimclr.studies.study import Cell, Study, load_study

MAX_KILLS = 3                                   # of a cell's process, before the cell counts as failed
POLL_S = 0.2
LOOK_AGAIN_S = 5.0                              # at cells that another worker holds


class Worker:
    """Runs a study's cells, a number of them at a time.

    Args:
        study, work_dir: The study, and the folder of all cells, which several studies may share.
        known: Results from elsewhere, which are taken as done.
        jobs: Cells at a time; the cores are dealt out among them.
        shard: (k, n): only each n-th cell, from the k-th on, counted from 0.
        retry_failed, past_gate: Run failed cells again; go on although the study's gate stays closed.
        report: Called with a line of text when a cell begins or ends.
        finished: Called with all results whenever a cell has ended.
    """

    def __init__(self, study: Study, work_dir: Path, known: Iterable[CellResult] = (), jobs: int = 1,
                 shard: tuple[int, int] = (0, 1), retry_failed: bool = False, past_gate: bool = False,
                 report: Callable[[str], None] = print,
                 finished: Callable[[list[CellResult]], None] = lambda results: None) -> None:
        if jobs < 1 or not 0 <= shard[0] < shard[1]:
            raise InputError(f'jobs must be >= 1 and shard k/n with 0 <= k < n, got {jobs} and '
                             f'{shard[0]}/{shard[1]}')
        self.study, self.work_dir, self.jobs, self.shard = study, Path(work_dir), jobs, shard
        self.known, self.past_gate, self.report, self.finished = list(known), past_gate, report, finished
        self.cells_dir, self.pause_file = self.work_dir / 'cells', self.work_dir / 'paused'
        self.retry_failed, self.retried = retry_failed, set[str]()
        self.running: dict[str, tuple[ForkServerProcess, Cell, int]] = {}
        self.kills: dict[str, int] = {}
        self.elsewhere: dict[str, float] = {}
        self.is_paused = False
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else []
        self.cpus = [tuple(cores[slot::jobs]) or None for slot in range(jobs)]
        self.context = multiprocessing.get_context('forkserver')
        self.context.set_forkserver_preload(['mmsimclr.studies.cell_process'])

    def results(self) -> tuple[list[Cell], dict[str, CellResult], str]:
        """Return the planned cells, the results by the cells' names, and the plan's note."""
        results: dict[str, CellResult] = {}
        while True:
            cells, note = self.study.plan(results, self.past_gate)
            new = {cell.name: result for cell in cells if cell.name not in results
                   and (result := self._result(cell)) is not None}
            if not new:
                return cells, results, note
            results |= new

    def _result(self, cell: Cell) -> CellResult | None:
        """Return a cell's result if it has run, here or elsewhere with the same config, data and measures."""
        folder, measures = self.cells_dir / cell.name, {each.name: each.sha256 for each in cell.measures}
        if found := read_cell(folder / cell.record, cell.name):
            found.at, found.tuning = cell.at, cell.tuning
            return found
        for each in self.known:
            same_data = cell.data_sha256 in (None, each.data_sha256)
            if (not each.failure and each.config_sha256 == cell.config_sha256 and same_data
                    and measures.items() <= each.measures.items()):
                return replace(each, name=cell.name, at=cell.at, tuning=cell.tuning)
        failed = read_if_whole(lambda path: check_fields(read_json(path, 'a failure'), str(path), 'a failure',
                                                         dict(reason=(str,))), folder / 'failed.json')
        if failed and not (self.retry_failed and cell.name not in self.retried):
            return CellResult(cell.name, cell.at, cell.seed, cell.config_sha256, cell.data_sha256, measures,
                              tuning=cell.tuning, failure=failed['reason'])
        return None

    def run(self) -> tuple[list[CellResult], str]:
        """Run what is left until nothing is; return the results in the plan's order, and its note.

        At SIGTERM, Ctrl-C and when paused, running cells save and stop; nothing that was done is repeated.
        """
        with self._signals():
            try:
                while self._step():
                    time.sleep(POLL_S)
            finally:
                self._stop()
        cells, results, note = self.results()
        ordered = [results[cell.name] for cell in cells if cell.name in results]
        self.finished(ordered)
        return ordered, note

    def _step(self) -> bool:
        """Collect what has ended and start what is next; return whether anything is left to wait for."""
        ended = [name for name, (process, _, _) in self.running.items() if process.exitcode is not None]
        for name in ended:
            self._collect(*self.running.pop(name)[:2])
        if self.pause_file.exists():
            if not self.is_paused:
                self.report(f'paused: {self.pause_file} exists; running cells save and stop')
                self._stop()
            self.is_paused = True
            return True
        self.is_paused = False
        if len(self.running) == self.jobs:
            return True
        cells, results, note = self.results()
        if ended:
            self.finished([results[cell.name] for cell in cells if cell.name in results])
        left = [cell for cell in cells if cell.name not in results]
        mine = [cell for cell in left if int(cell.name, 16) % self.shard[1] == self.shard[0]]
        now = time.monotonic()
        free = [cell for cell in mine if cell.name not in self.running
                and now - self.elsewhere.get(cell.name, -LOOK_AGAIN_S) >= LOOK_AGAIN_S]
        slots = set(range(self.jobs)) - {slot for _, _, slot in self.running.values()}
        for cell, slot in zip(free, sorted(slots), strict=False):
            (self.cells_dir / cell.name).mkdir(parents=True, exist_ok=True)
            if self.retry_failed and cell.name not in self.retried:
                self.retried.add(cell.name)
                (self.cells_dir / cell.name / 'failed.json').unlink(missing_ok=True)
            # What it prints goes to the cell's log, and a worker is no daemon: it has loader processes. The
            # copy has nothing of what the cell has worked out, which need not travel.
            process = self.context.Process(target=work, args=(replace(cell), self.cells_dir / cell.name,
                                                              self.cpus[slot]))
            process.start()
            self.running[cell.name] = process, cell, slot
            if cell.name not in self.elsewhere:
                self.report(f'{len(results) + 1}/{len(cells)}  {cell.title}')
        # More may follow when others have done theirs.
        return bool(self.running or mine or (note and left))

    def _collect(self, process: ForkServerProcess, cell: Cell) -> None:
        code = process.exitcode
        self.elsewhere.pop(cell.name, None)
        if code == HELD_ELSEWHERE:
            self.elsewhere[cell.name] = time.monotonic()
        elif code == FAILED:
            self.report(f'failed: {cell.title}: see {self.cells_dir / cell.name}/log.txt')
        elif code not in (0, PREEMPTED, -signal.SIGTERM):
            kills = self.kills[cell.name] = self.kills.get(cell.name, 0) + 1
            self.report(f'{cell.title}: its process ended with status {code}'
                        + (', and is started again' if kills < MAX_KILLS else ''))
            if kills >= MAX_KILLS:
                reason = f'its process ended with status {code}, {kills} times; memory may have run out'
                write_json(self.cells_dir / cell.name / 'failed.json', dict(reason=reason))

    def _stop(self) -> None:
        """Have running cells save and stop, and wait for them."""
        for process, _, _ in self.running.values():
            process.terminate()
        for process, cell, _ in self.running.values():
            process.join()
            self._collect(process, cell)
        self.running = {}

    @contextmanager
    def _signals(self):
        """Take SIGTERM as Ctrl-C, and SIGUSR1 as the switch between pausing and going on."""
        def end(number: int, frame: object) -> None:
            raise KeyboardInterrupt

        def switch(number: int, frame: object) -> None:
            if self.pause_file.exists():
                self.pause_file.unlink(missing_ok=True)
            else:
                self.pause_file.touch()

        before = signal.signal(signal.SIGTERM, end), signal.signal(signal.SIGUSR1, switch)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before[0])
            signal.signal(signal.SIGUSR1, before[1])


def run_study(study: Study, work_dir: str | Path, known: str | Path | None = None,
              **arguments: object) -> tuple[list[CellResult], str]:
    """Run what is left of a study; return all results, and a note where more cells may follow.

    ``work_dir`` is the folder of the cells, which workers on any number of hosts may share; ``known`` a file
    of results that are taken as done. Further arguments are those of :class:`Worker`.
    """
    worker = Worker(study, Path(work_dir), read_records(known) if known else (), **arguments)
    worker.work_dir.mkdir(parents=True, exist_ok=True)
    return worker.run()


def submit_study(config: str, preset: str, options: dict, work_dir: str, known: str, executor: str,
                 num_tasks: int, arguments: dict) -> str:
    """Run a study as an array of jobs over one folder; return where their logs are.

    Jobs share the cells by their leases. ``executor`` is ``'slurm'``, or ``'local'``, which waits for its
    processes. Arguments are those of :func:`mmsimclr.studies.load_study`, :func:`run_study` and, in
    ``arguments``, :class:`Worker`. MachineError if submitit is not installed.
    """
    try:
        import submitit
    except ImportError as error:
        raise MachineError('--submit needs submitit: pip install mmsimclr[studies]') from error
    logs = Path(work_dir).absolute() / 'jobs'
    submitter = submitit.AutoExecutor(folder=str(logs), cluster=executor)
    submitter.update_parameters(timeout_min=24 * 60, cpus_per_task=os.cpu_count() or 1)
    with submitter.batch():
        jobs = [submitter.submit(_run_job, str(Path(config).absolute()), preset, options,
                                 str(Path(work_dir).absolute()), known, arguments) for _ in range(num_tasks)]
    if executor == 'local':
        for job in jobs:
            job.result()
    return f'{num_tasks} jobs: {", ".join(job.job_id for job in jobs)}; logs in {logs}'


def _run_job(config: str, preset: str, options: dict, work_dir: str, known: str, arguments: dict) -> None:
    run_study(load_study(config, preset, options), work_dir, known, **arguments)
