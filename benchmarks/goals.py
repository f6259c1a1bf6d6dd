"""Goals of the benchmarks, and the judgement of measurements by them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Record = dict


@dataclass(frozen=True)
class Goal:
    """A bound on one value of a measurement.

    Args:
        text: What is measured.
        file: Name of the measurement, ``<file>.json``.
        value: Takes the value from its content; a KeyError or None says that it was not measured.
        bound: The value to reach.
        unit: Of the value.
        at_most: Whether the value must not exceed the bound; otherwise it must not stay below.
        device: Where it is measured, 'cpu' or 'cuda'.
    """

    text: str
    file: str
    value: Callable[[Record], float | None]
    bound: float
    unit: str = 'x'
    at_most: bool = False
    device: str = 'cpu'

    def row(self, folder: Path) -> list[str]:
        """Return the cells: goal, bound, measured, and whether it is met."""
        bound = f'{"at most" if self.at_most else "at least"} {_number(self.bound, self.unit)}'
        value = self._measured(folder)
        if value is None:
            on = 'on a GPU: ' if self.device == 'cuda' else ''
            return [self.text, bound, f'not measured here; {on}python benchmarks/{self.file}.py', '']
        met = value <= self.bound if self.at_most else value >= self.bound
        return [self.text, bound, _number(value, self.unit), 'met' if met else 'not met']

    def _measured(self, folder: Path) -> float | None:
        try:
            folder = folder / 'gpu' if self.device == 'cuda' else folder
            record = json.loads((folder / f'{self.file}.json').read_text(encoding='utf-8'))
            on_gpu = str(record.get('device', 'cpu')).startswith('cuda')
            return self.value(record) if on_gpu == (self.device == 'cuda') else None
        except (FileNotFoundError, KeyError, TypeError, ZeroDivisionError):
            return None


def _number(value: float, unit: str) -> str:
    text = f'{value:,.0f}' if value >= 100 else f'{value:.3g}'
    return f'{text} {unit}'


def _times(peer: str, *path: str) -> Callable[[Record], float]:
    def value(record: Record) -> float:
        rows = record['rows']
        for key in path:
            rows = rows[key]
        return rows[peer]['times_ours']
    return value


def _memory(peer: str) -> Callable[[Record], float]:
    return lambda record: record['rows'][peer]['peak_mib'] / record['rows']['ours']['peak_mib']


FROM_FILES, FROM_MEMORY = '224 px from JPEG files', '32 px from memory'
NT_XENT = 'NT-Xent, 2N = 8,192, D = 128'
GOALS = (
    Goal("views at 224 pixels from JPEG files: mmpretrain's time, of ours", 'views',
         _times('mmpretrain', FROM_FILES), 5),
    Goal("views at 224 pixels from JPEG files: lightly's time, of ours", 'views',
         _times('lightly', FROM_FILES), 3.5),
    Goal("views at 32 pixels from memory: mmpretrain's time, of ours", 'views',
         _times('mmpretrain', FROM_MEMORY), 5),
    Goal("views at 32 pixels from memory: lightly's time, of ours", 'views',
         _times('lightly', FROM_MEMORY), 5),
    Goal(f"{NT_XENT}: mmpretrain's time, of ours", 'nt_xent', _times('mmpretrain'), 7),
    Goal(f"{NT_XENT}: lightly's time, of ours", 'nt_xent', _times('lightly'), 3.5),
    Goal(f"{NT_XENT}: mmpretrain's memory, of ours", 'nt_xent', _memory('mmpretrain'), 12),
    Goal(f"{NT_XENT}: lightly's memory, of ours", 'nt_xent', _memory('lightly'), 6),
    Goal('NT-Xent, 2N = 65,536: memory', 'nt_xent', lambda record: record['large']['peak_mib']
         if record['large']['images'] == 32_768 else None, 600, 'MiB', at_most=True),
    Goal('gradient caching: time, of a plain step', 'gradient_cache',
         lambda record: record['rows']['in chunks']['times_plain'], 1.4, at_most=True),
    Goal("LARS on ResNet-50: time, of torch's foreach SGD", 'lars',
         lambda record: 1 / record['rows']['torch SGD, foreach']['times_ours'], 1.15, at_most=True),
    Goal("a training step, ResNet-18 on 32 x 32: mmpretrain's time, of ours", 'step',
         _times('mmpretrain'), 3),
    Goal("a training step, ResNet-18 on 32 x 32: its arithmetic, of a bfloat16 convolution's rate", 'step',
         lambda record: 100 * record['share_of_a_convolution'], 75, '%'),
    Goal("k nearest neighbours: faiss's time, of ours", 'knn', _times('faiss'), 1),
    Goal('health while training: its time, of all else', 'health',
         lambda record: record['share_percent'], 3, '%', at_most=True),
    Goal('the map of 50,000 points, 1440 x 900, without a GPU: a frame', 'report_page',
         lambda record: record['rows']['1440 x 900']['median_ms'], 50, 'ms', at_most=True),
    Goal("CIFAR-10 after 8 minutes of two cores: linear top-1, beyond the best other library's", 'equal_time',
         lambda record: record['rows']['ours']['linear_percent'] - record['rows'][record['best_peer']][
             'linear_percent'], 15, 'points'),
    Goal("CIFAR-10: the time to the best other library's k-NN after 8 minutes, of its time", 'equal_time',
         lambda record: record['share_of_the_time'], 1 / 3, at_most=True),
    Goal("LARS on ResNet-50 on a GPU: mmpretrain's time, of ours", 'lars',
         _times('mmpretrain'), 10, device='cuda'),
    Goal('views made on a GPU', 'device_views', lambda record: record['rows']['ours']['views_per_s'], 20_000,
         'views/s', device='cuda'),
    Goal('views made on a GPU: their share of the step', 'device_views',
         lambda record: 100 * record['share_of_the_step'], 10, '%', at_most=True, device='cuda'),
    Goal("a training step, ResNet-50 at 224 on a GPU: mmpretrain's time, of ours", 'gpu_step',
         _times('mmpretrain'), 4, device='cuda'),
    Goal("a training step, ResNet-50 at 224 on a GPU: mmpretrain's with AMP and channels-last, of ours",
         'gpu_step', _times('mmpretrain, AMP and channels-last'), 1.5, device='cuda'),
    Goal('CIFAR-10, ResNet-18 on a GPU: minutes of pre-training', 'cifar10_run',
         lambda record: record['rows']['ResNet-18']['minutes'], 15, 'min', at_most=True, device='cuda'),
    Goal('CIFAR-10, ResNet-18 on a GPU: linear top-1 after it', 'cifar10_run',
         lambda record: record['rows']['ResNet-18']['top_1_percent'], 91, '%', device='cuda'),
)
HEADER = ('goal', 'bound', 'measured', '')


def goal_rows(folder: str | Path) -> list[list[str]]:
    """Return the rows of the table of goals, from measurements in a folder; those of a GPU in ``gpu/``."""
    return [goal.row(Path(folder)) for goal in GOALS]
