"""Quick start: pre-train on the built-in images, and compare the encoder with a random one."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from torch import Tensor, nn

from mmsimclr import reporting
from mmsimclr.config import load_config
from mmsimclr.engine import OnlineKNNHook
from mmsimclr.environment import cpu_name, num_usable_cores
from mmsimclr.errors import InputError
from mmsimclr.evaluation import knn_accuracy, linear_accuracy
from mmsimclr.features import extract_features
from mmsimclr.files import ProgressLine, file_digest
from mmsimclr.protocols import Result, portable_path
from mmsimclr.registry import DATASETS
from mmsimclr.runner import build_runner, working_in

K = 20
NUM_NEIGHBOURS = 6


@dataclass
class Embedded:
    """Features of the labelled bank [B, C] and of the held-out queries [Q, C] by one encoder."""

    bank: Tensor
    bank_labels: Tensor
    queries: Tensor
    query_labels: Tensor
    num_classes: int

    def metrics(self) -> dict[str, float]:
        """Return k-NN and linear-probe top-1 accuracy of the queries, in percent."""
        parts = (self.bank, self.bank_labels, self.queries, self.query_labels, self.num_classes)
        return dict(knn_accuracy_percent=knn_accuracy(*parts, k=K),
                    linear_accuracy_percent=linear_accuracy(*parts))

    def neighbours(self, rows: list[int], count: int) -> list[list[int]]:
        """Return, for some queries, the indices of the nearest images of the bank, nearest first."""
        unit = nn.functional.normalize
        similarity = unit(self.queries[rows], dim=1) @ unit(self.bank, dim=1).T
        return similarity.topk(count, dim=1).indices.tolist()


def quickstart(config_path: str | Path, work_dir: str | Path = 'work_dirs/quickstart',
               options: dict | None = None, seed: int | None = None,
               say: Callable[[str], None] = print) -> tuple[Result, Result]:
    """Pre-train; return the results of the encoder at random initialisation and of the pre-trained one.

    Both are evaluated on the bank and the queries of the config's OnlineKNNHook (ValueError: it has none).
    ``options`` override values of the config, ``seed`` that of initialisation and views, and ``say`` receives
    the lines meant for the user. ``random.json``, ``pretrained.json`` and the pictures go to ``work_dir``.
    """
    work_dir = Path(work_dir)
    with working_in(work_dir, 'quick start'):
        started = time.perf_counter()
        config = load_config(config_path, options, work_dir)
        if seed is not None:
            config.randomness.update(seed=seed)
        hook = _online_knn(config)
        bank, queries = DATASETS.build(hook['bank']), DATASETS.build(hook['queries'])
        hook['at_start'] = False                               # that is what `before` measures here
        runner = build_runner(config)
        say(f'mmsimclr quick start on {num_usable_cores()} core(s) of {cpu_name()}')
        say('[1/4] features of the encoder at random initialisation')
        before = _embed(runner.model, bank, queries)
        say('[2/4] pre-training')
        training_started = time.perf_counter()
        runner.train()
        training_s = time.perf_counter() - training_started
        say('[3/4] features of the pre-trained encoder')
        after = _embed(runner.model, bank, queries)
        say('[4/4] linear probes and pictures')
        metrics = before.metrics(), after.metrics()
        checkpoint = runner.message_hub.runtime_info['last_ckpt']
        given = ''.join(f' --cfg-options {key}={value}' for key, value in (options or {}).items())
        common = dict(
            protocol='quickstart', num_images=dict(bank=len(bank), queries=len(queries)), seed=runner.seed,
            command=f'python tools/quickstart.py {config_path} --seed {runner.seed}{given}',
            config=config.filename,
            settings=dict(k=K, temperature=0.07, feature='global average pool of the last stage',
                          max_epochs=runner.max_epochs, global_batch=runner.train_dataloader.batch_size))
        results = Result(metrics=metrics[0], **common), Result(
            metrics={**metrics[1], 'pretraining_s': training_s}, checkpoint=str(checkpoint),
            checkpoint_sha256=file_digest(checkpoint), **common)
        trained_on = runner.train_dataloader.dataset
        pictures = [
            reporting.save_training_curves(reporting.read_scalars(work_dir), work_dir / 'curves.png'),
            reporting.save_views_sheet(trained_on, work_dir / 'views.png', _one_per_class(trained_on, 8)),
            _save_neighbours(work_dir / 'neighbours.png', bank, queries, before, after)]
        results[1].wall_time_s = time.perf_counter() - started
        results[0].write(work_dir / 'random.json')
        results[1].write(work_dir / 'pretrained.json')
        say(f'\n{comparison(*metrics)}\n\ncheckpoint  {portable_path(checkpoint)}')
        for picture in pictures:
            say(f'picture     {picture}')
        say(f'computing took {time.perf_counter() - started:.0f} s, of which pre-training {training_s:.0f} s')
        return results


def comparison(before: dict[str, float], after: dict[str, float]) -> str:
    """Return the table of accuracies of the two encoders."""
    names = ('knn_accuracy_percent', 'linear_accuracy_percent')
    return reporting.text_table(['encoder', f'k-NN (k = {K})', 'linear probe'], [
        ['random initialisation', *(f'{before[name]:.1f} %' for name in names)],
        ['SimCLR pre-trained', *(f'{after[name]:.1f} %' for name in names)],
        ['gain', *(f'{after[name] - before[name]:+.1f}  ' for name in names)]])


def _online_knn(config: Config) -> dict:
    for hook in config.get('custom_hooks', ()):
        kind = hook['type']
        if (kind if isinstance(kind, str) else kind.__name__).rpartition('.')[2] == OnlineKNNHook.__name__:
            return hook
    raise InputError('the quick start evaluates on the datasets of the OnlineKNNHook, and the config has '
                     'none among its custom_hooks')


def _embed(model: nn.Module, bank: BaseDataset, queries: BaseDataset) -> Embedded:
    return Embedded(*extract_features(model, bank, progress=ProgressLine('      bank')),
                    *extract_features(model, queries, progress=ProgressLine('      queries')),
                    len(bank.metainfo['classes']))


def _one_per_class(dataset: BaseDataset, limit: int) -> list[int]:
    first: dict[int, int] = {}
    for index in range(len(dataset)):
        first.setdefault(int(dataset.get_data_info(index)['gt_label']), index)
        if len(first) == len(dataset.metainfo['classes']):
            break
    return sorted(first.values())[:limit]


def _save_neighbours(path: Path, bank: BaseDataset, queries: BaseDataset, before: Embedded,
                     after: Embedded) -> Path:
    def images_and_labels(dataset: BaseDataset, indices: list[int]) -> tuple[list, list[int]]:
        items = [dataset.get_data_info(index) for index in indices]
        return [item['img'] for item in items], [int(item['gt_label']) for item in items]

    rows, blocks = _one_per_class(queries, 8), {}
    for title, embedded in (('random initialisation', before), ('SimCLR pre-trained', after)):
        neighbours = [images_and_labels(bank, row) for row in embedded.neighbours(rows, NUM_NEIGHBOURS)]
        blocks[f'{title}: nearest neighbours'] = tuple(zip(*neighbours, strict=True))
    return reporting.save_neighbour_sheet(path, *images_and_labels(queries, rows), blocks,
                                          queries.metainfo['classes'])


def limit_threads() -> None:
    """Let torch use the cores of this process; a container often shows more than it gives."""
    if 'OMP_NUM_THREADS' not in os.environ:
        torch.set_num_threads(num_usable_cores())
