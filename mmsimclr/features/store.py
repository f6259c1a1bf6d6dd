"""The files of one extraction: made once, filled by any number of runs, named when complete."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from mmsimclr.features.fingerprint import ImageList
from mmsimclr.features.manifest import MANIFEST, differences, read_manifest, write_manifest
from mmsimclr.features.npz import pack_npz
from mmsimclr.features.row_writer import (
    DONE,
    PENDING,
    PROGRESS,
    REASONS,
    UNREADABLE,
    read_progress,
    read_reasons,
)
from mmsimclr.files import locked_file

BLOCK_ROWS = 4096


class FeatureStore:
    """A folder ``<out>.partial`` that becomes ``<out>``.

    ``<stage>.npy`` for each stage, ``paths.npy`` and ``labels.npy`` have a row for each image, and
    ``progress`` a byte. In the end the rows of unreadable images are taken out, and the folder is renamed,
    or packed if ``out`` ends in ``.npz``.

    Args:
        out: What is to result: a folder, or a file ``.npz``.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out.with_name(f'{out.name}.partial')

    @property
    def is_complete(self) -> bool:
        """Whether the result is there under its name."""
        return self.out.is_file() or (self.out / MANIFEST).is_file()

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Keep other runs off the files during a block, by a lock on ``<out>.lock``; a result needs none.

        Raises:
            RuntimeError: If another run is at work.
        """
        if self.is_complete:
            yield
            return
        lock = self.out.with_name(f'{self.out.name}.lock')
        lock.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            try:
                held.enter_context(locked_file(lock, wait=False))
            except BlockingIOError:
                raise RuntimeError(
                    f'another run is writing {self.out}. Wait for it and repeat the command, which returns '
                    'its result or goes on from there; or choose another name (--out)') from None
            held.callback(lock.unlink, missing_ok=True)
            yield

    def prepare(self, manifest: Mapping[str, Any], images: ImageList, dataset: Any) -> None:
        """Make the files, or see that those there belong to the same extraction.

        Args:
            manifest: All that decides the rows, with ``stages`` (lengths by stage) and ``dtype``.
            images: The list of the dataset.
            dataset: Gives the paths.

        Raises:
            ValueError: If the result, or a part of it, is there and is of another encoder, of other images
                or made with other settings; it says which.
            FileExistsError: If something else has the name of the result.
            OSError: If the disk has too little room.
        """
        if self.is_complete:
            _check_same(self.out, manifest)
            shutil.rmtree(self.folder, ignore_errors=True)      # if it was stopped at the very end
        elif self.out.is_dir() and any(self.out.iterdir()):
            raise FileExistsError(f'{self.out} exists and holds no features; choose another name (--out)')
        elif (self.folder / MANIFEST).is_file():
            _check_same(self.folder, manifest)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)      # if it was stopped at the very beginning
            self._make_files(manifest, images, dataset)
            write_manifest(self.folder, manifest)               # last: with it the files count as made

    def pending(self, batch_size: int, skip_unreadable: bool) -> list[range]:
        """Return the batches of images in which something is to be done.

        Args:
            batch_size: Images in a batch; batch b has the images from ``b * batch_size`` on.
            skip_unreadable: Whether images that were found unreadable are done with.
        """
        if 'num_unreadable' in read_manifest(self.folder)['images']:        # finish() has begun
            return []
        states = read_progress(self.folder)
        todo = states == PENDING if skip_unreadable else states != DONE
        return [range(start, min(start + batch_size, len(todo))) for start in range(0, len(todo), batch_size)
                if todo[start:start + batch_size].any()]

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Take out the rows of unreadable images and give the result its name.

        Stopped at any point, it can be called again.

        Raises:
            ValueError: If none of the images could be read.
        """
        progress, reasons = read_progress(self.folder), read_reasons(self.folder)
        assert PENDING not in progress, 'some images were not computed'
        keep = np.flatnonzero(progress == DONE)
        left_out = [reasons[index] for index in np.flatnonzero(progress == UNREADABLE).tolist()]
        if not len(keep):
            raise ValueError(f'none of the {len(progress)} images can be read: {left_out[0]}')
        write_manifest(self.folder, {**manifest, 'images': {
            **manifest['images'], 'num_unreadable': len(left_out), 'unreadable': left_out}})
        for path in sorted(self.folder.glob('*.npy')):
            _keep_rows(path, keep)
        if self.out.suffix == '.npz':
            pack_npz(self.out, sorted(self.folder.glob('*.npy')),
                     dict(manifest=(self.folder / MANIFEST).read_text(encoding='utf-8')))
            shutil.rmtree(self.folder)
        else:
            os.replace(self.folder, self.out)
            for file in (self.out / PROGRESS, *self.out.glob(f'{REASONS}-*')):
                file.unlink()

    def _make_files(self, manifest: Mapping[str, Any], images: ImageList, dataset: Any) -> None:
        num_images, dtype = images.num_images, np.dtype(manifest['dtype'])
        num_bytes = dtype.itemsize * num_images * sum(manifest['stages'].values())
        num_bytes += 4 * images.longest_path * num_images
        self.folder.mkdir(parents=True)
        needed = num_bytes * (2 if self.out.suffix == '.npz' else 1)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise OSError(
                f'the features of {num_images} images need {needed / 1e9:.1f} GB on the disk of '
                f'{self.folder.parent.absolute()}, which has {free / 1e9:.1f} GB left; float16 needs half, '
                'and a folder half of what .npz needs')
        for stage, length in manifest['stages'].items():
            open_memmap(self.folder / f'{stage}.npy', 'w+', dtype, (num_images, length))
        if images.labels is not None:
            np.save(self.folder / 'labels.npy', images.labels)
        if images.longest_path:
            paths = open_memmap(self.folder / 'paths.npy', 'w+', f'<U{images.longest_path}', (num_images,))
            for index in range(num_images):
                paths[index] = dataset.get_data_info(index)['img_path']
            paths.flush()
        (self.folder / PROGRESS).write_bytes(bytes(num_images))


def _check_same(place: Path, manifest: Mapping[str, Any]) -> None:
    if different := differences(read_manifest(place), manifest):
        raise ValueError(f'{place} holds features of something else: {"; ".join(different)}. Choose another '
                         'name (--out), or remove it to begin anew')


def _keep_rows(path: Path, keep: np.ndarray) -> None:
    """Reduce a file to some of its rows; one that has as many already is left as it is."""
    array = np.load(path, mmap_mode='r')
    if len(array) == len(keep):
        return
    reduced = path.with_name(f'{path.name}.reduced')
    target = open_memmap(reduced, 'w+', array.dtype, (len(keep), *array.shape[1:]))
    for start in range(0, len(keep), BLOCK_ROWS):
        target[start:start + BLOCK_ROWS] = array[keep[start:start + BLOCK_ROWS]]
    target.flush()
    os.replace(reduced, path)
