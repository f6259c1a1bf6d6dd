"""Write docs/reference/performance.md from benchmarks/results/: python benchmarks/page.py."""

import argparse
import ast
import json
from collections.abc import Iterator
from pathlib import Path

from goals import HEADER, goal_rows

from mmsimclr.reporting.table import text_table

INTRODUCTION = """# Performance

Written by `python benchmarks/page.py` from the measurements in `benchmarks/results/`. `make benchmark`
measures most of what needs no GPU on your machine, and prints the table of goals. Speed is a ratio to a peer
in the same run: on a CPU the runs alternate, and what is shown is the median. Absolute times belong to the
machine, and ratios do in part: what is shown is of an Intel Xeon. On an AMD EPYC, version 0.1.0 made views in
6.1 and 4.4 times (224 pixels, from files) and 5.3 and 6.8 times (32 pixels) less time than mmpretrain and
lightly, and LARS took 0.9 of torch's foreach SGD. On the Xeon version 0.1.0 is no
faster.

## How to make a run fast

* **Look first.** `mmsimclr train CONFIG --profile 20` profiles twenty steps: a trace for
  [Perfetto](https://ui.perfetto.dev) and a table of data wait, copy, views, forward, backward, optimizer and
  communication, in `WORK_DIR/profile`. On a GPU whose bfloat16 peak is known (`runner/profile.py`), each line
  of the log has the share of it that the encoder's arithmetic reaches (MFU).
* **Loading.** Give each core a loader process (`train_dataloader.num_workers`); the configs keep OpenCV from
  starting threads of its own in them. A GPU that waits for the loader shows in the log: `data_time` is then
  not small beside `time`.
* **Large photographs.** With `LoadImageForCrops` in place of `LoadImage` the boxes of the crops are drawn
  before a JPEG is decoded, and it is decoded at a half, a quarter or an eighth of its size where all crops
  have pixels enough. On files of 500 pixels and views of 224 this never happens; on photographs of megapixels
  it saves time. A seed then gives other views than without, so it is a switch and not the default.
* **Arithmetic.** `--amp bf16` on processors and GPUs that compute in it. Images and weights are
  laid out channels-last in the configs.
* **Compiling.** `--cfg-options compile=True` puts the encoder through `torch.compile`; a dict gives it
  arguments, as `compile.mode=max-autotune` does. It costs a minute or so at the start and is off unless asked
  for. Whether it works on a machine is tried before training. On several GPUs it gains less: torch breaks the
  graph at each `SyncBatchNorm`, whose forward pass reads sizes from the device, so an encoder of 53 norms is
  compiled in 54 pieces. `sync_bn=None` (statistics of each process) or a norm without statistics of the batch
  (`model.backbone.norm_cfg.type=GN`) has no such breaks, and is another method than the paper's.
* **Launching.** `graph=True` captures forward pass, loss, backward pass and LARS as a CUDA graph on one GPU
  and replays it; views are made before it. Of views on the device, `model.data_preprocessor.views.fused=True`
  makes the colours in one Triton kernel, and `...views.matmul=tf32` crops and blurs in TF32. These three have
  not run on a GPU yet, so they are off unless asked for.
* **Many GPUs.** `gradients=bf16` sends gradients in bfloat16: half the bytes, added up in bfloat16.
* **Evaluations.** `OnlineKNNHook(as_trained=True)` evaluates through the compiled encoder, in its precision.
* **Batch.** The loss never stores the similarity matrix, so its size is no limit. Where the encoder's
  activations are, `model.chunk_size` takes the batch through it in pieces, with the whole batch's negatives,
  for up to one more forward pass. MMEngine's `accumulative_counts` is no substitute: it adds no negatives.

## Why it is as it is

* **Views on the CPU** are uint8 from the file to the device. Brightness, contrast and saturation are
  one family of maps, closed under composition, so two that follow each other are one matrix, unless values
  are clipped between them; a blur's kernel is as long as its sigma needs. The hue is turned by the Intel
  library that is in OpenCV: OpenCV's own code is faster and rounds down, by a third of a grey level on
  average.
* **Reduced decoding** happens for all views of an image at once, at the size that the smallest crop needs:
  most of decoding is reading the entropy-coded bits, which no reduction saves, so to decode twice would cost
  more than it gains.
* **LARS** on a GPU gives each operation all tensors at once (but for the two that scale each by a number of
  its own) and never waits for a norm. On a CPU a step is bound by memory, so it goes through all operations
  with about a mebibyte of tensors before the next: they stay in the cache.
* **The next batch** of a GPU is copied on a stream of its own while the device computes the step before.
* **A step** of this library asks its device for no value. Losses are read where a log line or a checkpoint
  needs them, and whether they are finite at every tenth step; what the ranks must agree on (that their
  batches are equal, that one was told to stop) travels between the hosts over gloo. Torch asks in two places:
  float16's loss scaling reads whether a gradient overflowed, and SyncBatchNorm over several GPUs which ranks
  had images.
* **Memory on a CPU** is kept from step to step. What a step frees the next one allocates again, and glibc
  gives it back to the kernel in between, which clears its pages anew each time. Training, feature extraction
  and evaluation on a CPU have it kept, and give it back at the end (`mmsimclr.cpu_memory`); training keeps
  the heap only, and not blocks above 32 MiB, which would split it between them.
  `MMSIMCLR_KEEP_MEMORY=0` in the environment switches this off.
* **What a step of ResNet-18 loses** is below, layer by layer. A third is lost in convolutions that make maps
  of 4 x 4, whose weight gradients oneDNN computes at a tenth of the rate of a large convolution, and a
  quarter in batch norm and ReLU, which wait for memory.
* **A training step** is compared as each library ships it: ours in bfloat16 and with kept memory,
  mmpretrain's in float32 and without. The row in float32 says how much of it is bfloat16.
* **Not compared:** solo-learn, whose release on PyPI (1.0.2) is tied to torch 1.9.1 and cannot be installed
  beside the other peers.

## On a GPU that is at hand for half an hour

```bash
benchmarks/gpu/check.sh wheels/
benchmarks/gpu/cifar10.sh parts/
```

The first takes nine minutes: tests that need a GPU, a profile, measurements. The second trains on CIFAR-10
and evaluates linearly. Both need the tree, and a folder of wheels where packages are missing, and no network.
Each writes its JSON early, and the same command goes on with what is left. `cifar10.sh` takes the dataset in
parts that may arrive one after the other, compares their md5 sums, and trains in a process that outlives the
shell: call it until its status is no longer 75. `QUICK=1` rehearses both on a CPU. Neither has run on a GPU
yet.

How views are made on the device: [decision 7](../decisions/0007-views-on-the-device.md). What a step sends
over the wire on many GPUs: [scaling](../explanation/scaling.md).
"""
TITLES = {'median_s': 'seconds', 'times_ours': 'times ours', 'peak_mib': 'MiB', 'images_per_s': 'images/s',
          'views_per_s': 'views/s', 'times_plain': 'times plain', 'processor_s': 'processor seconds',
          'times_one_rank': 'times one rank', 'same_class_percent': 'same class, %',
          'linear_minutes': 'minutes, linear evaluation',
          'top_1_percent': 'top-1, %', 'mean_percent': 'k-NN, %: mean', 'least_percent': 'least',
          'hook_s': 's, the hook', 'all_else_s': 's, all else', 'share_percent': 'share, %',
          'lost_ms': 'ms lost', 'gflop_per_s': 'GFLOP/s',
          'median_ms': 'ms, median', 'p90_ms': 'ms, 90 % below', 'recall_at_10': 'recall@10',
          'features_mb': 'MB, features', 'own_memory_mb': 'MB, own memory',
          'peak_resident_mb': 'MB, peak with mapped files', 'first_s': 's, index made',
          'again_s': 's, index read',
          'most_percent': 'most', 'knn_percent': 'k-NN, %', 'linear_percent': 'linear, %'}
# The environment in which `make benchmark` has put the peers.
PYTHON = '.venv/benchmark/bin/python'
NOT_SETTINGS = ('benchmark', 'rows', 'peers', 'hardware', 'versions')


def performance_page(results_dir: str | Path) -> str:
    """Return the page, in Markdown.

    Args:
        results_dir: Folder of measurements, each ``<script>.json``; those of a GPU in ``gpu/``.
    """
    parts = [INTRODUCTION, '## Goals', '', text_table(HEADER, goal_rows(results_dir), markdown=True), '']
    measured = sorted(Path(results_dir).glob('*.json')) + sorted(Path(results_dir).glob('gpu/*.json'))
    for path in measured:
        parts += _section(path)
    missing = [script.stem for script in sorted(Path(__file__).parent.glob('*.py'))
               if _is_measurement(script) and script.stem not in {path.stem for path in measured}]
    if missing:
        parts += ['## Not measured yet', '', *(f'* `{PYTHON} benchmarks/{name}.py`' for name in missing), '']
    return '\n'.join(parts)


def _section(path: Path) -> Iterator[str]:
    record = json.loads(path.read_text(encoding='utf-8'))
    script = Path(__file__).with_name(f'{path.stem}.py')
    yield from (f'## {_title(script)}' + (' (on a GPU)' if path.parent.name == 'gpu' else ''), '')
    rows = record['rows']
    nested = all(isinstance(cell, dict) for row in rows.values() for cell in row.values())
    for title, table in (rows.items() if nested else [('', rows)]):
        yield from ([f'**{title}**', ''] if title else [])
        yield from (_table(table), '')
    if (Path('docs/images') / f'{path.stem}.png').is_file():
        yield from (f'![{_title(script)}](../images/{path.stem}.png)', '')
    machine = record['hardware']
    cores = machine['cores']
    devices = ', '.join(machine['gpus']) or f"{cores} core{'s' * (cores > 1)} of {machine['cpu']}"
    versions = {**record['versions'], **record.get('peers', {})}
    yield from (
        '* settings: ' + ', '.join(_fact(name, value) for name, value in record.items()
                                   if name not in NOT_SETTINGS and value is not None),
        f'* hardware: {devices}',
        '* versions: ' + ', '.join(f'{name} {version or "not installed"}'
                                   for name, version in versions.items()),
        f'* command: `{PYTHON} benchmarks/{path.stem}.py`', '')


def _table(rows: dict[str, dict]) -> str:
    columns = list(dict.fromkeys(name for row in rows.values() for name in row if name != 'bytes'))
    header = ['', *(TITLES.get(name, name.replace('_', ' ')) for name in columns)]
    cells = [[name, *(_number(row.get(column)) for column in columns)] for name, row in rows.items()]
    if any('bytes' in row for row in rows.values()):
        header.append('bytes of a rank')
        for row, line in zip(rows.values(), cells, strict=True):
            line.append(', '.join(f'{kind} {count:,}' for kind, count in row.get('bytes', {}).items()))
    return text_table(header, cells, markdown=True)


def _number(value: float | None) -> str:
    if value is None:
        return ''
    return f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3g}'


def _fact(name: str, value: object) -> str:
    if isinstance(value, dict):
        value = '(' + ', '.join(_fact(*item) for item in value.items()) + ')'
    elif isinstance(value, float):
        value = f'{value:.3g}'
    elif isinstance(value, int):
        value = f'{value:,}'
    return f'{name.replace("_", " ")} {value}'


def _title(script: Path) -> str:
    return ast.get_docstring(ast.parse(script.read_text(encoding='utf-8'))).splitlines()[0].rstrip('.')


def _is_measurement(script: Path) -> bool:
    return 'write(args.out, ' in script.read_text(encoding='utf-8') and script != Path(__file__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--results', default='benchmarks/results', help='folder (default: %(default)s)')
    parser.add_argument('--out', default='docs/reference/performance.md',
                        help='page to write (default: %(default)s)')
    args = parser.parse_args()
    Path(args.out).write_text(performance_page(args.results), encoding='utf-8')
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
