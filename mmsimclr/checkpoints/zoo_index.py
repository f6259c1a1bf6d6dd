"""The model zoo's index, model-index.yml: models, addresses of their weights, published results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import yaml

from mmsimclr.checkpoints.errors import CheckpointError
from mmsimclr.checkpoints.read import HASH_IN_NAME
from mmsimclr.errors import did_you_mean
from mmsimclr.files.shipped import INDEX, shipped_root


@dataclass(frozen=True)
class PublishedResult:
    """Published numbers of one encoder under one protocol."""

    task: str                            # e.g. 'Image Classification'
    dataset: str
    protocol: str                        # e.g. 'linear'
    metrics: Mapping[str, float]         # in percent unless the metric's name says otherwise
    source: str                          # the publication: a key of sources()
    note: str                            # further conditions of the values; may be empty


@dataclass(frozen=True)
class ModelEntry:
    """One model of the zoo."""

    name: str                            # of the model and of its config
    config: Path
    epochs: int                          # of pre-training
    batch_size: int                      # images of one step over all GPUs
    flops: int                           # multiply-adds of the encoder for one image, as MMEngine counts them
    parameters: int                      # of encoder and projection head
    training_data: str
    urls: tuple[str, ...]                # of the weights, best first; empty if none were published
    results: tuple[PublishedResult, ...]
    sha256: str | None                   # of the weights: all digits, or the 8 in the file's name

    @property
    def file_name(self) -> str | None:
        """Name of the file of weights; None if none were published."""
        return PurePosixPath(urlsplit(self.urls[0]).path).name if self.urls else None


@dataclass(frozen=True)
class OtherSetting:
    """Published results of a setting without a config."""

    setting: str                         # in words
    nearest_config: str                  # the name
    differs: str                         # the differences between the two
    results: tuple[PublishedResult, ...]


@cache
def model_entries() -> tuple[ModelEntry, ...]:
    """Return all models of the zoo, in the order of the metafile."""
    root = shipped_root()
    entries = []
    for metafile in _metafiles():
        hosts = {collection['Name']: collection['Metadata'].get('Weights Hosts', [])
                 for collection in metafile['Collections']}
        for model in metafile['Models']:
            meta, urls = model['Metadata'], _addresses(model.get('Weights'), hosts[model['In Collection']])
            sha256 = model.get('Weights SHA256') or (HASH_IN_NAME.search(urls[0])[1] if urls else None)
            entries.append(ModelEntry(
                model['Name'], root / model['Config'], meta['Epochs'], meta['Batch Size'], meta['FLOPs'],
                meta['Parameters'], meta['Training Data'], urls, _results(model.get('Results', ())), sha256))
    return tuple(entries)


def model_names() -> list[str]:
    """Return the names of all models of the zoo."""
    return [entry.name for entry in model_entries()]


def find_entry(name: str) -> ModelEntry:
    """Return the model of a name; raise CheckpointError, with the nearest name, if there is none."""
    entries = {entry.name: entry for entry in model_entries()}
    if name not in entries:
        raise CheckpointError(f'no model {name!r} in the zoo{did_you_mean(name, entries, 0.4)} (all names: '
                              'mmsimclr.list_models() or mmsimclr zoo list)')
    return entries[name]


def other_settings() -> tuple[OtherSetting, ...]:
    """Return the published settings for which there is no config."""
    return tuple(
        OtherSetting(other['Setting'], PurePosixPath(other['Nearest Config']).stem, other['Differs'],
                     _results(other['Results']))
        for metafile in _metafiles() for other in metafile.get('Other Settings', ()))


def sources() -> dict[str, str]:
    """Return the titles of the publications by their short names."""
    return {key: title for metafile in _metafiles() for key, title in metafile.get('Sources', {}).items()}


@cache
def _metafiles() -> tuple[dict, ...]:
    """Return the metafiles that the index names, all of them below it."""
    root = shipped_root()
    paths = yaml.safe_load((root / INDEX).read_text(encoding='utf-8'))['Import']
    for path in paths:
        if PurePosixPath(path).is_absolute() or '..' in PurePosixPath(path).parts or ':' in path:
            raise CheckpointError(f'{INDEX} names {path!r}, which is not a path below it: install mmsimclr '
                                  'again')
    return tuple(yaml.safe_load((root / path).read_text(encoding='utf-8')) for path in paths)


def _addresses(url: str | None, hosts: Sequence[str]) -> tuple[str, ...]:
    """Return the addresses of a file published at ``url``: that one, and the same path on the hosts."""
    addresses = [url, *(host + urlsplit(url).path for host in hosts)] if url else []
    for address in addresses:
        if not address.startswith(('https://', 'http://')):
            raise CheckpointError(f'{INDEX} names weights at {address!r}, which is no web address: install '
                                  'mmsimclr again')
    return tuple(dict.fromkeys(addresses))


def _results(entries: Sequence[Mapping]) -> tuple[PublishedResult, ...]:
    return tuple(PublishedResult(entry['Task'], entry['Dataset'], entry['Protocol'], entry['Metrics'],
                                 entry['Source'], entry.get('Note', '')) for entry in entries)
