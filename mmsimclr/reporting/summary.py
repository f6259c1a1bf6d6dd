"""Summary of all results below some folders, beside published values."""

import json
import re
import shlex
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from mmsimclr.checkpoints.zoo_index import model_entries, other_settings
from mmsimclr.errors import MissingFileError
from mmsimclr.features import settings_sha256
from mmsimclr.protocols.result import DRAWN, Result, read_result
from mmsimclr.reporting.table import markdown_text, metric_title, template, text_table

# Datasets of the transfer benchmark, as the paper's tables shorten them.
FULL_NAMES = {'Food': 'Food-101', 'CIFAR10': 'CIFAR-10', 'CIFAR100': 'CIFAR-100', 'Cars': 'Stanford Cars',
              'Aircraft': 'FGVC Aircraft', 'Pets': 'Oxford-IIIT Pets', 'Flowers': 'Oxford 102 Flowers'}


@dataclass(frozen=True)
class PublishedValue:
    """A number that others have published."""

    model: str                                  # name of the model, or description of the setting
    value: float                                # in percent
    source: str                                 # a key of mmsimclr.checkpoints.zoo_index.sources()
    note: str                                   # what it depends on besides; may be empty

    def __str__(self) -> str:
        note = f'; {self.note}' if self.note else ''
        return f'{self.value:g} {self.model} ({self.source}{note})'


def published_values(protocol: str, dataset: str | None, metric: str) -> list[PublishedValue]:
    """Return the numbers of the model zoo's index for a protocol, a dataset and a metric of a result.

    The result's ``top_1_accuracy_k20_percent`` is the index's ``Top 1 Accuracy at k=20``.
    """
    models = [*((entry.name, entry.results) for entry in model_entries()),
              *((other.setting, other.results) for other in other_settings())]
    return [PublishedValue(name, value, result.source, result.note)
            for name, results in models for result in results
            if result.protocol.lower() == protocol.lower()
            and FULL_NAMES.get(result.dataset, result.dataset) == dataset
            for title, value in result.metrics.items() if _words(title) == _words(metric)]


def _words(metric: str) -> list[str]:
    """Return the words and numbers of a metric's name, without its unit and little words."""
    words = re.findall(r'[a-z]+|\d+', metric.lower().removesuffix('_percent'))
    return [word for word in words if word not in ('at', 'of')]


def result_text(result: Result) -> str:
    """Return a result's metrics, one on a line, each with the numbers that others have published."""
    parts = result.settings.get('parts') or {}
    datasets = {f'{Path(str(path)).parent.name}_': name for name, path in parts.items()} if isinstance(
        parts, dict) else {}
    lines = []
    for metric, value in result.metrics.items():
        prefix = next((prefix for prefix in datasets if metric.startswith(prefix)), '')
        published = published_values(result.protocol, datasets.get(prefix, result.dataset),
                                     metric.removeprefix(prefix))
        lines += [f'{metric:<40} {value:.2f}', *(f'    published: {other}' for other in published)]
    return '\n'.join(lines)


Row = tuple[str, str, str, str]
TITLE = 'Summary of results'
# Options that change no row: seeds make further runs of one, the encoder has a column, data have a name.
NOT_OF_THE_ROW = re.compile(
    r'(.*\.)?(seed|num_workers|persistent_workers|dataset_name|work_dir)|encoder(\..*)?')
EXPLANATION = ('Percent. Where a cell holds several runs it shows mean ± standard deviation (runs). '
               'Published numbers are those of others, for the same protocol, data and metric.')


@dataclass(frozen=True)
class Summary:
    """Results in rows and columns."""

    encoders: Sequence[str]                                 # titles of the columns
    rows: Sequence[Row]                                     # protocol, dataset, config and metric of each
    cells: Mapping[tuple[Row, str], Sequence[float]]        # by row and encoder, a value for each run
    published: Mapping[Row, Sequence[PublishedValue]]

    def markdown(self) -> str:
        """Return the table in Markdown, with a title."""
        header = ['protocol and data', 'metric', *map(markdown_text, self.encoders), 'published']
        rows = [[markdown_text(row['title']), markdown_text(row['metric']), *row['cells'],
                 '<br>'.join(map(markdown_text, row['published']))] for row in self.records()]
        return f'# {TITLE}\n\n{EXPLANATION}\n\n{text_table(header, rows, markdown=True)}\n'

    def html(self) -> str:
        """Return a page that needs no other file."""
        page = template('summary.html').render(title=TITLE, explanation=EXPLANATION, encoders=self.encoders,
                                               rows=self.records(), today=f'{date.today():%-d %B %Y}')
        return page.encode('utf-8', 'replace').decode()                 # of paths that are no text

    def records(self) -> list[dict[str, Any]]:
        """Return the rows for a page: title, metric, texts of the cells, the best's place, published numbers.

        Rows of one protocol, data and config have their title once.
        """
        records, before = [], None
        for row in self.rows:
            title = ', '.join(filter(None, row[:2])) + (f' ({row[2]})' if row[2] else '')
            values = [self.cells.get((row, encoder), ()) for encoder in self.encoders]
            means = {place: statistics.mean(found) for place, found in enumerate(values) if found}
            # Of deviations none is the best.
            is_order = len(means) > 1 and not row[3].endswith('_std_percent')
            records.append(dict(
                title='' if title == before else title, metric=metric_title(row[3]),
                cells=[*map(_cell, values)], best=max(means, key=means.get) if is_order else None,
                published=[*map(str, self.published[row])]))
            before = title
        return records


def summarize(folders: Sequence[str | Path]) -> Summary:
    """Collect all ``result.json`` below some folders; a file is taken as it is.

    Results that only sum up others are left out, and copies of a result. Results of different configs, or of
    one with different ``--cfg-options``, have rows of their own; those of one encoder then share a cell.

    Raises:
        FileNotFoundError: If there is no such folder, or no result in any.
        ValueError: If a file is not a result.
    """
    results = read_results(folders)
    titles, cells = _encoder_titles(results), defaultdict(list)
    kinds = defaultdict(set)                                # of measurements, by what would be their title
    for result in results:
        kinds[result.protocol, result.dataset, _config(result)].add(_measurement(result))
    for result in results:
        config, kind = _config(result), _measurement(result)
        if kind and len(kinds[result.protocol, result.dataset, config]) > 1:
            config = f'{config}, images and settings {kind}'
        for metric, value in result.metrics.items():
            if metric.endswith('_percent'):
                row = (result.protocol, result.dataset or '', config, metric)
                cells[row, titles[_encoder(result)]].append(value)
    rows = list(dict.fromkeys(row for row, _ in cells))
    rows.sort(key=lambda row: row[:3])                                  # metrics stay in the protocol's order
    published = {row: published_values(row[0], row[1], row[3]) for row in rows}
    return Summary(sorted(set(titles.values())), rows, dict(cells), published)


def read_results(folders: Sequence[str | Path]) -> list[Result]:
    """Return the results below some folders, each once, without those that only sum up others."""
    paths: list[Path] = []
    for folder in map(Path, folders):
        if not folder.exists():
            raise MissingFileError(f'no folder {folder}')
        paths += [folder] if folder.is_file() else sorted(folder.rglob('result.json'))
    if not paths:
        raise MissingFileError(f'no result.json below {", ".join(map(str, folders))}; mmsimclr benchmark '
                               'writes them into work directories')
    results: list[Result] = []
    for path in dict.fromkeys(paths):
        result = read_result(path)
        if result not in results and not result.settings.get('parts'):
            results.append(result)
    return results


def _config(result: Result) -> str:
    """Return the config's name, with those options of the command that make it another measurement."""
    try:
        words = shlex.split(result.command or '')
    except ValueError:                          # a lone quote
        words = result.command.split()
    options = [word for word in words if re.match(r'[A-Za-z_][\w.]*=', word)]
    has_name = any(option.startswith('dataset_name=') for option in options)
    different = [option for option in options if not NOT_OF_THE_ROW.fullmatch(option.partition('=')[0])
                 and not (has_name and option.startswith('data_root='))]
    name = Path(result.config or '').stem
    name = f'{name} with {", ".join(sorted(different))}' if different else name
    # Part of such a run was another measurement.
    changed = {change['key'] for resume in result.settings.get('changed_on_resume') or ()
               for change in resume['changes']}
    return f'{name}, resumed with other {", ".join(sorted(changed))}' if changed else name


def _measurement(result: Result) -> str:
    """Return a short hash of what was measured on what, so far as a result says it."""
    known = [result.images_but(DRAWN), *map(result.settings.get, ('config_sha256', 'ranks'))]
    return settings_sha256(dict(known=[*known, result.num_images]))[:8] if known[0] else ''


def _encoder(result: Result) -> str:
    if result.checkpoint_sha256:
        return ' '.join(filter(None, (result.checkpoint_sha256, result.settings.get('encoder_address'))))
    return json.dumps(result.settings.get('encoder'), sort_keys=True)


def _encoder_titles(results: Sequence[Result]) -> dict[str, str]:
    """Return a title for each encoder: the end of its path, with hash or architecture if not unique."""
    titles, distinctions = {}, {}
    for result in reversed(results):
        encoder, settings = _encoder(result), result.settings.get('encoder')
        if result.checkpoint:
            titles[encoder] = '/'.join(Path(result.checkpoint).parts[-2:])
            distinctions[encoder] = ' '.join([encoder[:8], *encoder.split(' ')[1:]])
        else:
            titles[encoder] = 'random initialisation'
            facts = [f'{name} {value}' for name, value in settings.items()] if isinstance(
                settings, dict) else []
            distinctions[encoder] = ', '.join(facts or ['architecture not recorded'])
    counts = Counter(titles.values())
    return {encoder: f'{title} ({distinctions[encoder]})' if counts[title] > 1 else title
            for encoder, title in titles.items()}


def _cell(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ''.join(f'{value:.2f}' for value in values)
    return f'{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} ({len(values)})'
