"""Detection and segmentation: fine-tuning a detector of mmdet or a segmenter of mmseg."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dist import broadcast
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mmsimclr import distributed
from mmsimclr.config import ConfigError
from mmsimclr.engine.metrics import ImageWiseMetric
from mmsimclr.errors import InputError
from mmsimclr.files import atomic_writer
from mmsimclr.protocols.annotation_check import check_annotations, classes_of
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.downstream_model import complete_model, put_encoder_in, unwrap
from mmsimclr.protocols.result import Result
from mmsimclr.protocols.training import check_training_device
from mmsimclr.registry import PROTOCOLS
from mmsimclr.runner import build_runner

NEEDED = ('model', 'train_dataloader', 'test_dataloader', 'test_evaluator', 'optim_wrapper', 'train_cfg',
          'test_cfg')


class FineTuning(Protocol):
    """Train a whole network of mmdet or mmseg that starts from the encoder and from nothing else.

    The config is that of an MMEngine run without what only encoder and data can tell, which
    :func:`~mmsimclr.protocols.downstream.complete_model` fills in. Before training, all annotations
    are checked. The metric of ``test_evaluator`` is an :class:`~mmsimclr.engine.metrics.ImageWiseMetric`;
    what was found in each image is written beside the result, into ``per_image.npz``.

    Args:
        kind: Name of the protocol in the result, as published results call it, e.g. ``'Mask R-CNN FPN 1x'``.
    """

    task = 'fine-tuning'

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def run(self, benchmark: Benchmark) -> Result:
        """Train, measure, and return the metrics of the config's evaluator."""
        config = copy.deepcopy(benchmark.config)
        lacking = [key for key in NEEDED if not config.get(key)]
        if lacking:
            raise ConfigError(f'a protocol that trains needs {", ".join(lacking)} in the config')
        check_training_device(benchmark.device)
        with DefaultScope.overwrite_default_scope(config.default_scope):
            counts = check_annotations(config)
            runner = self.build(benchmark, config)
            runner.train()
            if runner.iter == 0:
                raise InputError('no step was made, so what the heads answer says nothing about the '
                                 'encoder; raise train_cfg.max_iters or max_epochs')
            metrics = _test(runner)
        metric, = runner.test_loop.evaluator.metrics
        kept = benchmark.work_dir / 'per_image.npz'
        if distributed.rank() == 0:
            with atomic_writer(kept) as file:
                np.savez_compressed(file, classes=np.array(metric.dataset_meta['classes']), **metric.rows)
        return benchmark.result(
            self.kind, metrics, {part: count['images'] for part, count in counts.items()},
            dict(task=self.task, **_settings(runner, config), by_class=metric.by_class, per_image=kept.name))

    @staticmethod
    def build(benchmark: Benchmark, config: Config) -> Runner:
        """Complete a config in place and build its Runner, the encoder in the model.

        Raises:
            ConfigError: If the model or the metric is of another kind.
        """
        encoder, _ = benchmark.encoder.build()
        complete_model(config.model, encoder.settings, benchmark.encoder.input, len(classes_of(config)))
        config.work_dir = str(benchmark.work_dir)
        config.setdefault('experiment_name', '-'.join(Path(config.work_dir).absolute().parts[-2:]))
        runner = build_runner(config)
        metrics = runner.test_loop.evaluator.metrics
        if len(metrics) != 1 or not isinstance(metrics[0], ImageWiseMetric):
            raise ConfigError('test_evaluator must be one VOCBoxMetric, COCOMetric or SegmentationMetric of '
                              'mmsimclr.engine')
        put_encoder_in(runner.model, encoder)
        return runner


def _test(runner: Runner) -> dict[str, float]:
    if distributed.world_size() > 1:
        # Statistics of batch norm differ where they are per process; a checkpoint has those of rank 0.
        for buffer in unwrap(runner.model).buffers():
            broadcast(buffer, src=0)
    metrics = runner.test()
    return {name: float(value) for name, value in metrics.items()}


def _settings(runner: Runner, config: Config) -> dict[str, Any]:
    optimizer = config.optim_wrapper.optimizer
    kind = optimizer.type if isinstance(optimizer.type, str) else optimizer.type.__name__
    ranks = distributed.world_size()
    return dict(
        steps=runner.iter, ranks=ranks,
        global_batch=config.train_dataloader.batch_size * ranks
        * config.optim_wrapper.get('accumulative_counts', 1),
        optimizer={**optimizer, 'type': kind},
        batch_norm='over all ranks' if config.get('sync_bn') and ranks > 1 else 'per process')


@PROTOCOLS.register_module()
class Detection(FineTuning):
    """Box AP on PASCAL VOC, or box and mask AP on COCO, of a detector that is fine-tuned from the encoder.

    Source:
        He et al. 2020 (MoCo), section 4.2; MMSelfSup 1.x and VISSL for the settings.
    """

    task = 'detection'


@PROTOCOLS.register_module()
class Segmentation(FineTuning):
    """Mean IoU of a segmenter that is fine-tuned from the encoder.

    Source:
        Long et al. 2015; MMSelfSup 1.x for the settings.
    """

    task = 'segmentation'
