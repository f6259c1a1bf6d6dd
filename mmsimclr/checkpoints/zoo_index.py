"""What model-index.yml says: the models of the zoo, where their weights are, and their published results."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import yaml

from mmsimclr.checkpoints.errors import CheckpointError
from mmsimclr.checkpoints.read import HASH_IN_NAME
from mmsimclr.errors import MissingFileError

PACKAGE = Path(__file__).parents[1]
INDEX = 'model-index.yml'


@dataclass(frozen=True)
class PublishedResult:
    """Numbers that others have published about one encoder under one protocol.

    Attributes:
        task: What kind of task, e.g. ``'Image Classification'``.
        dataset: The images it was tested on.
        protocol: What was done with the encoder, e.g. ``'linear'``.
        metrics: Values by metric; in percent unless the metric's name says otherwise.
        source: Who published them: a key of :func:`sources`.
        note: What the values depend on besides; may be empty.
    """

    task: str
    dataset: str
    protocol: str
    metrics: Mapping[str, float]
    source: str
    note: str


@dataclass(frozen=True)
class ModelEntry:
    """One model of the zoo.

    Attributes:
        name: Name of the model and of its config.
        config: The config, an existing file.
        epochs: Epochs of pre-training.
        batch_size: Images of one step over all GPUs.
        flops: Multiply-adds of the encoder for one image, as MMEngine counts them.
        parameters: Parameters of encoder and projection head.
        training_data: Name of the images.
        urls: Published addresses of the weights, best first; empty if there are none.
        results: What others have published about it.
    """

    name: str
    config: Path
    epochs: int
    batch_size: int
    flops: int
    parameters: int
    training_data: str
    urls: tuple[str, ...]
    results: tuple[PublishedResult, ...]

    @property
    def file_name(self) -> str | None:
        """Name of the file of weights; None if none were published."""
        return PurePosixPath(urlsplit(self.urls[0]).path).name if self.urls else None

    @property
    def sha256_prefix(self) -> str | None:
        """The first 8 digits of the weights' SHA-256; None if none were published."""
        return HASH_IN_NAME.search(self.file_name)[1] if self.file_name else None


@dataclass(frozen=True)
class OtherSetting:
    """Published results of a setting for which there is no config.

    Attributes:
        setting: What it is.
        nearest_config: Name of the config that comes nearest.
        differs: In what the setting differs from that config.
        results: The results.
    """

    setting: str
    nearest_config: str
    differs: str
    results: tuple[PublishedResult, ...]


@cache
def model_entries() -> tuple[ModelEntry, ...]:
    """Return all models of the zoo, in the order of the metafile.

    Raises:
        FileNotFoundError: If the index came with neither the package nor the source tree.
    """
    root = _root()
    entries = []
    for metafile in _metafiles():
        hosts = {collection['Name']: collection['Metadata'].get('Weights Hosts', [])
                 for collection in metafile['Collections']}
        for model in metafile['Models']:
            meta = model['Metadata']
            entries.append(ModelEntry(
                model['Name'], root / model['Config'], meta['Epochs'], meta['Batch Size'], meta['FLOPs'],
                meta['Parameters'], meta['Training Data'],
                _addresses(model.get('Weights'), hosts[model['In Collection']]),
                _results(model.get('Results'))))
    return tuple(entries)


def model_names() -> list[str]:
    """Return the names of all models of the zoo."""
    return [entry.name for entry in model_entries()]


def find_entry(name: str) -> ModelEntry:
    """Return the model of a name.

    Raises:
        CheckpointError: If there is none; the message names the nearest.
    """
    entries = {entry.name: entry for entry in model_entries()}
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1, cutoff=0.4)
        raise CheckpointError(
            f'no model {name!r} in the zoo' + (f'; did you mean {near[0]!r}?' if near else '')
            + ' (all names: mmsimclr.list_models() or tools/model_zoo.py list)')
    return entries[name]


def other_settings() -> tuple[OtherSetting, ...]:
    """Return the published settings for which there is no config."""
    return tuple(
        OtherSetting(other['Setting'], PurePosixPath(other['Nearest Config']).stem, other['Differs'],
                     _results(other['Results']))
        for metafile in _metafiles() for other in metafile.get('Other Settings', ()))


def sources() -> dict[str, str]:
    """Return what the sources of the results are, by their short names."""
    return {key: title for metafile in _metafiles() for key, title in metafile.get('Sources', {}).items()}


def _root() -> Path:
    # A wheel carries index and configs in mmsimclr/.mim; a checkout has them beside the package.
    roots = (PACKAGE / '.mim', PACKAGE.parent)
    for root in roots:
        if (root / INDEX).is_file():
            return root
    raise MissingFileError(f'no {INDEX} in {roots[0]} or {roots[1]}: install mmsimclr again')


@cache
def _metafiles() -> tuple[dict, ...]:
    root = _root()
    index = yaml.safe_load((root / INDEX).read_text(encoding='utf-8'))
    return tuple(yaml.safe_load((root / _inside(path)).read_text(encoding='utf-8'))
                 for path in index['Import'])


def _inside(path: str) -> str:
    """Return a path of the index if it stays below the index; anything else is refused."""
    if PurePosixPath(path).is_absolute() or '..' in PurePosixPath(path).parts or ':' in path:
        raise CheckpointError(f'{INDEX} names {path!r}, which is not a path below it: install mmsimclr again')
    return path


def _addresses(url: str | None, hosts: Sequence[str]) -> tuple[str, ...]:
    if url is None:
        return ()
    for address in (url, *hosts):
        if not address.startswith(('https://', 'http://')):
            raise CheckpointError(f'{INDEX} names weights at {address!r}, which is no web address: install '
                                  'mmsimclr again')
    return tuple(dict.fromkeys([url, *(host + urlsplit(url).path for host in hosts)]))


def _results(listed: Sequence[Mapping] | None) -> tuple[PublishedResult, ...]:
    return tuple(PublishedResult(one['Task'], one['Dataset'], one['Protocol'], one['Metrics'], one['Source'],
                                 one.get('Note', '')) for one in listed or ())
