"""Training a classifier on an encoder by MMEngine's Runner, and testing it on all ranks."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from numpy import ndarray
from torch.utils.data import DataLoader

from mmsimclr import distributed
from mmsimclr.config import ConfigError, canonical
from mmsimclr.cpu_memory import kept_memory
from mmsimclr.datasets import data_identity, labels_of
from mmsimclr.distributed import unwrap_model
from mmsimclr.encoders import described, features_by_stage
from mmsimclr.engine import FrozenEncoderHook
from mmsimclr.errors import InputError, did_you_mean
from mmsimclr.evaluation.metrics import eleven_point_map, require_same_classes
from mmsimclr.features import of_projection_head, weights_sha256
from mmsimclr.features.images import preparation_for
from mmsimclr.models import Classifier
from mmsimclr.models.backbones.resnet import STAGE_INDICES
from mmsimclr.protocols.base import Benchmark, EncoderSource, clear_dataset_errors, count_classes
from mmsimclr.protocols.pretraining import history, num_unreadable
from mmsimclr.protocols.result import Predictions, Result, names_below
from mmsimclr.registry import is_of_type
from mmsimclr.runner import build_runner
from mmsimclr.transforms import LoadChannels, LoadImage, LoadImageForCrops


@dataclass(frozen=True)
class TrainedClassifier:
    """The answers of a trained classifier for the test."""

    evaluation: 'Evaluation'
    test_set: Any                               # the images
    num_images: Mapping[str, int]               # by part
    settings: Mapping[str, Any]                 # those that decided the values
    history: Mapping[str, Any]                  # those of them that tell of another run, or of a resumed one

    def answers(self, head: str | None = None) -> tuple[dict[str, float], Predictions]:
        """Return metrics and predictions of a head, by default of the first."""
        head = head or next(iter(self.evaluation.answers))
        return self.evaluation.metrics(head), self.evaluation.predictions(head, self.test_set)

    def result(self, benchmark: Benchmark, protocol: str, **settings: Any) -> Result:
        """Write and return the result of the first head; ``settings`` are further ones."""
        metrics, predictions = self.answers()
        settings = {**self.settings, **settings}
        return benchmark.result(protocol, metrics, self.num_images, settings, predictions)


def changes_in(rows: Sequence[Mapping[str, Any]]) -> dict[str, list]:
    """Return, for a result, the changes that any point of a grid took when it was resumed."""
    changed = [each for row in rows for each in row.get('changed_on_resume', ())]
    return dict(changed_on_resume=changed) if changed else {}


def train_classifier(benchmark: Benchmark, options: Mapping[str, Any] | None = None,
                     name: str | None = None) -> TrainedClassifier:
    """Train the classifier of a benchmark's config on its encoder, and evaluate it on the test.

    What only encoder and data can tell is filled into a copy of the config's model, a :class:`Classifier`.
    ``options`` override values, keys dotted; ``name`` is a folder below the benchmark's for this training.

    Raises:
        ConfigError: If the config lacks a part.
        ValueError: If the data are empty, labels do not fit, training changed no weight of a head, or the
            device cannot be had.
        RuntimeError: If a frozen encoder changed.
    """
    needed = 'model', 'train_dataloader', 'test_dataloader', 'optim_wrapper', 'train_cfg'
    config = training_config(benchmark, needed, options, name)
    for part in (config.train_dataloader, config.test_dataloader):
        _read_as(part, benchmark.encoder.input.reading)
    tested = {key: value for key, value in canonical(config).items() if key.startswith('test_dataloader.')}
    with clear_dataset_errors():
        test = _build_test(config, benchmark.seed)
        _complete_model(config, benchmark.encoder, test.dataset)
        runner = build_runner(config)
    model = unwrap_model(runner.model)
    model.backbone.load_state_dict(benchmark.encoder.backbone.state_dict())
    model.backbone.is_init = True               # or mmpretrain's would be drawn anew when training begins
    if model.neck is not None:
        model.neck.load_state_dict(benchmark.encoder.projection_head.state_dict())
    runner.provenance = {**tested, **benchmark.encoder.identity, **data_identity({'test': test.dataset})}
    frozen = FrozenEncoderHook(weights_sha256) if model.frozen else None
    if frozen:
        runner.register_hook(frozen, priority=frozen.priority)
    train_set = runner.train_dataloader.dataset
    _check_classes(train_set, test.dataset)
    weights = {name: parameter for name, parameter in model.heads.named_parameters()
               if name.endswith('weight')}
    at_start = {name: weight.detach().clone() for name, weight in weights.items()}
    runner.train()
    if runner.message_hub.runtime_info.get('started_at_iteration'):
        benchmark.started = None
    unchanged = [name for name, weight in weights.items() if torch.equal(weight, at_start[name].to(weight))]
    if runner.iter == 0 or unchanged:
        raise InputError(f'the classifier was never trained: {runner.iter} steps were made and '
                         f'{", ".join(unchanged) or "no weights"} stayed as drawn; what it answers says '
                         'nothing about the encoder. Set train_cfg.max_epochs >= 1 and a learning rate > 0')
    _warn_of_guessing(runner, len(test.dataset.metainfo['classes']) ** len(model.heads))
    settings = dict(epochs=runner.max_epochs, image_px=list(test.dataset[0]['inputs'].shape[-2:]),
                    **training_settings(runner, config),
                    **(dict(frozen_encoder_sha256=frozen.sha256) if frozen else {}))
    for part, images in (('train', train_set), ('test', test.dataset)):
        benchmark.note_missing(images, part)
    num_images = dict(train=len(train_set), **num_unreadable(runner), test=len(test.dataset))
    return TrainedClassifier(evaluate(model, test), test.dataset, num_images, settings, history(runner))


def _warn_of_guessing(runner: Runner, num_answers: int) -> None:
    """Warn if training ends at the loss of one who guesses, ln(classes), or above it."""
    scalars, chance = runner.message_hub.log_scalars, math.log(num_answers)
    if 'train/loss' in scalars and (final := float(scalars['train/loss'].mean(50))) >= chance:
        runner.logger.warning(
            f'the classifier ends at a loss of {final:.3g}, and guessing has {chance:.3g}: it has learnt '
            'nothing. Lower optim_wrapper.optimizer.lr tenfold (features of large norm need it), train for '
            'more epochs (train_cfg.max_epochs), or see if the labels are right')


def training_config(benchmark: Benchmark, needed: Sequence[str], options: Mapping[str, Any] | None = None,
                    name: str | None = None) -> Config:
    """Return a copy of a benchmark's config for a training; refuse one that lacks a key of ``needed``."""
    config = copy.deepcopy(benchmark.config)
    if lacking := [key for key in needed if not config.get(key)]:
        raise ConfigError(f'a protocol that trains needs {", ".join(lacking)} in the config')
    if options:
        config.merge_from_dict(dict(options))
    for loader in ('train_dataloader', 'test_dataloader'):
        _fill_sizes((config.get(loader) or {}).get('dataset') or {}, benchmark.encoder)
    config.work_dir = str(benchmark.work_dir / name if name else benchmark.work_dir)
    config.setdefault('experiment_name', '-'.join(Path(config.work_dir).absolute().parts[-2:]))
    # MMEngine's Runner takes the GPU wherever there is one.
    runs_on = 'cuda' if torch.cuda.is_available() else 'cpu'
    if torch.device(benchmark.device).type != runs_on:
        raise InputError(f'this protocol trains on the {runs_on} of this machine, and device is '
                         f'{benchmark.device!r}; to train on the CPU of a machine with a GPU set '
                         'CUDA_VISIBLE_DEVICES= (empty)')
    return config


def _fill_sizes(part: Any, encoder: EncoderSource) -> None:
    """Fill in ``size=None`` of the transforms of a dataset: the size of the encoder's views."""
    for each in part.values() if isinstance(part, Mapping) else part:
        if isinstance(each, list | tuple | Mapping):
            _fill_sizes(each, encoder)
    if isinstance(part, Mapping) and 'size' in part and part['size'] is None:
        expected = preparation_for(encoder.backbone)
        resizes = getattr(part['type'], '__name__', part['type']).rpartition('.')[2] == 'ResizeShortSide'
        part['size'] = expected.resize_px if resizes else expected.crop_px


def training_settings(runner: Runner, config: Config) -> dict[str, Any]:
    """Return what a result says of a training: steps, ranks, global batch and optimizer."""
    optimizer, ranks = config.optim_wrapper.optimizer, distributed.world_size()
    kind = getattr(optimizer.type, '__name__', optimizer.type).rpartition('.')[2]
    batch = config.train_dataloader.batch_size * ranks * config.optim_wrapper.get('accumulative_counts', 1)
    return dict(steps=runner.iter, ranks=ranks, global_batch=batch, optimizer={**optimizer, 'type': kind},
                **history(runner))


def check_model(config: Config, frozen: bool, num_heads: int | None = 1) -> None:
    """Refuse a config whose encoder is to be frozen and is not, or the reverse, or with other heads."""
    model = config.get('model') or {}
    if bool(model.get('frozen')) != frozen:
        what = 'leaves the encoder as it is' if frozen else 'trains the whole network'
        raise ConfigError(f'this protocol {what}: set model.frozen={frozen}')
    heads = list(model.get('heads') or ())
    if num_heads is not None and len(heads) != num_heads:
        raise ConfigError(f'model.heads must name {num_heads} head(s), got {heads}')


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
        loader = None
    if loader is None or not len(loader.dataset):
        raise InputError('the test has no images: test_dataloader.dataset is empty')
    dataset = loader.dataset
    if not (getattr(dataset, 'metainfo', None) or {}).get('classes'):
        raise InputError(f'{type(dataset).__name__} does not say its classes; give it '
                         'metainfo=dict(classes=...)')
    return loader


@torch.no_grad()
def _complete_model(config: Config, encoder: EncoderSource, test_set: Any) -> None:
    """Fill in the encoder, the scale of its images, and the inputs and outputs of the heads."""
    backbone, heads, scale = encoder.backbone, config.model.heads, encoder.input
    height, width = test_set[0]['inputs'].shape[-2:]
    image = torch.zeros(1, len(scale.mean), height, width, device=next(backbone.parameters()).device)
    maps = features_by_stage(backbone, image)
    stages = [head.get('feature', 'pooled') for head in heads.values()]
    if of_projection_head(stages):
        layers = encoder.projection_head.to(image.device).named_layers(maps['pooled'])
        maps |= layers
        config.model.neck = dict(type='mmsimclr.NonLinearNeck', **encoder.weights.neck_settings)
    for head, stage in zip(heads.values(), stages, strict=True):
        if stage not in maps:
            raise ConfigError(f'the feature of a head must be one of {", ".join(maps)}, which this encoder '
                              f'offers, got {stage!r}' + did_you_mean(stage, maps))
        shape = (*maps[stage].shape[1:], 1, 1)[:3]
        head.update(map_shape=shape, num_classes=len(test_set.metainfo['classes']))
    stages = [stage if stage in STAGE_INDICES else 'pooled' for stage in stages]
    config.model.backbone = described(backbone.settings, stages)
    preprocessor = config.model.get('data_preprocessor') or dict(type='mmsimclr.ViewPreprocessor')
    config.model.data_preprocessor = {**preprocessor, 'mean': scale.mean, 'std': scale.std}


def _read_as(node: Any, reading: Mapping[str, Any] | None) -> None:
    """Have a loader's config read images as the encoder's were; refuse one that reads others for RGB."""
    parts = node.values() if isinstance(node, Mapping) else node
    for child in parts if isinstance(node, Mapping | list | tuple) else ():
        if reading is None and is_of_type(child, LoadChannels):
            raise ConfigError('the encoder was trained on 8-bit RGB, and the config reads images by '
                              'LoadChannels: take LoadImage')
        if reading is not None and any(
                is_of_type(child, kind) for kind in (LoadImage, LoadImageForCrops, LoadChannels)):
            child.clear()
            child.update(type='mmsimclr.LoadChannels', **reading)
        _read_as(child, reading)


def _check_classes(train_set: Any, test_set: Any) -> None:
    classes = tuple(test_set.metainfo['classes'])
    require_same_classes((getattr(train_set, 'metainfo', None) or {}).get('classes') or classes, classes)
    labels = [np.array([part.get_data_info(index)['gt_label'] for index in range(len(part))])
              if isinstance(part.get_data_info(0).get('gt_label'), list) else labels_of(part)
              for part in (train_set, test_set)]
    num_classes = count_classes(type(train_set).__name__, *labels)
    if num_classes > len(classes) or (labels[0].ndim == 2 and num_classes < len(classes)):
        raise InputError(f'the labels are of {num_classes} classes, and the test names {len(classes)}')


@dataclass(frozen=True)
class Evaluation:
    """A classifier's answers for N images, in the order of their dataset."""

    labels: ndarray                             # true classes, int64 [N] or [N, K], as in Predictions
    # By head the classes of the largest logits, int64 [N, min(5, K)]; the logits, float32 [N, K], for labels
    # [N, K].
    answers: Mapping[str, ndarray]
    num_classes: int                            # K

    def metrics(self, head: str) -> dict[str, float]:
        """Return top-1 and, of more than five classes, top-5 accuracy, or 11-point mean AP, in percent."""
        if self.labels.ndim == 2:
            return {'11_point_map_percent': eleven_point_map(self.labels, self.answers[head])}
        hits = self.answers[head] == self.labels[:, None]
        metrics = {'top_1_accuracy_percent': 100.0 * float(hits[:, 0].mean())}
        if self.num_classes > hits.shape[1]:
            metrics[f'top_{hits.shape[1]}_accuracy_percent'] = 100.0 * float(hits.any(axis=1).mean())
        return metrics

    def predictions(self, head: str, dataset: Any) -> Predictions:
        """Return a head's answers with the names of the images."""
        predicted = self.answers[head] if self.labels.ndim == 2 else self.answers[head][:, 0]
        return Predictions(self.labels, predicted, image_names(dataset))


@torch.no_grad()
def evaluate(model: Classifier, loader: DataLoader) -> Evaluation:
    """Classify all images of a loader, and return the same answers on all ranks.

    The ranks may divide the images in any way, and pad: an image that is seen several times counts once.
    All ranks get the buffers of rank 0, such as the statistics of batch norm, as in a checkpoint. Items of
    the loader carry ``gt_label`` and ``sample_idx``. ValueError if a head was never trained, or an image was
    not seen, has a label out of range or makes logits that are not finite.
    """
    blank = [name for name, head in model.heads.items() if getattr(head, 'is_blank', False)]
    if blank:
        raise InputError(f'the weights of {", ".join(blank)} are all zero: a probe that was never trained '
                         'says nothing about the encoder; train it first')
    distributed.copy_buffers_from_first_rank(model)
    model.eval()
    with kept_memory(next(model.parameters()).device):
        parts = [_classify(model, batch) for batch in loader]
    parts = [part for parts_of_rank in distributed.from_every_rank(parts) for part in parts_of_rank]
    rows = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} if parts else {}
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
    part['finite'] = torch.cat(list(logits.values()), dim=1).isfinite().all(dim=1).cpu().numpy()
    several = samples['gt_label'].ndim == 2
    for name, rows in logits.items():
        answers = rows.float() if several else rows.topk(min(5, rows.shape[1]), dim=1).indices
        part[f'answers_{name}'] = answers.cpu().numpy()
        part['num_classes'] = np.full(len(rows), rows.shape[1])
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
    return Evaluation(labels, {name: rows[f'answers_{name}'][first] for name in heads}, num_classes)


def image_names(dataset: Any) -> ndarray:
    """Return the paths of a dataset's images below its data root, str [N]; their numbers without files."""
    paths = None
    if dataset.get_data_info(0).get('img_path') is not None:
        paths = np.array([dataset.get_data_info(i)['img_path'] for i in range(len(dataset))])
    return names_below(str(getattr(dataset, 'data_root', None) or ''), paths, len(dataset))
