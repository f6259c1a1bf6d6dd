"""Shapes: procedural images with exact labels, boxes and masks, and no files."""

from dataclasses import dataclass

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init
from numpy import ndarray

from mmsimclr.datasets.shapes.geometry import CLASSES
from mmsimclr.datasets.shapes.rendering import render_images
from mmsimclr.datasets.shapes.scenes import SPLITS, balanced_labels
from mmsimclr.errors import check_choice, check_int
from mmsimclr.registry import DATASETS

OBJECTS = ('single', 'multi')
AUTO_CACHE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class ShapesImage:
    """One image with everything that is known about it; M visible objects, frontmost first."""

    image: ndarray                              # RGB pixels, uint8 [S, S, 3]
    label: int                                  # class of the frontmost object
    labels: ndarray                             # class of each visible object, int64 [M]
    boxes: ndarray                              # x1, y1, x2, y2 in pixels, x2 exclusive, float32 [M, 4]
    masks: ndarray                              # visible pixels of each, in one mask only, bool [M, S, S]
    seg_map: ndarray                            # 0 for the background, class + 1 for an object, uint8 [S, S]


class _Rendered(tuple):
    """Images, instance maps and labels, rendered once; copies of the dataset share them."""

    def __deepcopy__(self, memo: dict) -> '_Rendered':
        return self


@DATASETS.register_module()
class Shapes(BaseDataset):
    """Ten classes of patterned objects on plain backgrounds, drawn from a seed.

    An object's class decides its silhouette and its surface pattern; all else is drawn independently of it.
    Image i depends on ``seed``, ``split``, ``objects``, ``max_objects`` and i only; it shows the same scene
    at every ``image_size``. Splits are disjoint random streams.

    An item is ``dict(img, gt_label, sample_idx)``, with ``img`` uint8 RGB [S, S, 3]; with ``objects='multi'``
    also ``gt_bboxes``, ``gt_bboxes_labels``, ``gt_masks`` (uint8) and ``gt_seg_map``, as in
    :class:`ShapesImage`. Further arguments are those of MMEngine's ``BaseDataset``.

    Args:
        num_images: Number of images, >= 1. Every ten images in order have each class once.
        image_size: Side in pixels, 16 to 512.
        split: 'train', 'val' or 'test'.
        objects: 'single' for one large object per image, or 'multi' for one to ``max_objects`` (1 to 32)
            smaller ones that may hide each other. An object nearly hidden is left out.
        seed: Seed of all images, >= 0.
        cache: Whether to render all images at the start, into arrays that data-loader processes share;
            'auto' does if they take at most 512 MiB.
    """

    METAINFO = {'dataset_type': 'Shapes', 'classes': tuple(CLASSES)}

    def __init__(self, num_images: int = 10_000, image_size: int = 32, split: str = 'train',
                 objects: str = 'single', max_objects: int = 4, seed: int = 0, cache: bool | str = 'auto',
                 **kwargs) -> None:
        self.num_images = check_int(num_images, 'num_images')
        self.image_size = check_int(image_size, 'image_size', 16, 512)
        self.max_objects = check_int(max_objects, 'max_objects', 1, 32)
        self.seed = check_int(seed, 'seed', 0, 2**64 - 1)
        self.split = check_choice(split, 'split', SPLITS)
        self.objects = check_choice(objects, 'objects', OBJECTS)
        self.cache = check_choice(cache, 'cache', (True, False, 'auto'))
        self._rendered: _Rendered | None = None
        super().__init__(**kwargs)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the ten classes, in the order of the labels."""
        return tuple(self._metainfo['classes'])

    def load_data_list(self) -> list[dict]:
        """Render the images, if they are to be cached, and list their numbers and labels."""
        places = np.arange(self.num_images)
        fits = 4 * self.num_images * self.image_size**2 <= AUTO_CACHE_BYTES
        if fits if self.cache == 'auto' else self.cache:
            self._rendered = _Rendered(self._render(places))
        labels = balanced_labels(places, self.seed, self.split)
        return [{'image_idx': i, 'gt_label': label} for i, label in enumerate(labels.tolist())]

    def get_data_info(self, idx: int) -> dict:
        """Return item ``idx`` before the pipeline; ``sample_idx`` is ``idx`` itself when >= 0."""
        info = super().get_data_info(idx)
        arrays = self._arrays(info.pop('image_idx'))
        if self.objects == 'single':
            return {'img': arrays[0], **info}
        content = describe(*arrays)
        return {'img': content.image, **info, 'gt_bboxes': content.boxes, 'gt_bboxes_labels': content.labels,
                'gt_masks': content.masks.astype(np.uint8), 'gt_seg_map': content.seg_map}

    @force_full_init
    def render(self, index: int) -> ShapesImage:
        """Return image ``index``, -len to len - 1, with its objects, boxes and masks, before the pipeline."""
        if not -len(self) <= index < len(self):
            raise IndexError(f'index must be in [{-len(self)}, {len(self) - 1}], got {index}')
        return describe(*self._arrays(super().get_data_info(index % len(self))['image_idx']))

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the classes visible in image ``idx``, each once, in ascending order."""
        if self.objects == 'multi':
            return sorted(set(self.render(idx).labels.tolist()))
        return [super().get_data_info(idx)['gt_label']]

    @force_full_init
    def get_gt_labels(self) -> ndarray:
        """Return the class of every image, int64 [len(self)]."""
        infos = (super(Shapes, self).get_data_info(i) for i in range(len(self)))
        return np.array([info['gt_label'] for info in infos], np.int64)

    def _render(self, places: ndarray) -> tuple[ndarray, ndarray, ndarray]:
        return render_images(places, self.image_size, self.seed, self.split, self.objects, self.max_objects)

    def _arrays(self, image_idx: int) -> tuple[ndarray, ndarray, ndarray]:
        """Return an image, its instance map and its labels."""
        arrays, place = self._rendered, image_idx
        if arrays is None:
            arrays, place = self._render(np.array([image_idx])), 0
        image, instances, labels = (array[place] for array in arrays)
        return image.copy(), instances, labels


def describe(image: ndarray, instances: ndarray, labels: ndarray) -> ShapesImage:
    """Return an image with the labels, boxes and masks that its instance map implies.

    ``instances``, uint8 [S, S], is 0 for the background and k + 1 where object k, of class ``labels[k]``,
    shows. Objects that show nowhere are left out.
    """
    shown = np.flatnonzero(np.bincount(instances.ravel(), minlength=len(labels) + 1)[1:])
    masks = instances == (shown + 1)[:, None, None].astype(np.uint8)
    columns, rows = masks.any(axis=1), masks.any(axis=2)
    boxes = np.stack([columns.argmax(axis=1), rows.argmax(axis=1),
                      columns.shape[1] - columns[:, ::-1].argmax(axis=1),
                      rows.shape[1] - rows[:, ::-1].argmax(axis=1)], axis=1).astype(np.float32)
    to_class = np.concatenate([[0], labels + 1]).astype(np.uint8)
    return ShapesImage(image=image, label=int(labels[0]), labels=labels[shown], boxes=boxes,
                       masks=masks, seg_map=to_class[instances])
