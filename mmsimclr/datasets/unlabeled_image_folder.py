"""Images in folders of any depth, without annotations."""

import os
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init

from mmsimclr.datasets.image_files import DEFAULT_EXTENSIONS, find_images, is_image
from mmsimclr.registry import DATASETS

NUM_PROBED = 256  # Almost always the first one will do.


@DATASETS.register_module()
class UnlabeledImageFolder(BaseDataset):
    """All images below a folder, in one order that every machine agrees on.

    An item is ``dict(img_path=str, sample_idx=index)``, where ``index`` is the very object the
    sampler passed; the pipeline's first transform reads the file. Images are ordered by their path
    relative to ``data_root``, byte by byte. Links to files and folders are followed, but no folder
    is visited twice. Files and folders whose name begins with a dot are passed over (such as the
    ``._x.jpg`` that macOS leaves). Paths take their own length in memory, once for all workers.

    Args:
        data_root: The folder.
        extensions: Endings of the files to take, upper or lower case alike.
        recursive: Whether to look into the folders below ``data_root`` too.
        max_images: Take only so many images, evenly spaced over the order, so that every folder
            has its share. None takes all.
        metainfo: Meta information, as in MMEngine.
        indices: As in MMEngine, after ``max_images``: the first (``n``) or last (``-n``) images,
            or those listed.
        pipeline: Transforms applied to an item.
        test_mode: As in MMEngine.
        lazy_init: List the files at first use rather than now.

    Raises:
        FileNotFoundError: If ``data_root`` does not exist, or holds no image.
        ValueError: If an argument is out of range, or none of the files can be read as an image.
    """

    def __init__(self,
                 data_root: str,
                 extensions: Sequence[str] = DEFAULT_EXTENSIONS,
                 recursive: bool = True,
                 max_images: int | None = None,
                 metainfo: Mapping | None = None,
                 indices: int | Sequence[int] | None = None,
                 pipeline: Sequence[dict | Callable] = (),
                 test_mode: bool = False,
                 lazy_init: bool = False) -> None:
        if max_images is not None and max_images < 1:
            raise ValueError(f'max_images must be >= 1 (None for all), got {max_images}')
        if isinstance(extensions, str) or not extensions:
            raise ValueError(f"extensions must be a list such as ['.jpg'], got {extensions!r}")
        if not str(data_root):
            raise ValueError("data_root must be the path of a folder with images, got ''")
        self.extensions = tuple(
            f".{extension.lower().lstrip('.')}" for extension in extensions)
        self.recursive = recursive
        self.max_images = max_images
        super().__init__(
            metainfo=metainfo, data_root=str(data_root), indices=indices, serialize_data=True,
            pipeline=list(pipeline), test_mode=test_mode, lazy_init=lazy_init)

    def full_init(self) -> None:
        """List the images; see that at least one can be read."""
        if self._fully_initialized:
            return
        paths = find_images(Path(self.data_root), self.extensions, self.recursive)
        if self.max_images is not None and self.max_images < len(paths):
            paths = [paths[i * len(paths) // self.max_images] for i in range(self.max_images)]
        self.data_bytes, self.data_address = _pack(paths)
        self._fully_initialized = True
        if self._indices is not None:
            self.data_bytes, self.data_address = self._get_serialized_subset(self._indices)
        self._probe()

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return item ``idx`` as it enters the pipeline.

        Args:
            idx: From 0 to ``len - 1``, or negative to count from the end; any subclass of int,
                which the item carries on unchanged as ``sample_idx``.
        """
        return {'img_path': self._path(idx),
                'sample_idx': idx if idx >= 0 else len(self.data_address) + idx}

    def __getitem__(self, idx: int) -> Any:
        """Return image ``idx`` after the pipeline.

        Raises:
            OSError: If it is unreadable.
        """
        item = self.get_data_info(idx)
        result = self.pipeline(item)
        if result is None:
            raise RuntimeError(f'the pipeline returned None for {self._path(idx)}; for an image that '
                               'cannot be read let it raise OSError')
        return result

    def _path(self, idx: int) -> str:
        """Return the path of image ``idx``."""
        return os.path.join(self.data_root, os.fsdecode(self._relative_path(idx)))

    def _relative_path(self, idx: int) -> bytes:
        place = range(len(self.data_address))[idx]
        start = int(self.data_address[place - 1]) if place else 0
        return self.data_bytes[start:int(self.data_address[place])].tobytes()

    def _get_serialized_subset(self, indices: int | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the packed paths of a subset; MMEngine's own refuses ``n == len`` and ``-len``."""
        places = range(len(self.data_address))
        if isinstance(indices, (int, np.integer)):
            indices = places[:indices] if indices >= 0 else places[indices:]
        return _pack([self._relative_path(idx) for idx in indices])

    def _probe(self) -> None:
        """Fail now, not after an hour in a queue, where nothing at all can be read."""
        if not len(self) or not set(self.extensions) <= set(DEFAULT_EXTENSIONS):
            return  # Formats only the user's own pipeline may know how to read.
        places = [i * len(self) // NUM_PROBED for i in range(NUM_PROBED)]
        probed = [self._path(place) for place in sorted(set(places))]
        if not any(is_image(path) for path in probed):
            raise ValueError(
                f'nothing readable below {self.data_root}: of {len(self)} files ending in '
                f"{', '.join(self.extensions)}, {len(probed)} were tried and none is an image, "
                f'among them {probed[0]}')


def _pack(paths: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return all paths in one uint8 array, and where each ends, int64 [N].

    This is MMEngine's serialised form with bare paths in place of pickled dicts: a fifth of the
    memory, which forked workers share.
    """
    ends = np.cumsum([len(path) for path in paths], dtype=np.int64)
    return np.frombuffer(b''.join(paths), np.uint8), ends
