"""Annotations that a config of detection or segmentation names, checked before anything is trained."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from mmsimclr import distributed
from mmsimclr.config import ConfigError
from mmsimclr.datasets.annotations import check_coco, check_segmentation, check_voc
from mmsimclr.errors import InputError, MissingFileError


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
