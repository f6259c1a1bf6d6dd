"""Training a classifier on an encoder by MMEngine's Runner, and evaluating it."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmsimclr import distributed
from mmsimclr.config import ConfigError, build_runner
from mmsimclr.datasets import labels_of
from mmsimclr.engine import FrozenEncoderHook
from mmsimclr.features import weights_sha256
from mmsimclr.models import Classifier
from mmsimclr.models.algorithms.classifier import MAPS
from mmsimclr.protocols.base import Benchmark, clear_dataset_errors
from mmsimclr.protocols.classification_metrics import require_same_classes, require_several_classes
from mmsimclr.protocols.evaluation import Evaluation, evaluate
from mmsimclr.protocols.pretraining import num_unreadable

NEEDED = ('model', 'train_dataloader', 'test_dataloader', 'optim_wrapper', 'train_cfg')


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier after training, and what it answers for the test.

    Attributes:
        evaluation: Its answers.
        test_set: The images they are of.
        num_images: Counts of images by part.
        settings: What decided the values.
    """

    evaluation: Evaluation
    test_set: Any
    num_images: Mapping[str, int]
    settings: Mapping[str, Any]


def train_classifier(benchmark: Benchmark, options: Mapping[str, Any] | None = None,
                     name: str | None = None) -> TrainedClassifier:
    """Train the classifier of a benchmark's config on its encoder, and evaluate it on the test.

    The config's model is a :class:`Classifier` without what only encoder and data can tell, which is filled
    in: the encoder, the scale of its images, the shapes of its maps, the number of classes.

    Args:
        benchmark: The encoder and the config; the latter is not changed.
        options: Values of the config to override, keys dotted.
        name: Folder below the benchmark's for this training, where there are several.

    Raises:
        ConfigError: If the config lacks a part.
        ValueError: If the data are empty, have no classes, labels out of range or no training image of a
            class of the test, if training changed no weight of a head, or the device cannot be had.
        RuntimeError: If a frozen encoder changed.
    """
    config = copy.deepcopy(benchmark.config)
    lacking = [key for key in NEEDED if not config.get(key)]
    if lacking:
        raise ConfigError(f'a protocol that trains needs {", ".join(lacking)} in the config')
    config.merge_from_dict(dict(options or {}))
    config.work_dir = str(benchmark.work_dir / name if name else benchmark.work_dir)
    config.setdefault('experiment_name', '-'.join(Path(config.work_dir).absolute().parts[-2:]))
    check_training_device(benchmark.device)
    with clear_dataset_errors():
        test = _build_test(config, benchmark.seed)
        encoder = _complete_model(config, benchmark, test.dataset)
        runner = build_runner(config)
    model = unwrapped(runner.model)
    model.backbone.load_state_dict(encoder.state_dict())
    frozen = FrozenEncoderHook(weights_sha256) if model.frozen else None
    if frozen:
        runner.register_hook(frozen, priority=frozen.priority)
    train_set = runner.train_dataloader.dataset
    _check_classes(train_set, test.dataset)
    at_start = _head_weights(model)
    runner.train()
    _check_trained(model, at_start, runner)
    evaluation = evaluate(model, test)
    num_images = dict(train=len(train_set), **num_unreadable(runner), test=len(test.dataset))
    return TrainedClassifier(evaluation, test.dataset, num_images,
                             _settings(runner, config, frozen))


def require_frozen(config: Config, num_heads: int | None = None) -> None:
    """Refuse a config whose encoder would be trained, or whose model has another number of heads.

    Raises:
        ConfigError: If it is so.
    """
    model = config.get('model') or {}
    if not model.get('frozen'):
        raise ConfigError('linear evaluation leaves the encoder as it is: set model.frozen=True')
    if num_heads is not None and len(model.get('heads') or ()) != num_heads:
        raise ConfigError(f'model.heads must name {num_heads} head(s), got {list(model.get("heads") or ())}')


def unwrapped(model: nn.Module) -> Classifier:
    """Return the classifier inside a model wrapper."""
    return model.module if is_model_wrapper(model) else model


def check_training_device(device: str) -> None:
    """Refuse another device than the one MMEngine trains on.

    Raises:
        ValueError: If it is another.
    """
    # MMEngine's Runner takes the GPU wherever there is one.
    runs_on = 'cuda' if torch.cuda.is_available() else 'cpu'
    if torch.device(device).type != runs_on:
        raise ValueError(f'this protocol trains on the {runs_on} of this machine, and device is {device!r}; '
                         'to train on the CPU of a machine with a GPU set CUDA_VISIBLE_DEVICES= (empty)')


def _build_test(config: Config, seed: int) -> DataLoader:
    init_default_scope(config.get('default_scope', 'mmsimclr'))      # types may be named by strings
    loader_config = config.pop('test_dataloader')
    if not loader_config.get('num_workers'):
        loader_config.pop('persistent_workers', None)
    try:
        loader = Runner.build_dataloader(loader_config, seed=seed)
    except ValueError as error:
        if 'need at least one array' not in str(error):             # MMEngine, of an empty list of images
            raise
        raise ValueError('the test has no images: test_dataloader.dataset is empty') from error
    dataset = loader.dataset
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if len(dataset) == 0:
        raise ValueError('the test has no images: test_dataloader.dataset is empty')
    if not classes:
        raise ValueError(f'{type(dataset).__name__} does not say its classes; give it '
                         'metainfo=dict(classes=...)')
    _labels_within(dataset, len(classes), 'test')
    return loader


def _check_classes(train_set: Any, test_set: Any) -> None:
    classes = tuple(test_set.metainfo['classes'])
    trained_on = tuple((getattr(train_set, 'metainfo', None) or {}).get('classes') or classes)
    require_same_classes(trained_on, classes)
    num_classes = len(classes)
    present = _labels_within(train_set, num_classes, 'training')
    if len(train_set) and not isinstance(train_set.get_data_info(0).get('gt_label'), list):
        require_several_classes(present, 'training')
    absent = np.setdiff1d(_labels_within(test_set, num_classes, 'test'), present)
    if len(absent):
        raise ValueError(f'{len(absent)} classes of the test have no training images: '
                         f'{", ".join(map(str, absent[:5]))}{", ..." if len(absent) > 5 else ""}')


def _labels_within(dataset: Any, num_classes: int, part: str) -> np.ndarray:
    if len(dataset) and isinstance(label := dataset.get_data_info(0).get('gt_label'), list):
        if len(label) != num_classes:
            raise ValueError(f'the {part} images have labels of {len(label)} classes, and the test has '
                             f'{num_classes}')
        present = np.array([dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))]) == 1
        return np.flatnonzero(present.any(axis=0))
    labels = labels_of(dataset)
    if len(labels) and labels.max() >= num_classes:
        raise ValueError(f'the {part} images have labels up to {labels.max()}, and the test has '
                         f'{num_classes} classes, so labels must be in [0, {num_classes})')
    return labels


@torch.no_grad()
def _complete_model(config: Config, benchmark: Benchmark, test_set: Any) -> nn.Module:
    """Fill in the model's config; return the encoder whose weights it is to have."""
    heads, scale = config.model.heads, benchmark.encoder.input
    indices = {MAPS[head.get('feature', 'pooled')] for head in heads.values()}
    out_indices = tuple(index for index in ('stem', 0, 1, 2, 3) if index in indices)
    encoder, _ = benchmark.encoder.build(out_indices=out_indices)
    height, width = test_set[0]['inputs'].shape[-2:]
    maps = dict(zip(out_indices, encoder(torch.zeros(1, 3, height, width)), strict=True))
    for head in heads.values():
        head.update(map_shape=tuple(maps[MAPS[head.get('feature', 'pooled')]].shape[1:]),
                    num_classes=len(test_set.metainfo['classes']))
    config.model.backbone = dict(type='mmsimclr.ResNet', **encoder.settings, out_indices=out_indices)
    preprocessor = config.model.get('data_preprocessor') or dict(type='mmsimclr.ViewPreprocessor')
    config.model.data_preprocessor = {**preprocessor, 'mean': scale.mean, 'std': scale.std}
    return encoder


def _head_weights(model: Classifier) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.heads.named_parameters()
            if name.endswith('weight')}


def _check_trained(model: Classifier, at_start: Mapping[str, Tensor], runner: Runner) -> None:
    unchanged = [name for name, weight in _head_weights(model).items() if torch.equal(weight, at_start[name])]
    if runner.iter == 0 or unchanged:
        raise ValueError(f'the classifier was never trained: {runner.iter} steps were made and '
                         f'{", ".join(unchanged) or "no weights"} stayed as drawn; what it answers says '
                         'nothing about the encoder. Set train_cfg.max_epochs >= 1 and a learning rate > 0')


def _settings(runner: Runner, config: Config, frozen: FrozenEncoderHook | None) -> dict[str, Any]:
    optimizer = config.optim_wrapper.optimizer
    kind = optimizer.type if isinstance(optimizer.type, str) else optimizer.type.__name__
    per_device, ranks = runner.train_dataloader.batch_size, distributed.world_size()
    settings = dict(
        epochs=runner.max_epochs, steps=runner.iter, ranks=ranks,
        global_batch=per_device * ranks * config.optim_wrapper.get('accumulative_counts', 1),
        optimizer={**optimizer, 'type': kind})
    return {**settings, **(dict(frozen_encoder_sha256=frozen.sha256) if frozen else {})}
