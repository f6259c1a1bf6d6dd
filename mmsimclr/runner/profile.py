"""Profile of a run: a trace and the time of each part of a step, and the share of the device's peak."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import torch
from mmengine.hooks import Hook
from torch.utils.flop_counter import FlopCounterMode

from mmsimclr.distributed import rank, unwrap_model
from mmsimclr.errors import InputError
from mmsimclr.files import atomic_writer
from mmsimclr.models import SimCLR
from mmsimclr.registry import MODELS

FOLDER = 'profile'
PARTS = ('data wait', 'copy', 'views', 'forward', 'backward', 'optimizer')
SKIPPED = 3                         # steps that set up what is set up once
# Kernels of NCCL, and what gloo does on the host.
COMMUNICATION = ('nccl', 'gloo', 'c10d::')
# Dense bfloat16 TFLOP/s by a part of the device's name: NVIDIA's data sheets, without sparsity.
PEAK_TFLOPS = {'H200': 989, 'H100 NVL': 835, 'H100 PCIe': 756, 'H100': 989, 'A100': 312, 'L40S': 362,
               'L4': 121, 'A10G': 70, 'A10': 125, 'RTX 4090': 165}


def peak_flops(device: torch.device) -> float | None:
    """Return the operations per second that a device does at most in bfloat16; None where it is not known."""
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else ''
    return next((1e12 * peak for part, peak in PEAK_TFLOPS.items() if part in name), None)


def step_flops(runner) -> float | None:
    """Return the operations of a device's last step; None where the encoder is unknown or cannot be counted.

    They are those of the encoder's forward pass, a multiplication and an addition counted as two, and twice
    as many for the backward pass. Head and loss do not count, nor does what chunks compute again.
    """
    model, encoder = unwrap_model(runner.model), (runner.cfg.get('model') or {}).get('backbone')
    shapes = getattr(model.data_preprocessor, 'shapes', ())
    if not (isinstance(model, SimCLR) and isinstance(encoder, Mapping) and shapes):
        return None
    try:
        with torch.device('meta'):
            twin = MODELS.build({**encoder, 'init_cfg': None}).eval()
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                for _, *image in shapes:
                    twin(torch.empty(1, *image))
    except (RuntimeError, TypeError):                               # an operation that meta tensors lack
        return None
    return 3.0 * shapes[0][0] * counter.get_total_flops()


class ProfileHook(Hook):
    """Profile some steps after the first few; write ``profile/trace.json.gz`` and ``profile/table.txt``.

    On a GPU the time of a part is that between its ends on the device's stream. Communication overlaps with
    the backward pass; it is taken from the trace. 'other' is what has no name, such as hooks. Each rank
    writes files of its own.

    Args:
        num_steps: Steps to profile, >= 1.
    """

    priority = 'LOWEST'
    _part = ''                                                    # that is being timed

    def __init__(self, num_steps: int) -> None:
        if num_steps < 1:
            raise InputError(f'the steps to profile (--profile) must be 1 or more, got {num_steps}')
        self.num_steps, self._profiler = num_steps, None

    def before_train(self, runner) -> None:
        left = runner.max_iters - runner.iter
        if left < self.num_steps:
            raise InputError(f'--profile {self.num_steps} asks for more steps than the {left} to be made')
        self._first = runner.iter + min(SKIPPED, left - self.num_steps)
        loop, batches = runner.train_loop, getattr(runner.train_loop, 'batches_after', None)
        if batches is None:
            raise InputError(f'--profile profiles runs by epochs, and this one has {type(loop).__name__}')
        loop.batches_after = lambda done: self._waited_for(batches(done), runner)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self._first + self.num_steps:
            self._end(runner)

    def _begin(self, runner) -> None:
        model, wrapper = unwrap_model(runner.model), runner.optim_wrapper
        self._marks: list[tuple[str, object, object]] = []
        self._restoring = ExitStack()
        preprocessor = model.data_preprocessor
        for part, owner, name in (('copy', preprocessor, 'cast_data'), ('views', preprocessor, 'views'),
                                  ('forward', model, 'forward'), ('backward', wrapper, 'backward'),
                                  ('optimizer', wrapper, 'step')):
            if getattr(owner, name, None) is not None:
                self._wrap(part, owner, name)
        self._device = next(model.parameters()).device
        self._profiler = torch.profiler.profile(acc_events=True)
        self._profiler.start()
        self._started = self._now()

    def _wrap(self, part: str, owner: object, name: str) -> None:
        function: Callable = getattr(owner, name)

        def timed(*args, **kwargs):
            if self._part == part:                                # cast_data calls itself
                return function(*args, **kwargs)
            with self._timed(part):
                return function(*args, **kwargs)
        if name in vars(owner):                                   # otherwise it is of the class
            self._restoring.callback(object.__setattr__, owner, name, function)
        else:
            self._restoring.callback(vars(owner).pop, name)
        object.__setattr__(owner, name, timed)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started, self._part = self._now(), part
        with torch.profiler.record_function(part):
            yield
        self._part = ''
        self._marks.append((part, started, self._now()))

    def _waited_for(self, batches: Iterator, runner) -> Iterator:
        end = object()
        while True:
            if runner.iter == self._first and self._profiler is None:
                self._begin(runner)
            with self._timed('data wait') if self._profiler else nullcontext():
                batch = next(batches, end)
            if batch is end:
                return
            yield batch

    def _now(self) -> object:
        if self._device.type != 'cuda':
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _ms(self, start: object, end: object) -> float:
        return start.elapsed_time(end) if self._device.type == 'cuda' else 1e3 * (end - start)

    def _end(self, runner) -> None:
        end = self._now()
        if self._device.type == 'cuda':
            torch.cuda.synchronize()
        self._profiler.stop()
        self._restoring.close()
        ms: dict[str, float] = defaultdict(float)
        for part, *ends in self._marks:
            ms[part] += self._ms(*ends) / self.num_steps
        step = self._ms(self._started, end) / self.num_steps
        rows = {part: ms[part] for part in PARTS} | {'other': max(0.0, step - sum(ms.values())), 'step': step}
        table = table_of(rows, self._communication_ms(), step_flops(runner), peak_flops(self._device))
        folder, own = Path(runner.work_dir) / FOLDER, f'_{rank()}' if runner.world_size > 1 else ''
        folder.mkdir(exist_ok=True)
        self._profiler.export_chrome_trace(str(folder / f'trace{own}.json.gz'))
        with atomic_writer(folder / f'table{own}.txt') as file:
            file.write(f'{table}\n'.encode())
        runner.logger.info(f'profile of {self.num_steps} steps, in {folder}:\n{table}')
        self._profiler = None
        vars(runner.train_loop).pop('batches_after')

    def _communication_ms(self) -> float:
        time_of = 'self_device_time_total' if self._device.type == 'cuda' else 'self_cpu_time_total'
        return sum(getattr(event, time_of) for event in self._profiler.key_averages()
                   if any(part in event.key.lower() for part in COMMUNICATION)) / 1e3 / self.num_steps


def table_of(ms: dict[str, float], communication_ms: float, flops: float | None, peak: float | None) -> str:
    """Return the lines of a profile: milliseconds of a step and shares, and MFU where it is known."""
    lines = [f'{"part":<16}{"ms":>10}{"share":>9}']
    lines += [f'{part:<16}{value:>10.2f}{100 * value / ms["step"]:>8.1f} %' for part, value in ms.items()]
    lines += [f'{"communication":<16}{communication_ms:>10.2f}{100 * communication_ms / ms["step"]:>8.1f} % '
              '(overlaps)']
    if flops and peak:
        lines.append(f'MFU {100 * flops / (1e-3 * ms["step"]) / peak:.1f} % of {peak / 1e12:.0f} TFLOP/s '
                     f'(bfloat16, dense); {flops / 1e9:,.0f} GFLOP a step')
    return '\n'.join(lines)
