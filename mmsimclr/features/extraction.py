"""Extraction of features of many images to files, by any number of processes."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dist import barrier
from torch import Tensor
from torch.utils.data import DataLoader

from mmsimclr import distributed
from mmsimclr.cpu_memory import kept_memory
from mmsimclr.environment import versions
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.features.embedder import NOT_FINITE, Embedder, first_not_finite
from mmsimclr.features.fingerprint import ImageList, list_images, settings_sha256
from mmsimclr.features.images import ImageFolder, PreparedImages, collate
from mmsimclr.features.store import (
    FORMAT,
    KIND,
    FeatureStore,
    check_arrays,
    decisive_settings,
    read_manifest,
)
from mmsimclr.files import map_npy, map_npz
from mmsimclr.transforms import ImageReadError

DTYPES = ('float32', 'float16')
COMMIT_BYTES = 1 << 23              # of rows that wait in memory


@dataclass(frozen=True)
class FeatureFiles:
    """Features of N images, in the order of their dataset.

    Attributes:
        stages: Features by stage, [N, C], memory-mapped.
        paths: Files of the images, [N] of str, memory-mapped; None if they have none.
        labels: int64 [N], or [N, K], memory-mapped; None without labels.
        manifest: What they are features of.
    """

    stages: dict[str, np.ndarray]
    paths: np.ndarray | None
    labels: np.ndarray | None
    manifest: dict[str, Any]

    def __len__(self) -> int:
        return len(next(iter(self.stages.values())))

    def __str__(self) -> str:
        encoder, images = self.manifest['encoder'], self.manifest['images']
        arrays = ', '.join(f'{stage} {rows.dtype} {list(rows.shape)}' for stage, rows in self.stages.items())
        labels = 'no labels' if self.labels is None else 'labels'
        return (f'{arrays}, {labels}; {images["num_unreadable"]} unreadable images left out; encoder: '
                f'{encoder.get("tensors_matched")} of {encoder.get("tensors_expected")} tensors of '
                f'{encoder.get("path")} ({encoder.get("layout")})')


def read_features(path: str | Path) -> FeatureFiles:
    """Read what :func:`extract_to_files` wrote, and verify the checksum of every block of rows.

    Raises:
        FileNotFoundError: If there is no such folder or ``.npz``, or it is not complete.
        ValueError: If it is something else, or damaged.
    """
    path = Path(path)
    if not path.exists():
        partial = FeatureStore(path).folder
        raise MissingFileError(f'no features at {path}' + (
            f'; {partial} is not complete: repeat the command that makes it' if partial.exists() else ''))
    manifest = read_manifest(path)
    arrays = map_npz(path, KIND) if path.is_file() else {
        file.stem: map_npy(file) for file in path.glob('*.npy')}
    check_arrays(path, manifest, arrays)
    stages = {stage: arrays[stage] for stage in manifest['stages']}
    return FeatureFiles(stages, arrays.get('paths'), arrays.get('labels'), manifest)


def extract_to_files(embedder: Embedder, images: Any, out: str | Path, *, dtype: str = 'float32',
                     num_workers: int = 0, skip_unreadable: bool = False, verify: bool = False,
                     commit_s: float = 5.0, command: str | None = None,
                     progress: Callable[[int, int], None] | None = None) -> FeatureFiles:
    """Write the features of a dataset's images to files, in its order, in bounded memory, and return them.

    An interrupted extraction goes on where it stopped when called again. Rows of images that have another
    size or time of writing since are made anew. A complete one is verified and returned. In a process group
    each rank does a share. The batches are the same after interruptions and for any number of ranks, so on
    one kind of device the values are too.

    Args:
        embedder: The encoder; its ``batch_size`` is that of each rank.
        images: A folder (see :class:`ImageFolder`), or a dataset with ``get_data_info(i)``, whose own
            pipeline is not used.
        out: A new folder, or a file ``.npz``. Until complete, the files lie in ``<out>.partial``.
        dtype: ``'float32'``, or ``'float16'`` to store half as much.
        num_workers: Processes that read images, for each rank.
        skip_unreadable: Leave unreadable images out, and list them in the manifest, rather than stop.
        verify: Know images by their content, which is hashed, rather than by the time of their last writing.
        commit_s: Seconds of work that an interruption may lose.
        command: The command that makes the result, for the manifest.
        progress: Called on rank 0 with (images done, images in all) at the start and after each commit.

    Raises:
        UserError: If an argument is out of range; there are no images, or one cannot be read; a feature is
            not finite or too large for float16; ``out`` holds features of something else (it says what
            differs), or another run is writing to it; or the disk has too little room.
    """
    if dtype not in DTYPES:
        raise InputError(f'dtype must be one of {", ".join(DTYPES)}, got {dtype!r}')
    if num_workers < 0 or commit_s < 0:
        raise InputError(f'num_workers and commit_s must be >= 0, got {num_workers} and {commit_s}')
    dataset = ImageFolder(images) if isinstance(images, str | Path) else images
    store = FeatureStore(Path(out))
    listed: ImageList | None = None                     # on rank 0
    manifest: dict[str, Any] = {}

    def begin() -> list[range]:
        nonlocal listed, manifest
        held.enter_context(store.reserved())            # by rank 0, for all ranks of this run
        listed = list_images(dataset, verify)
        manifest = _manifest(embedder, dataset, listed, dtype, command, verify)
        return store.prepare(manifest, listed, skip_unreadable)

    def end() -> None:
        if not store.is_complete:
            store.finish(manifest, list_images(dataset, verify) if listed.are_files else listed, dataset)

    with ExitStack() as held:
        batches = distributed.from_first_rank(begin)
        rank, ranks = distributed.rank(), distributed.world_size()
        if batches:
            own = batches[rank * len(batches) // ranks:(rank + 1) * len(batches) // ranks]
            _write_rows(embedder, dataset, store, own, dtype, num_workers, skip_unreadable, commit_s,
                        progress if rank == 0 else None)
            barrier()
        distributed.from_first_rank(end)
    features = read_features(out)
    if (left_out := features.manifest['images']['num_unreadable']) and not skip_unreadable:
        raise InputError(f'{out} leaves out {left_out} images that could not be read; if that is wanted, say '
                         'so again (--skip-unreadable), else replace the images and remove it')
    return features


def extraction_sha256(embedder: Embedder, dataset: Any) -> str:
    """Return a hash of what decides the features of a dataset's images, their times of writing included."""
    listed = list_images(dataset)
    return settings_sha256(decisive_settings(_manifest(embedder, dataset, listed, DTYPES[0], None)))


def _manifest(embedder: Embedder, dataset: Any, listed: ImageList, dtype: str, command: str | None,
              verify: bool = False) -> dict[str, Any]:
    root = str(getattr(dataset, 'data_root', '') or '')
    return dict(
        format=FORMAT, **embedder.describe(), dtype=dtype, batch_size=embedder.batch_size,
        device=embedder.device.type,
        images=dict(source=f'{type(dataset).__name__} {root}'.strip(), root=root, num=listed.num_images,
                    sha256=listed.sha256, list_sha256=listed.list_sha256,
                    identity='path, size and content' if verify else 'path, size and time of writing',
                    classes=list((getattr(dataset, 'metainfo', None) or {}).get('classes', ()))),
        versions=versions(), command=command)


def _write_rows(embedder: Embedder, dataset: Any, store: FeatureStore, batches: list[range], dtype: str,
                num_workers: int, skip_unreadable: bool, commit_s: float,
                progress: Callable[[int, int], None] | None) -> None:
    images, reasons, rows = [], [], {stage: [] for stage in embedder.stages}     # since the last commit

    def commit() -> float:
        if images:
            store.add(images, reasons, rows)
        for part in (images, reasons, *rows.values()):
            part.clear()
        if progress is not None:
            progress(store.num_done(), len(dataset))
        return time.monotonic()

    loader = DataLoader(
        PreparedImages(dataset, embedder.preparation), batch_sampler=batches, collate_fn=collate,
        num_workers=num_workers, pin_memory=embedder.device.type == 'cuda', worker_init_fn=_use_one_thread,
        generator=torch.Generator())                    # leaves the global random state alone
    with kept_memory(embedder.device):
        last_commit, num_bytes = commit(), 0
        for batch, (inputs, unreadable) in zip(batches, loader, strict=True):
            if unreadable and not skip_unreadable:
                commit()
                raise ImageReadError(f'{next(iter(unreadable.values()))}. Replace the file, or leave '
                                     'unreadable images out (--skip-unreadable), and repeat the command, '
                                     'which goes on from here')
            computed = {stage: torch.empty(0, length) for stage, length in embedder.feat_dims.items()}
            if inputs is not None:
                computed = embedder.embed_batch(inputs)
            readable = [index for index in batch if index - batch.start not in unreadable]
            for stage, values in computed.items():
                _check_values(values, dtype, dataset, readable)
                rows[stage].append(values.numpy().astype(dtype))
                num_bytes += rows[stage][-1].nbytes
            images += batch
            reasons += [unreadable.get(place, '') for place in range(len(batch))]
            if time.monotonic() - last_commit >= commit_s or num_bytes >= COMMIT_BYTES:
                last_commit, num_bytes = commit(), 0
        commit()


def _check_values(rows: Tensor, dtype: str, dataset: Any, indices: list[int]) -> None:
    """Raise if a row cannot be stored; ``indices`` are the images of the rows."""
    if (bad := first_not_finite(rows.half() if dtype == 'float16' else rows)) is None:
        return
    image = dataset.get_data_info(indices[bad]).get('img_path') or f'number {indices[bad]}'
    if torch.isfinite(rows[bad]).all():
        raise InputError(f'a feature of image {image} is {rows[bad].abs().max():.3g}, too large for '
                         'float16 (65504); use --dtype float32')
    raise InputError(f'the feature of image {image} is not finite: {NOT_FINITE}')


def _use_one_thread(worker: int) -> None:
    cv2.setNumThreads(0)
