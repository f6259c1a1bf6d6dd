"""What features are of: the manifest beside them, and which of its settings decide their values."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmsimclr.files import atomic_writer

MANIFEST = 'manifest.json'
# They tell where a result comes from, not what it is.
PROVENANCE = ('command', 'encoder.path', 'images.source', 'images.root', 'images.num_unreadable',
              'images.unreadable')
DECISIVE_VERSIONS = ('versions.torch', 'versions.opencv-python-headless')


def decisive_settings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a manifest that two equal results share, keys dotted."""
    return {key: value for key, value in _flat(manifest, '')
            if key not in PROVENANCE and (not key.startswith('versions.') or key in DECISIVE_VERSIONS)}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words which decisive settings of two manifests differ."""
    before, now = decisive_settings(before), decisive_settings(now)
    return [f'{key} was {_short(before.get(key))}, is {_short(now.get(key))}'
            for key in sorted({*before, *now}) if before.get(key) != now.get(key)]


def read_manifest(place: Path) -> dict[str, Any]:
    """Return the manifest of a folder or an .npz of features.

    Raises:
        ValueError: If there is none, or it cannot be read.
    """
    try:
        if place.is_dir():
            return json.loads((place / MANIFEST).read_text(encoding='utf-8'))
        with np.load(place, allow_pickle=False) as archive:
            return json.loads(str(archive['manifest']))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f'{place} holds no features of mmsimclr, or is damaged: {error}') from error


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest into a folder, whole or not at all."""
    with atomic_writer(folder / MANIFEST) as file:
        file.write((json.dumps(manifest, indent=2, allow_nan=False) + '\n').encode())


def _flat(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:77]}...'
