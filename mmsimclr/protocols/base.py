"""Running a protocol on an encoder: the encoder, the benchmark, the base class of protocols."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import barrier, broadcast_object_list
from mmengine.logging import MMLogger
from mmengine.runner import set_random_seed
from numpy import ndarray
from torch import nn

from mmsimclr import checkpoints, distributed
from mmsimclr.checkpoints import EncoderWeights, InputScale, LoadReport
from mmsimclr.config import ConfigError, canonical, config_sha256
from mmsimclr.config.canonical import LOCATIONS
from mmsimclr.datasets import BalancedSubset, ImageSubset, data_identity
from mmsimclr.datasets.published import OFFICIAL_IMAGES
from mmsimclr.encoders import build_backbone, with_named_type
from mmsimclr.errors import InputError, InputTypeError, MissingFileError
from mmsimclr.evaluation.metrics import require_same_classes
from mmsimclr.features import (
    Embedder,
    FeatureFiles,
    extract_to_files,
    extraction_sha256,
    of_projection_head,
    settings_sha256,
)
from mmsimclr.files import ProgressLine, file_digest, leased
from mmsimclr.models import POOLED_FEATURES
from mmsimclr.protocols.result import DRAWN, Predictions, Result, write_csv
from mmsimclr.registry import DATASETS, PROTOCOLS
from mmsimclr.runner import show_little, working_in

# Keys of a config that do not make another measurement: seeds, folders, the encoder, other datasets' names.
NOT_OF_THE_MEASUREMENT = (
    *LOCATIONS, '*.names', 'test_evaluator.ann_file', '*seed', 'protocol.*root', 'protocol.datasets',
    'protocol.skip_missing', 'encoder', 'load_from', 'dataset_name')


def run_benchmark(config: Config, checkpoint: str | None, *, config_path: str | Path | None = None,
                  command: str | None = None, select: str | None = None, cache_dir: str | Path | None = None,
                  device: str = 'auto', dedupe: bool = False) -> Result:
    """Measure an encoder as a config says; write the result into the work directory, and return it.

    Args:
        config: From :func:`mmsimclr.config.load_config`; it has a ``protocol``.
        checkpoint: A file, folder, address or model-zoo name; None for a randomly initialised encoder,
            whose architecture is then the config's ``encoder``.
        config_path: Where the config came from, for the result.
        command: What repeats the run, for the result.
        select: Address of the encoder in the checkpoint, where it has several.
        cache_dir: Folder of extracted features; by default ``features`` beside the work directory.
        device: Where to compute; 'auto' is the GPU if there is one.
        dedupe: Whether to list test images that are near-duplicates of training images.

    Raises:
        ConfigError, CheckpointError, HeldError, InputError: If the config has no protocol, the checkpoint
            cannot be used, another run works in the work directory, or the protocol lists no duplicates.
    """
    if not config.get('protocol'):
        raise ConfigError('the config has no protocol=dict(type=...): it is not one of a benchmark '
                          '(configs/benchmarks/); to pre-train, use mmsimclr train')
    distributed.start_as(config)
    protocol = PROTOCOLS.build(config.protocol)
    if dedupe and not protocol.lists_duplicates:
        raise InputError('--dedupe is for protocols on features of training and test images, k-NN, transfer '
                         f'linear and SVM; {type(protocol).__name__} is none')
    work_dir, randomness = Path(config.work_dir), config.get('randomness') or {}
    seed = randomness.get('seed') or 0
    config.randomness = {**randomness, 'seed': seed}             # a training in it would draw one of its own
    with working_in(work_dir, 'benchmark'):
        work_dir.mkdir(parents=True, exist_ok=True)
        set_random_seed(seed, deterministic=bool(randomness.get('deterministic')))
        show_little(MMLogger.get_instance('mmsimclr', logger_name='mmsimclr',
                                          log_file=str(work_dir / 'benchmark.log')))
        source = EncoderSource(checkpoint, select, dict(config.get('random_encoder') or {}), seed)
        benchmark = Benchmark(source, config, work_dir, Path(cache_dir or work_dir.parent / 'features'),
                              config_path=str(config_path) if config_path else None, command=command,
                              seed=seed, device=device, num_workers=config.get('num_workers', 0),
                              dedupe=dedupe)
        return protocol.run(benchmark)


@dataclass(frozen=True)
class EncoderSource:
    """The encoder that is measured: read and built at first use, then kept."""

    checkpoint: str | Path | None               # as of run_benchmark; None for random initialisation
    select: str | None = None                   # as of run_benchmark
    # Arguments of mmsimclr.models.ResNet, or of another type, and a seed; for random initialisation only.
    settings: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.checkpoint is None and not self.settings:
            raise InputError('random initialisation needs the architecture: put '
                             'random_encoder=dict(depth=50, ...) in the config')
        object.__setattr__(self, 'settings', with_named_type(self.settings))         # as text, for the result

    @cached_property
    def weights(self) -> EncoderWeights | None:
        """The checkpoint's content; None for random initialisation."""
        return None if self.checkpoint is None else checkpoints.read_encoder(self.checkpoint, self.select)

    @property
    def input(self) -> InputScale:
        """Scale of the encoder's images; the unit range where it is random."""
        return checkpoints.UNIT_RANGE if self.weights is None else self.weights.input

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the encoder from others: the file, and the place in it."""
        if self.weights is None:
            return {'encoder.sha256': 'random', **canonical({'encoder': self.settings, 'randomness': dict(
                seed=self.seed)})}
        return {'encoder.sha256': self.weights.sha256, 'encoder.address': self.weights.address}

    @property
    def backbone(self) -> nn.Module:
        """The encoder, in eval mode, with the maps of the stem and of all stages; copy it to train it."""
        return self._built[0]

    @property
    def report(self) -> LoadReport | None:
        """The report of its loading; None where it is random."""
        return self._built[1]

    @cached_property
    def projection_head(self) -> nn.Module:
        """The projection head of the same checkpoint, in eval mode; refused where there is none."""
        if self.weights is None:
            raise InputError('a randomly initialised encoder has no projection head: measure its features, '
                             "stage 'pooled', or give a checkpoint")
        return checkpoints.build_projection_head(self.weights)

    @cached_property
    def _built(self) -> tuple[nn.Module, LoadReport | None]:
        with torch.random.fork_rng(devices=[]):                  # the global random state stays as it is
            if self.weights is not None:
                return checkpoints.build_encoder(self.weights, stages=POOLED_FEATURES)
            torch.manual_seed(self.seed)
            backbone = build_backbone(self.settings, POOLED_FEATURES)
            backbone.eval()
            return backbone, None


@dataclass
class Benchmark:
    """One evaluation: an encoder, where to work, and the means that protocols share."""

    encoder: EncoderSource
    config: Config                              # the whole, for protocols that train by MMEngine's Runner
    work_dir: Path                              # folder of this evaluation
    cache_dir: Path                             # folder of extracted features, shared by all of an encoder
    config_path: str | None = None              # where the config came from
    command: str | None = None                  # what repeats the evaluation
    seed: int = 0                               # of everything random in it
    device: str = 'auto'                        # where to compute; 'auto' is the GPU if there is one
    num_workers: int = 0                        # processes that read images
    # None if an earlier process has done a part of it, of unknown time.
    started: float | None = field(default_factory=time.perf_counter)
    dedupe: bool = False                        # list test images that are among the training images
    notes: dict[str, Any] = field(default_factory=dict)         # further settings of the result
    splits: dict[str, list[str]] = field(default_factory=dict)  # images by part, where they were split here
    images: dict[str, str] = field(default_factory=dict)        # by part: hash of list and sample
    chosen: set[str | None] = field(default_factory=set)        # parts that are chosen subsets of a dataset

    def __post_init__(self) -> None:
        if self.device == 'auto':
            self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.work_dir, self.cache_dir = Path(self.work_dir), Path(self.cache_dir)
        self.logger = MMLogger.get_current_instance()

    def features(self, dataset: Mapping[str, Any], stages: str | Sequence[str] = 'pooled',
                 part: str = 'test', **preparation: Any) -> FeatureFiles:
        """Return the encoder's features of a dataset, extracted once, by all ranks together, and kept.

        They are kept by the hash of all that decides them. The dataset's pipeline is not used. ``stages`` and
        ``preparation``, such as ``resize_px``, are arguments of :class:`~mmsimclr.features.Embedder`.
        """
        with clear_dataset_errors():
            images = DATASETS.build({**dataset, **({'pipeline': []} if 'pipeline' in dataset else {})})
        head = self.encoder.projection_head if of_projection_head(stages) else None
        self.note_missing(images, part)
        embedder = Embedder(self.encoder.backbone, self.device, stages=stages, input=self.encoder.input,
                            projection_head=head, **preparation)
        embedder.report = self.encoder.report
        # Rank 0 decides: on another machine, copies of the images may have been written at other times.
        name = [f'{embedder.fingerprint()[:16]}_{extraction_sha256(embedder, images)[:16]}']
        broadcast_object_list(name)
        features = extract_to_files(embedder, images, self.cache_dir / name[0], num_workers=self.num_workers,
                                    command=self.command,
                                    progress=ProgressLine() if distributed.rank() == 0 else None)
        barrier()
        return features

    def path_beside_result(self, name: str) -> Path:
        """Return where a file of the result goes; remove an older result, to which it does not belong."""
        (self.work_dir / 'result.json').unlink(missing_ok=True)
        return self.work_dir / name

    def note_missing(self, dataset: Any, part: str | None = None) -> None:
        """Note, for the result, images that a dataset, or one inside of it, does not have, and its split.

        A split that was made here is written to ``split.csv`` beside the result. What the images of the part
        are is noted too.
        """
        identity, drawn = data_identity({'images': dataset}) if part else {}, ''
        while dataset is not None:
            drawn = DRAWN if isinstance(dataset, BalancedSubset) else drawn
            if isinstance(dataset, ImageSubset):
                self.chosen.add(part)
            if rule := getattr(dataset, 'split_rule', None):
                self.notes['split'] = rule
                self.splits[dataset.split] = [dataset.get_data_info(index)['img_path']
                                              for index in range(len(dataset))]
            if count := getattr(dataset, 'num_missing', 0):
                name = f'{type(dataset).__name__} {getattr(dataset, "split", "")}'.strip()
                self.notes.setdefault('images_missing', {})[name] = count
            dataset = getattr(dataset, 'dataset', None)
        if identity:
            self.images[f'{part}{drawn}'] = settings_sha256(identity)

    def result(self, protocol: str, metrics: Mapping[str, float], num_images: Mapping[str, int],
               settings: Mapping[str, Any], predictions: Predictions | None = None,
               series: Mapping[str, list[float]] | None = None) -> Result:
        """Write ``result.json``, and the predictions beside it, and return it; see :class:`Result`."""
        scale, report = self.encoder.input, self.encoder.report
        result = Result(
            protocol=protocol, metrics=dict(metrics), num_images=dict(num_images), seed=self.seed,
            settings={**settings, 'input': dict(
                mean=list(scale.mean), std=list(scale.std), stated=scale.stated,
                **({'reading': dict(scale.reading)} if scale.reading else {}))},
            config=self.config_path, command=self.command, dataset=self.config.get('dataset_name'),
            wall_time_s=self.started and time.perf_counter() - self.started, series=dict(series or {}))
        missing = {f'{result.dataset} {part}': official - result.num_images[part]
                   for part, official in OFFICIAL_IMAGES.get(result.dataset, {}).items()
                   if part not in self.chosen and result.num_images.get(part, official) < official}
        if missing:
            self.notes.setdefault('images_missing', {}).update(missing)
        result.settings.update(self.notes)
        if self.images:
            result.settings['images_sha256'] = dict(self.images)
            with suppress(InputTypeError):                   # a config with what only Python can name
                result.settings['config_sha256'] = config_sha256(self.config, NOT_OF_THE_MEASUREMENT)
        if report is None:
            result.settings.update(init='random', encoder=dict(self.encoder.settings))
        else:
            result.checkpoint, result.checkpoint_sha256 = str(report.path), report.sha256
            result.checkpoint_layout = report.layout
            if self.encoder.weights.alternatives:
                result.settings['encoder_address'] = self.encoder.weights.address
            result.tensors_loaded = (report.matched, report.expected)
        if distributed.rank() == 0:
            with leased(self.work_dir, 'benchmark'):         # unless another run has taken over meanwhile
                if predictions is not None:
                    path = predictions.write(self.path_beside_result('predictions.npz').parent)
                    result.predictions, result.predictions_sha256 = path.name, file_digest(path)
                if self.splits:
                    write_csv(self.path_beside_result('split.csv'), [('part', 'image'), *(
                        (part, path) for part, paths in self.splits.items() for path in paths)])
                result.write(self.work_dir / 'result.json')
        barrier()
        return result


class Protocol(ABC):
    """A way to measure an encoder. Register it in ``PROTOCOLS`` and name it in a config's ``protocol``."""

    #: Whether it warns of test images that are among the training images, and lists them on demand.
    lists_duplicates = False

    @abstractmethod
    def run(self, benchmark: Benchmark) -> Result:
        """Evaluate the encoder, on every rank, and return the result of :meth:`Benchmark.result`."""


@contextmanager
def clear_dataset_errors() -> Iterator[None]:
    """Turn other libraries' errors about missing files and empty folders into errors of the user's data."""
    try:
        yield
    except FileNotFoundError as error:
        if error.filename is None:                           # ours, which explains itself
            raise
        raise MissingFileError(
            f'{error.filename} does not exist: the config says where the images are, in data_root and in its '
            'datasets (another place: --cfg-options data_root=PATH)') from error
    except RuntimeError as error:
        if not str(error).startswith('Found 0 files'):
            raise
        raise InputError(f'there are no images to measure on: {error}') from error


def class_names(train: FeatureFiles, test: FeatureFiles) -> list[str]:
    """Return the names of the classes of two sets of features, or their numbers; refuse different classes."""
    names, others = (list(part.manifest['images']['classes']) for part in (train, test))
    require_same_classes(names, others)
    if names:
        return names
    counts = [0 if part.labels is None else part.labels.shape[1] if part.labels.ndim == 2
              else int(part.labels.max()) + 1 for part in (train, test)]
    return [str(number) for number in range(max(counts))]


def count_classes(name: str, train_labels: ndarray, *other_labels: ndarray) -> int:
    """Return the number of classes of dataset ``name``, after checking that the labels of its parts agree."""
    parts = [train_labels, *other_labels]
    if any(labels is None for labels in parts):
        raise InputError(f'{name}: the images have no labels')
    if len({labels.shape[1:] for labels in parts}) > 1:
        raise InputError(f'{name}: parts differ in the number of classes: labels are '
                         f'{[list(labels.shape) for labels in parts]}')
    several = train_labels.ndim == 2
    known, *others = (np.flatnonzero((labels == 1).any(axis=0)) if several else np.unique(labels)
                      for labels in parts)
    if not several:
        if known[0] < 0:
            raise InputError(f'{name}: labels must be >= 0, got {known[0]}')
        if len(known) < 2:
            raise InputError(f'{name} training images must be of two classes or more, and are all of class '
                             f'{known.tolist()}: there is nothing to tell apart')
    foreign = np.setdiff1d(np.concatenate(others), known)
    if len(foreign):
        raise InputError(f'{name}: classes {foreign[:10].tolist()} are in validation or test and have no '
                         'training image')
    return train_labels.shape[1] if several else int(known[-1]) + 1
