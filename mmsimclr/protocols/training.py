"""Training and testing a classifier on an encoder."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, broadcast
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from numpy import ndarray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmsimclr import distributed
from mmsimclr.config import ConfigError
from mmsimclr.cpu_memory import kept_memory
from mmsimclr.datasets import labels_of
from mmsimclr.distributed import unwrap_model
from mmsimclr.engine import FrozenEncoderHook
from mmsimclr.errors import InputError
from mmsimclr.evaluation.metrics import eleven_point_map, require_same_classes, require_several_classes
from mmsimclr.features import weights_sha256
from mmsimclr.models import Classifier
from mmsimclr.models.backbones.resnet import STAGE_INDICES, out_indices_of
from mmsimclr.protocols.base import Benchmark, clear_dataset_errors
from mmsimclr.protocols.pretraining import num_unreadable
from mmsimclr.protocols.result import Predictions, names_below
from mmsimclr.runner import build_runner


@dataclass(frozen=True)
class Evaluation:
    """A classifier's answers for N images, in the order of their dataset.

    Attributes:
        labels: True classes, int64 [N]; or int64 [N, K] for images of several classes, as in
            :class:`Predictions`.
        ranked: For each head the classes of the largest logits, largest first, int64 [N, min(5, classes)].
        num_classes: Number of classes.
        scores: For each head the logits, float32 [N, K], of images of several classes; otherwise empty.
    """

    labels: ndarray
    ranked: Mapping[str, ndarray]
    num_classes: int
    scores: Mapping[str, ndarray] = field(default_factory=dict)

    def metrics(self, head: str) -> dict[str, float]:
        """Return a head's top-1 and, of more than five classes, top-5 accuracy in percent.

        For images of several classes, its 11-point mean average precision.
        """
        if self.scores:
            return {'11_point_map_percent': eleven_point_map(self.labels, self.scores[head])}
        hits = self.ranked[head] == self.labels[:, None]
        metrics = {'top_1_accuracy_percent': 100.0 * float(hits[:, 0].mean())}
        if self.num_classes > hits.shape[1]:
            metrics[f'top_{hits.shape[1]}_accuracy_percent'] = 100.0 * float(hits.any(axis=1).mean())
        return metrics

    def predictions(self, head: str, dataset: Any) -> Predictions:
        """Return a head's answers with the names of the images."""
        predicted = self.scores[head] if self.scores else self.ranked[head][:, 0]
        return Predictions(self.labels, predicted, image_names(dataset))


@torch.no_grad()
def evaluate(model: Classifier, loader: DataLoader) -> Evaluation:
    """Classify all images of a loader.

    The ranks may divide them in any way, and pad: an image that is seen several times counts once. The
    buffers of rank 0, such as the statistics of batch norm, become those of all ranks, as in a checkpoint.

    Args:
        model: The classifier, without wrapper.
        loader: Its items carry ``gt_label`` and ``sample_idx``, the place in the dataset.

    Returns:
        The same on every rank.

    Raises:
        ValueError: If a head was never trained, an image was not seen, has a label out of range, or makes
            logits that are not finite.
    """
    blank = [name for name, head in model.heads.items() if getattr(head, 'is_blank', False)]
    if blank:
        raise InputError(f'the weights of {", ".join(blank)} are all zero: a probe that was never trained '
                         'says nothing about the encoder; train it first')
    if distributed.world_size() > 1:
        for buffer in model.buffers():
            broadcast(buffer, src=0)
    model.eval()
    with kept_memory(next(model.parameters()).device):
        parts = [_classify(model, batch) for batch in loader]
    own = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} if parts else {}
    gathered = [part for part in all_gather_object(own) if part]
    rows = {key: np.concatenate([part[key] for part in gathered]) for key in gathered[0]} if gathered else {}
    return _assemble(rows, list(model.heads), len(loader.dataset))


def _classify(model: Classifier, batch: Mapping[str, Any]) -> dict[str, ndarray]:
    data = model.data_preprocessor(batch, False)
    samples = data['data_samples']
    missing = {'gt_label', 'sample_idx'} - set(samples)
    if missing:
        raise InputError(f'items of the test must carry {", ".join(sorted(missing))} in data_samples: end '
                         'the pipeline in PackImage, and use a labelled dataset')
    part = {name: samples[name].cpu().numpy() for name in ('gt_label', 'sample_idx')}
    logits = model(data['inputs'])
    finite = torch.stack([torch.isfinite(rows).all(dim=1) for rows in logits.values()]).all(dim=0)
    part['finite'] = finite.cpu().numpy()
    for name, rows in logits.items():
        part[f'ranked_{name}'] = rows.topk(min(5, rows.shape[1]), dim=1).indices.cpu().numpy()
        part['num_classes'] = np.full(len(rows), rows.shape[1])
        if samples['gt_label'].ndim == 2:
            part[f'scores_{name}'] = rows.float().cpu().numpy()
    return part


def _assemble(rows: Mapping[str, ndarray], heads: list[str], num_images: int) -> Evaluation:
    places, first = np.unique(rows.get('sample_idx', np.empty(0, np.int64)), return_index=True)
    if len(places) != num_images or num_images == 0:
        raise InputError(f'{len(places)} of {num_images} images of the test were classified; test_dataloader '
                         'must hold all images: drop_last=False, and a sampler that leaves none out')
    labels, num_classes = rows['gt_label'][first], int(rows['num_classes'][0])
    if labels.ndim == 1 and (labels.min() < 0 or labels.max() >= num_classes):
        raise InputError(f'labels of the test must be in [0, {num_classes}), got {labels.min()} to '
                         f'{labels.max()}')
    if not rows['finite'][first].all():
        image = int(places[~rows['finite'][first]][0])
        raise InputError(f'the logits of image {image} of the test are not finite: training diverged, or the '
                         "encoder's weights are damaged; lower optim_wrapper.optimizer.lr")
    scores = {name: rows[f'scores_{name}'][first] for name in heads} if labels.ndim == 2 else {}
    return Evaluation(labels, {name: rows[f'ranked_{name}'][first] for name in heads}, num_classes, scores)


def image_names(dataset: Any) -> ndarray:
    """Return the paths of a dataset's images below its data root, str [N]; their numbers without files."""
    root, paths = str(getattr(dataset, 'data_root', '') or ''), None
    if dataset.get_data_info(0).get('img_path') is not None:
        paths = np.array([dataset.get_data_info(i)['img_path'] for i in range(len(dataset))])
    return names_below(root, paths, len(dataset))


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
    return unwrap_model(model)


def check_training_device(device: str) -> None:
    """Refuse another device than the one MMEngine trains on.

    Raises:
        ValueError: If it is another.
    """
    # MMEngine's Runner takes the GPU wherever there is one.
    runs_on = 'cuda' if torch.cuda.is_available() else 'cpu'
    if torch.device(device).type != runs_on:
        raise InputError(f'this protocol trains on the {runs_on} of this machine, and device is {device!r}; '
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
        raise InputError('the test has no images: test_dataloader.dataset is empty') from error
    dataset = loader.dataset
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if len(dataset) == 0:
        raise InputError('the test has no images: test_dataloader.dataset is empty')
    if not classes:
        raise InputError(f'{type(dataset).__name__} does not say its classes; give it '
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
        raise InputError(f'{len(absent)} classes of the test have no training images: '
                         f'{", ".join(map(str, absent[:5]))}{", ..." if len(absent) > 5 else ""}')


def _labels_within(dataset: Any, num_classes: int, part: str) -> np.ndarray:
    if len(dataset) and isinstance(label := dataset.get_data_info(0).get('gt_label'), list):
        if len(label) != num_classes:
            raise InputError(f'the {part} images have labels of {len(label)} classes, and the test has '
                             f'{num_classes}')
        present = np.array([dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))]) == 1
        return np.flatnonzero(present.any(axis=0))
    labels = labels_of(dataset)
    if len(labels) and labels.max() >= num_classes:
        raise InputError(f'the {part} images have labels up to {labels.max()}, and the test has '
                         f'{num_classes} classes, so labels must be in [0, {num_classes})')
    return labels


@torch.no_grad()
def _complete_model(config: Config, benchmark: Benchmark, test_set: Any) -> nn.Module:
    """Fill in the model's config; return the encoder whose weights it is to have."""
    heads, scale = config.model.heads, benchmark.encoder.input
    out_indices = out_indices_of(head.get('feature', 'pooled') for head in heads.values())
    encoder, _ = benchmark.encoder.build(out_indices=out_indices)
    height, width = test_set[0]['inputs'].shape[-2:]
    maps = dict(zip(out_indices, encoder(torch.zeros(1, 3, height, width)), strict=True))
    for head in heads.values():
        head.update(map_shape=tuple(maps[STAGE_INDICES[head.get('feature', 'pooled')]].shape[1:]),
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
        raise InputError(f'the classifier was never trained: {runner.iter} steps were made and '
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
