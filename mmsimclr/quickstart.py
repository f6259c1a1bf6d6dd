"""Quick start: pre-train on the built-in images, and compare the encoder with a random one."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from torch import nn

from mmsimclr import reporting
from mmsimclr.config import load_config
from mmsimclr.datasets import labels_of
from mmsimclr.engine import OnlineKNNHook
from mmsimclr.environment import cpu_name, num_usable_cores
from mmsimclr.errors import InputError
from mmsimclr.evaluation import knn_accuracy, linear_accuracy
from mmsimclr.evaluation.knn import nearest_neighbours
from mmsimclr.features import extract_features
from mmsimclr.files import ProgressLine, file_digest
from mmsimclr.protocols import Result, portable_path
from mmsimclr.registry import DATASETS, HOOKS, is_of_type
from mmsimclr.runner import build_runner, working_in

K = 20
NUM_NEIGHBOURS = 6
ENCODERS = ('random initialisation', 'SimCLR pre-trained')


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
        metrics = _metrics(before), _metrics(after)
        checkpoint = runner.message_hub.runtime_info['last_ckpt']
        given = ''.join(f' {key}={value}' for key, value in (options or {}).items())
        common = dict(
            protocol='quickstart', num_images=dict(bank=len(bank), queries=len(queries)), seed=runner.seed,
            command=f'mmsimclr quickstart {config_path} --seed {runner.seed}{given}',
            config=config.filename,
            settings=dict(k=K, temperature=0.07, feature='global average pool of the last stage',
                          max_epochs=runner.max_epochs, global_batch=runner.train_dataloader.batch_size))
        results = Result(metrics=metrics[0], **common), Result(
            metrics={**metrics[1], 'pretraining_s': training_s}, checkpoint=str(checkpoint),
            checkpoint_sha256=file_digest(checkpoint), **common)
        trained_on = runner.train_dataloader.dataset
        pictures = [
            reporting.save_training_curves(reporting.read_scalars(work_dir), work_dir / 'curves.png'),
            reporting.save_views_sheet(trained_on, work_dir / 'views.png', _one_per_class(trained_on)),
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
        *([title, *(f'{each[name]:.1f} %' for name in names)]
          for title, each in zip(ENCODERS, (before, after), strict=True)),
        ['gain', *(f'{after[name] - before[name]:+.1f}  ' for name in names)]])


def _online_knn(config: Config) -> dict:
    for hook in config.get('custom_hooks', ()):
        if is_of_type(hook, OnlineKNNHook, HOOKS):
            return hook
    raise InputError('the quick start evaluates on the datasets of the OnlineKNNHook, and the config has '
                     'none among its custom_hooks')


def _embed(model: nn.Module, bank: BaseDataset, queries: BaseDataset) -> tuple:
    """Return features and classes of the bank, the same of the queries, and the number of classes."""
    return (*extract_features(model, bank, progress=ProgressLine('      bank')),
            *extract_features(model, queries, progress=ProgressLine('      queries')),
            len(bank.metainfo['classes']))


def _metrics(features: tuple) -> dict[str, float]:
    return dict(knn_accuracy_percent=knn_accuracy(*features, k=K),
                linear_accuracy_percent=linear_accuracy(*features))


def _one_per_class(dataset: BaseDataset) -> list[int]:
    """Return the first image of each class, of up to eight classes, in the order of the images."""
    return sorted(np.unique(labels_of(dataset), return_index=True)[1].tolist())[:8]


def _save_neighbours(path: Path, bank: BaseDataset, queries: BaseDataset, *features: tuple) -> Path:
    rows, blocks, right = _one_per_class(queries), {}, {}
    for title, (images, labels, asked, truth, _) in zip(ENCODERS, features, strict=True):
        nearest = nearest_neighbours(asked[rows], images, NUM_NEIGHBOURS)[1]
        title = f'{title}: nearest neighbours'
        blocks[title] = [[bank.get_data_info(index)['img'] for index in row] for row in nearest.tolist()]
        right[title] = labels[nearest] == truth[rows][:, None]
    names = [queries.metainfo['classes'][label] for label in truth[rows].tolist()]
    return reporting.save_neighbour_sheet(path, [queries.get_data_info(row)['img'] for row in rows], blocks,
                                          names, right)


def limit_threads() -> None:
    """Let torch use the cores of this process; a container often shows more than it gives."""
    if 'OMP_NUM_THREADS' not in os.environ:
        torch.set_num_threads(num_usable_cores())
