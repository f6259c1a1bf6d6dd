"""All results below some folders in one table: a row for each measurement, a column for each encoder."""

import html
import json
import re
import shlex
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from pathlib import Path

from mmsimclr.protocols import Result, read_result
from mmsimclr.reporting.published import PublishedValue, published_values
from mmsimclr.reporting.table import metric_title, text_table

TITLE = 'Summary of results'
# Options that change no row: seeds make further runs of one, the encoder has a column, data have a name.
NOT_OF_THE_ROW = re.compile(
    r'(.*\.)?(seed|num_workers|persistent_workers|dataset_name|work_dir)|encoder(\..*)?')
EXPLANATION = ('Percent. Where a cell holds several runs it shows mean ± standard deviation (runs). '
               'Published numbers are those of others, for the same protocol, data and metric.')
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --muted: #777; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; font-weight: 600; margin-bottom: .3rem; }
p, caption { color: var(--muted); max-width: 60rem; margin-top: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .8rem; text-align: right; vertical-align: top;
         border-bottom: 1px solid var(--line); }
thead th { vertical-align: bottom; border-bottom-width: 2px; font-weight: 600; max-width: 16rem;
           overflow-wrap: break-word; }
tbody th { font-weight: 400; text-align: left; }
th:nth-child(2), td.published { text-align: left; }
tbody tr:hover { background: var(--soft); }
tr.group th { font-weight: 600; background: var(--soft); }
td.best { font-weight: 600; }
td.published { color: var(--muted); font-size: .85em; }
small { color: var(--muted); font-weight: 400; display: block; }
""".strip()


@dataclass(frozen=True)
class Summary:
    """Results in rows and columns.

    Attributes:
        encoders: Titles of the columns.
        rows: (protocol, dataset, config, metric) of each row.
        cells: Values by (row, encoder), a list of one for each run.
        published: What others have published, by row.
    """

    encoders: Sequence[str]
    rows: Sequence[tuple[str, str, str, str]]
    cells: Mapping[tuple[tuple[str, str, str, str], str], Sequence[float]]
    published: Mapping[tuple[str, str, str, str], Sequence[PublishedValue]]

    def markdown(self) -> str:
        """Return the table in Markdown, with a title."""
        header = ['protocol and data', 'metric', *self.encoders, 'published']
        # A group's title stands in its first row only.
        titles = [_row_title(row) if not place or row[:3] != self.rows[place - 1][:3] else ''
                  for place, row in enumerate(self.rows)]
        table = [[title, metric_title(row[3]),
                  *(_cell(self.cells.get((row, encoder), ())) for encoder in self.encoders),
                  '<br>'.join(map(str, self.published[row]))]
                 for title, row in zip(titles, self.rows, strict=True)]
        escaped = [[cell.replace('|', '\\|') for cell in line] for line in [header, *table]]
        return f'# {TITLE}\n\n{EXPLANATION}\n\n{text_table(escaped[0], escaped[1:], markdown=True)}\n'

    def html(self) -> str:
        """Return a page that needs no other file."""
        heads = ''.join(f'<th scope="col">{html.escape(name)}</th>' for name in ('metric', *self.encoders))
        body, group = [], None
        for row in self.rows:
            if row[:3] != group:
                group = row[:3]
                body.append(f'<tr class="group"><th colspan="{len(self.encoders) + 3}">'
                            f'{html.escape(_row_title(row))}</th></tr>')
            body.append(self._html_row(row))
        return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title>\n'
                '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
                f'<style>\n{STYLE}\n</style></head>\n<body><h1>{TITLE}</h1><p>{EXPLANATION} '
                f'Bold is the best of a row. {date.today():%-d %B %Y}.</p>\n'
                f'<div class="scroll"><table>\n<thead><tr><th></th>{heads}'
                '<th scope="col" style="text-align:left">published</th></tr></thead>\n<tbody>\n'
                + '\n'.join(body) + '\n</tbody></table></div></body></html>\n')

    def _html_row(self, row: tuple[str, str, str, str]) -> str:
        values = {encoder: self.cells.get((row, encoder), ()) for encoder in self.encoders}
        means = {encoder: statistics.mean(found) for encoder, found in values.items() if found}
        # Of deviations none is the best.
        best = max(means, key=means.get) if len(means) > 1 and not row[3].endswith('_std_percent') else None
        cells = ''.join(f'<td{" class=best" if encoder == best else ""}>{_cell(found)}</td>'
                        for encoder, found in values.items())
        published = '<br>'.join(html.escape(str(value)) for value in self.published[row])
        return (f'<tr><th></th><th scope="row">{html.escape(metric_title(row[3]))}</th>{cells}'
                f'<td class="published">{published}</td></tr>')


def summarise(folders: Sequence[str | Path]) -> Summary:
    """Collect all ``result.json`` below some folders.

    Results that only sum up others are left out, and copies of a result. Results of different configs, or of
    one with different ``--cfg-options``, have rows of their own; those of one encoder then share a cell.

    Args:
        folders: Folders, or files.

    Raises:
        FileNotFoundError: If there is no such folder, or no result in any.
        ValueError: If a file is not a result.
    """
    results: list[Result] = []
    for path in _result_files(folders):
        result = read_result(path)
        if result not in results and not result.settings.get('parts'):
            results.append(result)
    titles = _encoder_titles(results)
    cells = defaultdict(list)
    for result in results:
        for metric, value in result.metrics.items():
            if metric.endswith('_percent'):
                row = (result.protocol, result.dataset or '', _config(result), metric)
                cells[row, titles[_encoder(result)]].append(value)
    rows = list(dict.fromkeys(row for row, _ in cells))
    rows.sort(key=lambda row: row[:3])                                  # metrics stay in the protocol's order
    published = {row: published_values(row[0], row[1], row[3]) for row in rows}
    return Summary(sorted(set(titles.values())), rows, dict(cells), published)


def _result_files(folders: Sequence[str | Path]) -> list[Path]:
    found: list[Path] = []
    for folder in map(Path, folders):
        if not folder.exists():
            raise FileNotFoundError(f'no folder {folder}')
        found += [folder] if folder.is_file() else sorted(folder.rglob('result.json'))
    if not found:
        raise FileNotFoundError(f'no result.json below {", ".join(map(str, folders))}; tools/benchmark.py '
                                'writes them into work directories')
    return list(dict.fromkeys(found))


def _config(result: Result) -> str:
    """Return the config's name, with those options of the command that make it another measurement."""
    try:
        words = shlex.split(result.command or '')
    except ValueError:                          # a lone quote
        words = result.command.split()
    options = words[words.index('--cfg-options') + 1:] if '--cfg-options' in words else []
    options = list(takewhile(lambda word: not word.startswith('--'), options))
    has_name = any(option.startswith('dataset_name=') for option in options)
    different = [option for option in options if not NOT_OF_THE_ROW.fullmatch(option.partition('=')[0])
                 and not (has_name and option.startswith('data_root='))]
    name = Path(result.config or '').stem
    return f'{name} with {", ".join(sorted(different))}' if different else name


def _encoder(result: Result) -> str:
    if result.checkpoint_sha256:
        return result.checkpoint_sha256
    return json.dumps(result.settings.get('encoder'), sort_keys=True)


def _encoder_titles(results: Sequence[Result]) -> dict[str, str]:
    """Return a title for each encoder: the end of its path, with its hash where two have the same.

    Random ones are told apart by their architecture where there are several.
    """
    first = {_encoder(result): result for result in reversed(results)}
    titles = {encoder: '/'.join(Path(result.checkpoint).parts[-2:]) if result.checkpoint
              else 'random initialisation' for encoder, result in first.items()}
    return {encoder: title if list(titles.values()).count(title) == 1
            else f'{title} ({_distinction(encoder, first[encoder])})' for encoder, title in titles.items()}


def _distinction(encoder: str, result: Result) -> str:
    if result.checkpoint:
        return encoder[:8]
    return ', '.join(f'{name} {value}' for name, value in (result.settings.get('encoder') or {}).items()) \
        or 'architecture not recorded'


def _row_title(row: tuple[str, str, str, str]) -> str:
    protocol, dataset, config, _ = row
    return ', '.join(filter(None, [protocol, dataset])) + (f' ({config})' if config else '')


def _cell(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ''.join(f'{value:.2f}' for value in values)
    return f'{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} ({len(values)})'
