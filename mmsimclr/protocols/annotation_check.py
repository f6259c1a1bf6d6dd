"""The annotations that a config of detection or segmentation names, checked before anything is trained."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from mmsimclr import distributed
from mmsimclr.config import ConfigError
from mmsimclr.datasets.annotations import check_coco, check_segmentation, check_voc
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.protocols.base import EncoderSource
from mmsimclr.protocols.downstream_model import complete_model


def check_annotations(config: Config) -> dict[str, dict[str, int]]:
    """Read the annotations and open the images of train and test; in a process group each rank a share.

    Args:
        config: A config of detection or segmentation.

    Returns:
        ``images`` and ``objects`` (of segmentation the classes of each image, summed) of ``train`` and
        ``test``. On several ranks each counts the objects of its share, or of all images (COCO).

    Raises:
        ConfigError: If a dataset is of a kind that cannot be checked, or train and test have other classes.
        ValueError: If a split is empty or an annotation cannot be right; the message names file and value.
        FileNotFoundError: If a file is missing.
    """
    share = slice(distributed.rank(), None, distributed.world_size())
    classes = classes_of(config)
    has_masks = bool((config.model.get('roi_head') or {}).get('mask_head'))
    counts: dict[str, dict[str, int]] = {}
    for part in ('train', 'test'):
        counts[part] = dict(images=0, objects=0)
        for dataset in _datasets(config[f'{part}_dataloader'].dataset, config):
            own = dataset.metainfo.get('classes')
            if tuple(own or ()) != tuple(classes):
                raise ConfigError('the datasets of train and test must have the same classes: one has '
                                  f'{own}, another {classes}')
            for name, count in _check(dataset, share, has_masks).items():
                counts[part][name] += count
    return counts


def check_benchmark(config: Config, checkpoint: str | None = None, select: str | None = None) -> str:
    """Do only what comes before training: read all annotations, and fit the encoder into the model.

    Args:
        config: A config of detection or segmentation.
        checkpoint: The encoder's; None leaves it out.
        select: Its address in the checkpoint, where it has several.

    Returns:
        A line on each part.

    Raises:
        ConfigError: If the protocol of the config has no annotations, or its model is for another encoder.
        CheckpointError: If the checkpoint has no encoder that can be used.
        ValueError: As :func:`check_annotations`, which see for further errors.
    """
    if config.get('default_scope') not in ('mmdet', 'mmseg') or not config.get('train_dataloader'):
        raise ConfigError('only configs of detection and segmentation have annotations to check')
    lines = []
    if checkpoint is not None:
        source, model = EncoderSource(checkpoint, select), copy.deepcopy(config.model)
        encoder, report = source.build()
        with DefaultScope.overwrite_default_scope(config.default_scope):
            complete_model(model, encoder.settings, source.input, len(classes_of(config)))
        lines = [f'encoder: {report.matched} of {report.expected} tensors of {report.path}: nothing is wrong']
    counted = 'objects' if config.default_scope == 'mmdet' else 'classes in images'
    lines += [f'{part}: {count["images"]} images, {count["objects"]} {counted}: nothing is wrong'
              for part, count in check_annotations(config).items()]
    return '\n'.join(lines)


def classes_of(config: Config) -> tuple[str, ...]:
    """Return the names of the classes of a config's test.

    Raises:
        ConfigError: If the dataset does not say them.
    """
    dataset = next(_datasets(config.test_dataloader.dataset, config))
    classes = dataset.metainfo.get('classes')
    if not classes:
        raise ConfigError(f'{type(dataset).__name__} does not say its classes; give it '
                          'metainfo=dict(classes=...)')
    return tuple(classes)


def _datasets(config: Mapping[str, Any], whole: Config) -> Iterator[Any]:
    """Yield the datasets inside of wrappers, nothing of them loaded."""
    if 'datasets' in config or 'dataset' in config:
        for inner in config.get('datasets') or [config['dataset']]:
            yield from _datasets(inner, whole)
        return
    with DefaultScope.overwrite_default_scope(whole.default_scope):
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
    if 'BaseSegDataset' in kinds:
        pairs = [(item['img_path'], item['seg_map_path']) for item in _listed(dataset)]
        origin = dataset.ann_file or dataset.data_prefix['img_path']
        return check_segmentation(pairs, len(classes), origin, dataset.ignore_index,
                                  dataset.reduce_zero_label, share)
    raise ConfigError(f'the annotations of a {type(dataset).__name__} cannot be checked; use an XMLDataset '
                      'or CocoDataset of mmdet, or a BaseSegDataset of mmseg')


def _listed(dataset: Any) -> list[dict]:
    try:
        return dataset.load_data_list()
    except AssertionError as error:
        raise MissingFileError(str(error)) from error
    except UnicodeDecodeError as error:
        raise InputError(f'{dataset.ann_file} is not UTF-8 text: {error}') from error
