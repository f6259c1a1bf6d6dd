"""Detection and segmentation: fine-tuning a detector of mmdet or a segmenter of mmseg."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from torch import nn

from mmsimclr import distributed
from mmsimclr.checkpoints import InputScale
from mmsimclr.config import ConfigError
from mmsimclr.datasets import data_identity
from mmsimclr.datasets.annotations import check_coco, check_segmentation, check_voc
from mmsimclr.distributed import unwrap_model
from mmsimclr.engine.metrics import ImageWiseMetric
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import atomic_writer
from mmsimclr.models import DownstreamResNet, StageMaps
from mmsimclr.protocols.base import Benchmark, EncoderSource, Protocol
from mmsimclr.protocols.result import Result
from mmsimclr.protocols.training import training_config, training_settings
from mmsimclr.registry import MODELS, PROTOCOLS
from mmsimclr.runner import build_runner


def check_annotations(config: Config) -> dict[str, dict[str, int]]:
    """Read the annotations and open the images of train and test; in a process group each rank a share.

    Returns the counts ``images`` and ``objects`` of ``train`` and ``test``, as of
    :mod:`mmsimclr.datasets.annotations`, whose errors it raises; ConfigError if a dataset is of a kind that
    cannot be checked, or train and test have other classes.
    """
    share = slice(distributed.rank(), None, distributed.world_size())
    classes = classes_of(config)
    has_masks = bool((config.model.get('roi_head') or {}).get('mask_head'))
    counts = {part: dict(images=0, objects=0) for part in ('train', 'test')}
    for part in counts:
        for dataset in _datasets(config[f'{part}_dataloader'].dataset, config.default_scope):
            named = dataset.metainfo.get('classes')
            if tuple(named or ()) != classes:
                raise ConfigError('the datasets of train and test must have the same classes: one has '
                                  f'{named}, another {classes}')
            for name, count in _check(dataset, share, has_masks).items():
                counts[part][name] += count
    return counts


def classes_of(config: Config) -> tuple[str, ...]:
    """Return the names of the classes of a config's test."""
    dataset = next(_datasets(config.test_dataloader.dataset, config.default_scope))
    classes = dataset.metainfo.get('classes')
    if not classes:
        raise ConfigError(f'{type(dataset).__name__} does not say its classes; give it '
                          'metainfo=dict(classes=...)')
    return tuple(classes)


def _datasets(config: Mapping[str, Any], scope: str) -> Iterator[Any]:
    """Yield the datasets inside of wrappers, nothing of them loaded."""
    if 'datasets' in config or 'dataset' in config:
        for inner in config.get('datasets') or [config['dataset']]:
            yield from _datasets(inner, scope)
        return
    with DefaultScope.overwrite_default_scope(scope):
        try:
            yield DATASETS.build({**config, 'pipeline': [], 'lazy_init': True})
        except AssertionError as error:             # of mmseg's VOC dataset, without a message
            raise MissingFileError(f'no {config.get("ann_file")} or no images below '
                                   f'{config.get("data_root")}') from error


def _check(dataset: Any, share: slice, has_masks: bool) -> dict[str, int]:
    # By name, so that neither mmdet nor mmseg is needed where there is none.
    kinds = {cls.__name__ for cls in type(dataset).__mro__}
    classes = dataset.metainfo['classes']
    if 'XMLDataset' in kinds:
        return check_voc(dataset.ann_file, dataset.sub_data_root, classes, dataset.img_subdir,
                         dataset.ann_subdir, share)
    if 'CocoDataset' in kinds:
        return check_coco(dataset.ann_file, dataset.data_prefix['img'], classes, masks=has_masks, share=share)
    if 'BaseSegDataset' not in kinds:
        raise ConfigError(f'the annotations of a {type(dataset).__name__} cannot be checked; use an '
                          'XMLDataset or CocoDataset of mmdet, or a BaseSegDataset of mmseg')
    try:
        items = dataset.load_data_list()
    except AssertionError as error:
        raise MissingFileError(str(error)) from error
    except UnicodeDecodeError as error:
        raise InputError(f'{dataset.ann_file} is not UTF-8 text: {error}') from error
    pairs = [(item['img_path'], item['seg_map_path']) for item in items]
    origin = dataset.ann_file or dataset.data_prefix['img_path']
    return check_segmentation(pairs, len(classes), origin, dataset.ignore_index, dataset.reduce_zero_label,
                              share)


NEEDED = ('model', 'train_dataloader', 'test_dataloader', 'test_evaluator', 'optim_wrapper', 'train_cfg',
          'test_cfg')
STAGE_4 = 'layer4.'
WIDTH = ('base_channels', 'width_multiplier')


class FineTuning(Protocol):
    """Train a whole network of mmdet or mmseg that starts from the encoder and from nothing else.

    The config is that of an MMEngine run; :func:`complete_model` fills in what only encoder and data can
    tell. Before training, all annotations are checked. The metric of ``test_evaluator`` is an
    :class:`~mmsimclr.engine.metrics.ImageWiseMetric`; its findings are written into ``per_image.npz``.
    ``kind`` names the protocol in the result, as published results do, e.g. ``'Mask R-CNN FPN 1x'``.
    """

    task = 'fine-tuning'

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def run(self, benchmark: Benchmark) -> Result:
        """Train, measure, and return the metrics of the config's evaluator."""
        config = training_config(benchmark, NEEDED)
        with DefaultScope.overwrite_default_scope(config.default_scope):
            counts = check_annotations(config)
            runner = self.build(benchmark, config)
            runner.provenance = {**benchmark.encoder.identity,
                                 **data_identity({'test': runner.test_loop.dataloader.dataset})}
            runner.train()
            if runner.message_hub.runtime_info.get('started_at_iteration'):
                benchmark.started = None
            if runner.iter == 0:
                raise InputError('no step was made, so what the heads answer says nothing about the '
                                 'encoder; raise train_cfg.max_iters or max_epochs')
            distributed.copy_buffers_from_first_rank(unwrap_model(runner.model))
            metrics = {name: float(value) for name, value in runner.test().items()}
        for part, loop in (('train', runner.train_loop), ('test', runner.test_loop)):
            benchmark.note_missing(loop.dataloader.dataset, part)
        metric, = runner.test_loop.evaluator.metrics
        kept = benchmark.work_dir / 'per_image.npz'
        if distributed.rank() == 0:
            with atomic_writer(benchmark.path_beside_result(kept.name)) as file:
                np.savez_compressed(file, classes=np.array(metric.dataset_meta['classes']), **metric.rows)
        over_ranks = config.get('sync_bn') and distributed.world_size() > 1
        return benchmark.result(
            self.kind, metrics, {part: count['images'] for part, count in counts.items()},
            dict(task=self.task, **training_settings(runner, config),
                 batch_norm='over all ranks' if over_ranks else 'per process', by_class=metric.by_class,
                 per_image=kept.name))

    @staticmethod
    def build(benchmark: Benchmark, config: Config) -> Runner:
        """Complete a config in place and build its Runner, the encoder in the model."""
        encoder = benchmark.encoder.backbone
        complete_model(config.model, encoder.settings, benchmark.encoder.input, len(classes_of(config)))
        runner = build_runner(config)
        metrics = runner.test_loop.evaluator.metrics
        if len(metrics) != 1 or not isinstance(metrics[0], ImageWiseMetric):
            raise ConfigError('test_evaluator must be one VOCBoxMetric, COCOMetric or SegmentationMetric of '
                              'mmsimclr.engine')
        put_encoder_in(runner.model, encoder)
        return runner


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


def check_benchmark(config: Config, checkpoint: str | None = None, select: str | None = None) -> str:
    """Check the encoder, if there is a checkpoint, and all annotations; return a line on each."""
    if config.get('default_scope') not in ('mmdet', 'mmseg') or not config.get('train_dataloader'):
        raise ConfigError('only configs of detection and segmentation have annotations to check')
    lines = []
    if checkpoint is not None:
        source = EncoderSource(checkpoint, select)
        encoder, report = source.backbone, source.report
        with DefaultScope.overwrite_default_scope(config.default_scope):
            complete_model(copy.deepcopy(config.model), encoder.settings, source.input,
                           len(classes_of(config)))
        lines = [f'encoder: {report.matched} of {report.expected} tensors of {report.path}: nothing is wrong']
    counted = 'objects' if config.default_scope == 'mmdet' else 'classes in images'
    lines += [f'{part}: {count["images"]} images, {count["objects"]} {counted}: nothing is wrong'
              for part, count in check_annotations(config).items()]
    return '\n'.join(lines)


def complete_model(model: ConfigDict, encoder: Mapping[str, Any], scale: InputScale,
                   num_classes: int) -> None:
    """Fill into a model what only the encoder and the data can tell: architecture, channels, scale, classes.

    It is the config of mmdet's ``FasterRCNN`` or ``MaskRCNN``, with an FPN or with
    :class:`~mmsimclr.models.Stage4Head` as shared head (C4), or of mmseg's ``EncoderDecoder``, and its
    backbone is a :class:`~mmsimclr.models.DownstreamResNet`, in whose place an encoder of another kind gets
    :class:`~mmsimclr.models.StageMaps`. ConfigError if not, or of another encoder.
    """
    if model.backbone.get('init_cfg') or model.get('pretrained') or model.get('init_cfg'):
        raise ConfigError('the encoder comes from the CHECKPOINT argument and from nowhere else: take '
                          'init_cfg and pretrained out of the model')
    if 'type' in encoder:
        _take_stages(model, encoder)
        backbone = MODELS.build(model.backbone)
    else:
        _require_same_encoder(model.backbone, encoder)
        model.backbone.update(encoder)
        with torch.device('meta'):
            backbone = MODELS.build(model.backbone)
    if not isinstance(backbone, DownstreamResNet | StageMaps):
        raise ConfigError('model.backbone must be a mmsimclr.models.DownstreamResNet, which can be what the '
                          f'encoder is; got {type(backbone).__name__}')
    if scale.reading is not None:
        raise ConfigError(f'detection and segmentation read 8-bit RGB, and the encoder takes {scale}')
    model.data_preprocessor.update(mean=scale.mean, std=scale.std)
    if 'decode_head' in model:
        for name in ('decode_head', 'auxiliary_head'):
            if model.get(name):
                # The heads count among the maps that are returned.
                stage = model.backbone.out_indices[model[name].in_index]
                model[name].update(in_channels=backbone.channels[stage], num_classes=num_classes)
        return
    if 'roi_head' not in model:
        raise ConfigError('the model must have a roi_head (Faster or Mask R-CNN) or a decode_head (a '
                          f'segmenter), got {", ".join(model)}')
    if model.roi_head.get('shared_head'):
        model.roi_head.shared_head.update(encoder)
        _complete_c4(model, backbone)
    else:
        _complete_fpn(model, backbone)
    for name in ('bbox_head', 'mask_head'):
        if model.roi_head.get(name):
            model.roi_head[name].update(num_classes=num_classes)


def _take_stages(model: ConfigDict, encoder: Mapping[str, Any]) -> None:
    """Put the stages of an encoder of another kind in the backbone's place; refuse what it cannot be."""
    lacking = [key for key, value in model.backbone.items()
               if key not in ('type', 'out_indices', 'encoder') and value is not None]
    if (model.get('roi_head') or {}).get('shared_head'):
        raise ConfigError(f'C4 takes the last stage of a ResNet apart, and the encoder is {encoder["type"]}: '
                          'take a detector with a feature pyramid (mask-rcnn-fpn...)')
    if lacking:
        raise ConfigError(f'model.backbone has {", ".join(lacking)}, which only our ResNet knows, and the '
                          f'encoder is {encoder["type"]}: set model.backbone.{lacking[0]}=None')
    model.backbone = dict(type='mmsimclr.StageMaps', encoder=dict(encoder),
                          out_indices=model.backbone.get('out_indices', (0, 1, 2, 3)))


def _require_same_encoder(backbone: ConfigDict, encoder: Mapping[str, Any]) -> None:
    """Refuse a backbone that names another encoder; take the two parts of its width out."""
    stated, found = (dict(settings) for settings in (backbone, encoder))
    for settings in (stated, found):
        parts = [settings.pop(key, None) for key in WIDTH]
        if any(parts):
            settings[' * '.join(WIDTH)] = (parts[0] or 64) * (parts[1] or 1)
    if different := [f'{key} is {value!r} in the checkpoint and {stated[key]!r} in the config'
                     for key, value in found.items() if stated.get(key, value) != value]:
        raise ConfigError(f'the encoder is another than that of model.backbone: {"; ".join(different)}. Take '
                          'them out of model.backbone, which becomes what the encoder is, or take another '
                          'checkpoint')
    for key in WIDTH:
        backbone.pop(key, None)


def _complete_c4(model: ConfigDict, backbone: DownstreamResNet) -> None:
    _, _, stage_3, stage_4 = backbone.channels
    head, strides = model.roi_head, [backbone.strides[2]]
    head.bbox_roi_extractor.update(out_channels=stage_3, featmap_strides=strides)
    model.rpn_head.update(in_channels=stage_3, feat_channels=stage_3)
    model.rpn_head.anchor_generator.update(strides=strides)
    for name in ('bbox_head', 'mask_head'):
        if head.get(name):
            head[name].update(in_channels=stage_4)


def _complete_fpn(model: ConfigDict, backbone: DownstreamResNet) -> None:
    channels, strides = ([values[i] for i in backbone.out_indices]
                         for values in (backbone.channels, backbone.strides))
    model.neck.update(in_channels=channels)
    model.rpn_head.anchor_generator.update(
        strides=[strides[0] * 2**level for level in range(model.neck.num_outs)])
    for name in ('bbox_roi_extractor', 'mask_roi_extractor'):
        if model.roi_head.get(name):
            model.roi_head[name].update(featmap_strides=strides)


def put_encoder_in(model: nn.Module, encoder: nn.Module) -> None:
    """Copy every tensor of an encoder into a model: into its backbone, and stage 4 into a C4 shared head."""
    model = unwrap_model(model)
    tensors = encoder.state_dict()
    shared_head = getattr(getattr(model, 'roi_head', None), 'shared_head', None)
    if shared_head is not None:
        stage_4 = [key for key in tensors if key.startswith(STAGE_4)]
        shared_head.layer4.load_state_dict({key.removeprefix(STAGE_4): tensors.pop(key) for key in stage_4})
    getattr(model.backbone, 'encoder', model.backbone).load_state_dict(tensors)
