"""Hashes of a dataset's images: of their list, wherever the files lie, and of a sample of them."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset, Subset

from mmsimclr.datasets.base import ArrayDataset
from mmsimclr.datasets.in_memory_images import InMemoryImages
from mmsimclr.datasets.unlabeled_image_folder import UnlabeledImageFolder
from mmsimclr.errors import UserError
from mmsimclr.files import file_digest

NUM_SAMPLED = 16


def list_sha256(dataset: Any) -> str | None:
    """Return the SHA-256 of a dataset's list, in order: paths below the data root and annotations.

    Of images in memory it is that of their pixels. Files are not looked at. None stands for a dataset of
    another kind than MMEngine's and ours, and wrappers of these.
    """
    digest, is_known = hashlib.sha256(), False
    for part in _parts(dataset):
        digest.update(len(part).to_bytes(8, 'little'))
        digest.update(part)
        is_known = True
    return digest.hexdigest() if is_known else None


def sample_hashes(dataset: Any) -> str | None:
    """Return short hashes of the content of at most 16 evenly spaced images; None if they cannot be had."""
    hashes = []
    for place in np.linspace(0, len(dataset) - 1, min(len(dataset), NUM_SAMPLED)).round():
        inner, place = dataset, int(place)
        # Of a wrapper that draws, images of another seed would seem to be others.
        while isinstance(held := getattr(inner, 'dataset', None), Dataset) and (
                isinstance(inner, Subset) or len(held) == len(inner)):
            inner, place = held, int(inner.indices[place]) if isinstance(inner, Subset) else place
        try:
            info = inner.get_data_info(place)
            image, path = info.get('img'), info.get('img_path')
            hashes.append(file_digest(path) if image is None else hashlib.sha256(
                image if isinstance(image, bytes) else _bytes(np.asarray(image))).hexdigest())
        except (AttributeError, TypeError):
            return None
        except (OSError, UserError):
            hashes.append('missing')
    return ' '.join(each[:8] for each in hashes)


def with_same_samples(now: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity with the samples of an earlier one, if a quarter of a sample differs at most.

    Images may have been repaired. Samples that the earlier one lacks, of an older version, are left out.
    """
    kept = dict(now)
    for key in [key for key in now if key.startswith('data.') and key.endswith('.sample')]:
        words, others = str(then.get(key)).split(), kept.pop(key).split()
        if key in then:
            is_same = len(words) == len(others) and sum(map(str.__eq__, words, others)) >= 0.75 * len(words)
            kept[key] = then[key] if is_same else now[key]
    return kept


def data_identity(parts: Mapping[str, Any]) -> dict[str, str]:
    """Return what tells the images of each part from others, as far as it is known, for a run's identity."""
    return {f'data.{part}{end}': value for part, dataset in parts.items()
            for end, of in (('', list_sha256), ('.sample', sample_hashes)) if (value := of(dataset))}


def _parts(dataset: Any) -> Iterator[bytes | memoryview]:
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    inner = getattr(dataset, 'datasets', None) or getattr(dataset, 'dataset', None)
    if inner is not None:
        if isinstance(dataset, Subset):
            yield _bytes(np.asarray(dataset.indices))
        for each in inner if isinstance(inner, list | tuple) else [inner]:
            yield from _parts(each)
    elif isinstance(dataset, InMemoryImages):
        yield _bytes(dataset.images.cpu().numpy())
    elif isinstance(dataset, ArrayDataset):
        yield '\0'.join(getattr(dataset, 'names', ())).encode()
        yield from (_bytes(getattr(dataset, name)) for name in dataset.ROWS)
    elif isinstance(dataset, UnlabeledImageFolder):
        yield from (_bytes(dataset.data_bytes), _bytes(dataset.data_address))
    elif isinstance(dataset, BaseDataset):
        root = json.dumps(os.path.join(str(dataset.data_root or ''), ''))[1:-1]
        for index in range(len(dataset)):
            # That of a subclass may read or draw the image.
            info = BaseDataset.get_data_info(dataset, index)
            text = json.dumps(info, sort_keys=True, default=_plain)
            yield (text.replace(f'"{root}', '"') if root else text).encode()


def _bytes(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
