"""Images in shards: tar files in WebDataset's convention, read at any place."""

from __future__ import annotations

import copy
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init

from mmsimclr.datasets.shard_index import TAR_BLOCK, ShardIndex, read_index
from mmsimclr.registry import DATASETS

CLASSES_NAME = 'classes.txt'


@DATASETS.register_module()
class WebDatasetShards(BaseDataset):
    """The images of all ``.tar`` files in a folder: members ``KEY.jpg`` (or another image) and ``KEY.cls``.

    An index says where each image lies, so it is a dataset like any other: any image at any time, by one
    read. The sampler therefore decides what an epoch is, over ranks and workers, in a seeded order, and a
    resumed run goes on in it. Reading is local or from a mounted file system; what streams from an object
    store is WebDataset itself, which reads the same shards but counts an epoch by samples drawn.

    An item is ``dict(img=bytes of the file, img_path=shard and member, sample_idx=index)``, with ``gt_label``
    where there is one; ``LoadImage`` decodes it.

    Args:
        data_root: Folder of the shards; with ``index.npz``, which
            ``python tools/prepare_data/shards.py index`` writes, else the headers of all shards are read at
            the start. ``classes.txt``, if there, names the classes.
        metainfo: Meta information, as in MMEngine.
        indices: As in MMEngine: the first (``n``) or last (``-n``) images, or those listed.
        pipeline: Transforms applied to an item.
        test_mode: As in MMEngine.
        lazy_init: Read the index at first use rather than now.

    Raises:
        FileNotFoundError: If the folder, all shards or one of the index are missing.
        ValueError: If a shard is damaged, truncated, or another than when it was indexed.
    """

    def __init__(self,
                 data_root: str,
                 metainfo: Mapping | None = None,
                 indices: int | Sequence[int] | None = None,
                 pipeline: Sequence[dict | Callable] = (),
                 test_mode: bool = False,
                 lazy_init: bool = False) -> None:
        self.index: ShardIndex | None = None
        super().__init__(metainfo=metainfo, data_root=str(data_root), indices=indices, serialize_data=False,
                         pipeline=list(pipeline), test_mode=test_mode, lazy_init=lazy_init)

    def full_init(self) -> None:
        """Read the index, and see that every shard is there in full; MMEngine's ``data_list`` stays empty."""
        if self._fully_initialized:
            return
        root = Path(self.data_root)
        self.index = read_index(root)
        if (root / CLASSES_NAME).is_file():
            classes = (root / CLASSES_NAME).read_text(encoding='utf-8').splitlines()
            self._metainfo.setdefault('classes', tuple(classes))
        if self._indices is not None:
            self._keep(self._indices)
        self._fully_initialized = True

    @force_full_init
    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.index.offsets)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return item ``idx`` as it enters the pipeline.

        Args:
            idx: From 0 to ``len - 1``, or negative to count from the end; any subclass of int, which the
                item carries on unchanged as ``sample_idx``.

        Raises:
            ValueError: If at its place in the shard there is no member of a tar file.
        """
        place = range(len(self))[idx]
        index = self.index
        path = Path(self.data_root) / index.names[index.shards[place]]
        offset = int(index.offsets[place])
        with open(path, 'rb', buffering=0) as file:
            file.seek(offset - TAR_BLOCK)
            data = file.read(TAR_BLOCK + int(index.lengths[place]))
        try:
            header = tarfile.TarInfo.frombuf(data[:TAR_BLOCK], 'utf-8', 'surrogateescape')
        except tarfile.HeaderError:
            header = None
        if header is None or header.size != len(data) - TAR_BLOCK:
            raise ValueError(f'{path} is damaged or another than when it was indexed: at {offset} is not '
                             'the image that was there')
        item = {'img': data[TAR_BLOCK:], 'img_path': f'{path}/{header.name}',
                'sample_idx': idx if idx >= 0 else place}
        return item if index.labels[place] < 0 else {**item, 'gt_label': int(index.labels[place])}

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """Return all labels, int64 [N], in the order of the items; -1 where there is none."""
        return self.index.labels.copy()

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the label of image ``idx`` in a list, as MMEngine's wrappers expect."""
        return [int(self.index.labels[idx])]

    @force_full_init
    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep only the first (``n``) or last (``-n``) images, or those listed."""
        self._keep(indices)

    @force_full_init
    def get_subset(self, indices: int | Sequence[int]) -> WebDatasetShards:
        """Return a data set of the first (``n``) or last (``-n``) images, or of those listed."""
        subset = copy.copy(self)
        subset.pipeline = copy.deepcopy(self.pipeline)
        subset._keep(indices)
        return subset

    def _keep(self, indices: int | Sequence[int]) -> None:
        if isinstance(indices, (int, np.integer)):
            chosen = slice(indices) if indices >= 0 else slice(indices, None)
        else:
            chosen = np.asarray(indices, np.int64)
        self.index = replace(self.index, **{
            name: getattr(self.index, name)[chosen] for name in ('shards', 'offsets', 'lengths', 'labels')})
