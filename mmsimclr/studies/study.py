"""A study as data: its axes, its cells, and the order in which they are run."""

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmsimclr.config import ConfigError, load_config
from mmsimclr.config.canonical import LOCATIONS, canonical, config_sha256
from mmsimclr.config.load import read_config
from mmsimclr.errors import InputError, did_you_mean
from mmsimclr.features.fingerprint import list_images
from mmsimclr.files import file_digest, find_config
from mmsimclr.registry import DATASETS
from mmsimclr.studies.claims import values_at
from mmsimclr.studies.record import CellResult

At = tuple[str, ...]


@dataclass(frozen=True)
class Measure:
    """A benchmark that every cell's encoder is measured with."""

    name: str                                   # 'knn' in its metrics, 'knn.top_1_accuracy_k20_percent'
    config: Path                                # of the benchmark
    options: Mapping[str, Any] = field(default_factory=dict)            # to override in it, keys dotted

    def load(self, work_dir: Path) -> Config:
        """Return the benchmark's config for a work directory."""
        return load_config(self.config, dict(self.options), work_dir)

    @cached_property
    def sha256(self) -> str:
        """Hash of what decides its numbers besides the encoder: its config, without paths, and its images."""
        config = self.load(Path('measure'))
        parts = [config_sha256(config, (*LOCATIONS, 'protocol.*data_root', 'protocol.*root')), *_more(config)]
        parts += [str(_data_sha256(dataset)) for dataset in _datasets(config.get('protocol'))]
        parts += [str(_data_sha256(config[f'{part}_dataloader'].dataset)) for part in ('train', 'test')
                  if config.get(f'{part}_dataloader')]
        return hashlib.sha256(' '.join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Cell:
    """One pre-training with one seed, and its measurements."""

    at: At                                      # level of each axis; of a tuning cell, of its grid too
    seed: int
    base: Path                                  # config of the pre-training
    options: Mapping[str, Any]                  # to override in it, keys dotted
    measures: tuple[Measure, ...]
    tuning: bool = False                        # it only helps to choose another cell's options

    def load(self, work_dir: Path) -> Config:
        """Return the config of the pre-training for a work directory."""
        config = load_config(self.base, dict(self.options), work_dir)
        config.setdefault('randomness', {}).update(seed=self.seed)
        return config

    @cached_property
    def config(self) -> Config:
        return self.load(Path('cell'))

    @cached_property
    def config_sha256(self) -> str:
        """Hash of the resolved config and the seed; paths, workers and the device do not count."""
        return _joined(config_sha256(self.config, LOCATIONS), *_more(self.config))

    @cached_property
    def data_sha256(self) -> str | None:
        """Hash of the lists of images, of a hook's if they lie elsewhere; None if the training's are away."""
        train = self.config.train_dataloader.dataset
        loaders = [self.config.get(f'{part}_dataloader') for part in ('val', 'test')]
        others = [loader.dataset for loader in loaders if loader]
        hooks = [self.config.get(name) or () for name in ('default_hooks', 'custom_hooks')]
        others += [each for each in _datasets(hooks)
                   if _unwrapped(each).get('data_root') != _unwrapped(train).get('data_root')]
        first = _data_sha256(train)
        return None if first is None else _joined(first, *(str(_data_sha256(each)) for each in others))

    @property
    def name(self) -> str:
        """Name of its folder, a hash of config, data and seed."""
        return hashlib.sha256(f'{self.config_sha256} {self.data_sha256}'.encode()).hexdigest()[:16]

    @property
    def record(self) -> str:
        """Name of the file of its numbers; studies that measure a cell otherwise have others."""
        measures = ' '.join(sorted(f'{each.name} {each.sha256}' for each in self.measures))
        return f'cell-{hashlib.sha256(measures.encode()).hexdigest()[:8]}.json'

    @property
    def title(self) -> str:
        """Its levels and its seed, for people."""
        return f'{" | ".join(self.at)}, seed {self.seed}' + (' (tuning)' if self.tuning else '')


def _joined(first: str, *more: str) -> str:
    """Return a hash, with more hashes in it if there are any."""
    return hashlib.sha256(' '.join([first, *more]).encode()).hexdigest() if more else first


# What every recorded cell had of the hook whose settings the hash of a config passes over.
HEALTH, RECORDED = '_hooks.mmsimclr.RepresentationHealthHook.', {
    'type': 'mmsimclr.RepresentationHealthHook', 'held_out.split': 'test', 'held_out.num_images': None}


def _more(config: Config) -> list[str]:
    """Return what a config's own hash does not see: content of the weights it names, another health."""
    found = []
    for key, value in canonical(config).items():
        name = key.partition(HEALTH)[2]
        if key.endswith(('load_from', 'checkpoint', 'classifier')) and os.path.isfile(str(value)):
            found.append(f'{key} {file_digest(value)}')
        elif name and name != 'interval' and (name not in RECORDED or RECORDED[name] != value):
            found.append(f'{key} {value}')
    return found


_data: dict[str, str | None] = {}
PARTS = ('train', 'test', 'val', 'trainval', 'images', 'query', 'gallery', 'multi_query', 'bank', 'queries')


def _datasets(protocol: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the configs of a protocol's images, wherever they stand in it."""
    for key, value in protocol.items() if isinstance(protocol, Mapping) else enumerate(
            protocol if isinstance(protocol, list | tuple) else ()):
        if key in PARTS and isinstance(value, Mapping):
            yield value
        else:
            yield from _datasets(value)


def _unwrapped(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    while isinstance(dataset.get('dataset'), Mapping):                  # a wrapper, such as one in memory
        dataset = dataset['dataset']
    return dataset


def _data_sha256(dataset: Mapping[str, Any]) -> str | None:
    """Return the hash of a list of images, worked out once; None where they are not there."""
    dataset = {name: value for name, value in _unwrapped(dataset).items() if name != 'pipeline'}
    key = json.dumps(dataset, default=repr, sort_keys=True)
    if key not in _data:
        try:
            _data[key] = list_images(DATASETS.build({**dataset, 'pipeline': []})).sha256
        except FileNotFoundError:
            _data[key] = None
    return _data[key]


@dataclass
class Study:
    """A sweep, as the ``study`` of a config describes it; paths are relative to its file, keys dotted.

    Attributes:
        name, title, source, text: Name of its files; its heading; where the original is; a paragraph, with a
            source on what it found there.
        setting, finding: What is trained on what; what we read from our numbers. Both are for the page.
        base, options: Config of the pre-training, and values to override in it for every cell.
        axes: Levels by axis; each level has the options that make it, and perhaps a ``base`` of its own and
            ``measure``, the names of the measurements that it gets. ``by_seed`` has lists of values by key,
            of which each seed takes the next, so that means over seeds are over learning rates, say.
        cells: Options by levels joined by ' | ', where levels do not compose; only these cells are run.
        seeds: Seeds 0 to N-1 of every cell.
        more_seeds: Cells that get more: dicts of ``seeds`` and ``at`` (a list of levels joined by ' | ') or
            ``best`` (so many cells, by the metric, once all have run).
        measure: Dicts of :class:`Measure`.
        metric, columns: What cells are compared by; metrics of the table, by heading.
        tune: Grids that choose further options before the cells run: ``grids`` by level of the first axis,
            each a dict of axes; ``seeds``, and ``options`` that make tuning runs shorter.
        gate: Cells to run first, ``at`` and ``seeds``, and whether to go on: the lead of the mean of ``left``
            over that of each of ``right`` must be ``deviations`` standard deviations.
        figure: The figure's ``type``, HeatMap, Bars or Table, and perhaps ``ylabel`` and ``column``.
        published: Key of the paper's numbers in ``paper_tables.json``.
        claims: What the paper says, as :func:`mmsimclr.studies.judge` takes them.
        presets: By name, keys of all this to put in the place of the study's own.
        given: Values that the user overrides; those of ``data_root`` are not kept.
    """

    name: str
    base: Path
    axes: dict[str, dict[str, dict]]
    metric: str
    title: str = ''
    source: str = ''
    options: dict[str, Any] = field(default_factory=dict)
    cells: dict[str, dict] = field(default_factory=dict)
    seeds: int = 3
    more_seeds: list[dict] = field(default_factory=list)
    measure: list[Measure] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    tune: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    figure: dict[str, Any] = field(default_factory=lambda: dict(type='Table'))
    published: str | None = None
    claims: list[dict] = field(default_factory=list)
    text: str = ''
    setting: str = ''
    finding: str = ''
    path: Path = Path('study.py')
    preset: str = 'cpu'
    given: dict[str, Any] = field(default_factory=dict)
    _cells: dict = field(default_factory=dict, repr=False)

    @property
    def grid(self) -> dict[At, dict]:
        """The options of every combination of levels, in order."""
        if self.cells:
            return {tuple(key.split(' | ')): {**self.options, **own} for key, own in self.cells.items()}
        combinations = itertools.product(*(levels.items() for levels in self.axes.values()))
        return {tuple(name for name, _ in levels): {**self.options, **{
            key: value for _, options in levels for key, value in options.items()}}
            for levels in combinations}

    def _cell(self, at: At, seed: int, options: Mapping[str, Any], tuning: bool = False) -> Cell:
        key = at, seed, tuning, repr(options)
        if key not in self._cells:                           # a cell's hash is worked out once
            options = dict(options)
            base, names = options.pop('base', None), options.pop('measure', None)
            options |= {key: values[seed % len(values)] for key, values in options.pop('by_seed', {}).items()}
            base = _config_of(self.path, base) if base else self.base
            measures = tuple(each for each in self.measure if names is None or each.name in names)
            self._cells[key] = Cell(at, seed, base, options, measures, tuning)
        return self._cells[key]

    def num_seeds(self, at: At, results: Mapping[str, CellResult]) -> int:
        """Return how many seeds a combination of levels is to have, as far as results tell."""
        wanted = [self.seeds]
        for more in self.more_seeds:
            named = [tuple(key.split(' | ')) for key in more.get('at', ())]
            if more.get('best'):
                first = {each: values_at(results.values(), dict(at=each), self.metric) for each in self.grid}
                tried = {each.at for each in results.values() if not each.tuning}
                if tried.issuperset(self.grid):
                    first = {each: values for each, values in first.items() if values}
                    named += sorted(first, key=lambda each: -first[each][min(first[each])])[:more['best']]
            wanted += [more['seeds']] if at in named else []
        return max(wanted)

    def plan(self, results: Mapping[str, CellResult], past_gate: bool = False) -> tuple[list[Cell], str]:
        """Return the cells that are known to be needed, in order, and why there may be more or no more.

        ``results`` are by the cells' names, failed ones among them. What is tuned, who gets more seeds and
        whether the gate opens depends on them, so plan again when cells have finished.
        """
        cells, note = [], ''
        if self.gate and not past_gate:
            gate = [tuple(key.split(' | ')) for key in self.gate['at']]
            cells = [self._cell(at, seed, self.grid[at]) for seed in range(self.gate['seeds']) for at in gate]
            if any(cell.name not in results for cell in cells):
                return cells, 'the gate: more cells follow if it opens'
            if shortfall := self._gate_shortfall(results):
                return cells, f'the gate stays closed: {shortfall}'
        options = {}
        for at, own in self.grid.items():
            tuning, chosen = self._tuned(at, own, results)
            cells += tuning
            if chosen is None:
                note = 'tuning: the cells themselves follow'
            else:
                options[at] = {**own, **chosen}
        seeds = {at: self.num_seeds(at, results) for at in options}
        cells += [self._cell(at, seed, options[at]) for seed in range(max(seeds.values(), default=0))
                  for at in options if seed < seeds[at]]
        unique: dict[str, Cell] = {}
        for cell in cells:
            other = unique.setdefault(cell.name, cell)
            if other.at != cell.at and not cell.tuning and not other.tuning:
                raise ConfigError(f'{self.path}: {other.title} and {cell.title} are the same run: their '
                                  'options come to one config')
        return list(unique.values()), note

    def _tuned(self, at: At, own: dict, results: Mapping[str, CellResult]
               ) -> tuple[list[Cell], dict | None]:
        """Return a combination's tuning cells, and the options that did best; None while some are left."""
        grid = self.tune.get('grids', {}).get(at[0])
        if not grid:
            return [], {}
        scores, cells = [], []
        for levels in itertools.product(*(axis.items() for axis in grid.values())):
            chosen = {key: value for _, options in levels for key, value in options.items()}
            runs = [self._cell((*at, *(name for name, _ in levels)), seed,
                               {**own, **chosen, **self.tune.get('options', {})}, tuning=True)
                    for seed in range(self.tune.get('seeds', 1))]
            cells += runs
            done = [results[cell.name].value(self.metric) for cell in runs if cell.name in results]
            scores.append((np.mean([value for value in done if value is not None] or [-np.inf]), chosen,
                           len(done) == len(runs)))
        if not all(is_done for _, _, is_done in scores):
            return cells, None
        return cells, max(scores, key=lambda each: each[0])[1]

    def _gate_shortfall(self, results: Mapping[str, CellResult]) -> str:
        """Return by what the gate is missed; nothing where it opens."""
        def values(key: str) -> list[float]:
            # Later seeds of these cells must not close it again.
            found = values_at(results.values(), dict(at=tuple(key.split(' | '))), self.metric)
            return [value for seed, value in found.items() if seed < self.gate['seeds']]

        left = values(self.gate['left'])
        for key in self.gate['right']:
            right = values(key)
            if min(len(left), len(right)) < min(2, self.gate['seeds']):
                return f'cells of {self.gate["left"]} or {key} have failed'
            several = len(left) > 1 and len(right) > 1
            spread = np.sqrt((np.var(left, ddof=1) + np.var(right, ddof=1)) / 2) if several else 0.0
            lead = np.mean(left) - np.mean(right)
            if lead < self.gate['deviations'] * spread or lead <= 0:
                return (f'{self.gate["left"]} leads {key} by {lead:.2f}, and {self.gate["deviations"]} '
                        f'standard deviations are {self.gate["deviations"] * spread:.2f}')
        return ''


def load_study(path: str | Path, preset: str = 'cpu', options: Mapping[str, Any] | None = None) -> Study:
    """Read a study's config, a Python file with a ``study``, see :class:`Study`; ConfigError if it is wrong.

    Presets are ``'smoke'`` (seconds), ``'cpu'`` (hours on two cores) and ``'full'`` (the paper's setting).
    ``options`` override values in every cell's config, keys dotted; ``data_root`` in benchmarks too.
    """
    path = find_config(path)
    content = read_config(path).get('study')
    if not isinstance(content, Mapping):
        raise ConfigError(f'{path} has no study=dict(base=..., axes=..., metric=...); docs/studies/README.md '
                          'shows one')
    content = content.to_dict() if hasattr(content, 'to_dict') else dict(content)
    presets = {name: changes for name, changes in content.pop('presets', {}).items() if changes is not None}
    if preset not in presets and preset != 'cpu':
        raise ConfigError(f'{path} has no preset {preset!r}; it has {", ".join(["cpu", *presets])}')
    content = {**content, **presets.get(preset, {})}
    names = {each.name for each in fields(Study)} - {'path', 'preset', 'given', '_cells'}
    for key in content:
        if key not in names:
            raise ConfigError(f'{path}: study has an unknown key {key!r}{did_you_mean(key, names)}')
    for key in ('base', 'axes', 'metric'):
        if not content.get(key):
            raise ConfigError(f'{path}: study needs {key!r}')
    options = dict(options or {})
    content['options'] = {**content.get('options', {}), **options}
    in_measures = {key: value for key, value in options.items() if key == 'data_root'}
    content['measure'] = [_measure(path, each, in_measures) for each in content.get('measure', ())]
    content['base'] = _config_of(path, content['base'])
    study = Study(**{'name': path.stem, **content}, path=path.resolve(), preset=preset,
                  given={key: value for key, value in options.items() if key != 'data_root'})
    for key in study.cells:
        levels = key.split(' | ')
        if len(levels) != len(study.axes) or any(
                level not in axis for level, axis in zip(levels, study.axes.values(), strict=True)):
            raise ConfigError(f'{path}: study.cells has {key!r}, which must be one level of each axis '
                              f'({", ".join(study.axes)}), joined by " | "')
    levels = [own for axis in study.axes.values() for own in axis.values()] + list(study.cells.values())
    if varied := sorted(key for key in options if any(key in own for own in levels)):
        raise ConfigError(f'{path}: {", ".join(varied)} is what the study varies; change its axes instead')
    if isinstance(study.seeds, bool) or not isinstance(study.seeds, int) or study.seeds < 1:
        raise InputError(f'seeds must be an integer >= 1, got {study.seeds!r}')
    return study


def _measure(path: Path, described: Mapping[str, Any], options: Mapping[str, Any]) -> Measure:
    unknown = set(described) - {'name', 'config', 'options'}
    if unknown or not {'name', 'config'} <= set(described):
        raise ConfigError(f'{path}: a measure is a dict of name, config and perhaps options, got '
                          f'{described!r}')
    return Measure(described['name'], _config_of(path, described['config']),
                   {**described.get('options', {}), **options})


def _config_of(path: Path, name: str) -> Path:
    """Return the config that a study names: beside the study, or by the name of one that comes with us."""
    beside = path.parent / name
    return (beside if beside.is_file() else find_config(Path(name).name)).resolve()


def seconds_of(results: Sequence[CellResult]) -> float | None:
    """Return the mean time of a cell, in seconds; None where none has been measured."""
    seconds = [result.seconds for result in results if result.seconds]
    return float(np.mean(seconds)) if seconds else None
