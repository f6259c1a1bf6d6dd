"""A study's table, figure and claims, as a page in Markdown."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mmsimclr.errors import InputError, did_you_mean
from mmsimclr.files import shipped_configs
from mmsimclr.reporting import study_figures
from mmsimclr.reporting.table import metric_title, template
from mmsimclr.studies import CellResult, Study, Verdict, judge, published_table, values_at, write_records
from mmsimclr.studies.study import At, seconds_of

FIGURES = ('Table', 'Bars', 'HeatMap', 'Representation')


def write_study(study: Study, results: Sequence[CellResult], out: str | Path,
                only_json: bool = False) -> None:
    """Write ``study.json``, ``README.md`` and the figure into a folder.

    With ``only_json`` the results alone, as ``NAME.json``: what a repository keeps.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    head = dict(study=study.name, title=study.title, preset=study.preset, source=study.source,
                command=command_of(study))
    write_records(out / (f'{study.name}.json' if only_json else 'study.json'), head, results)
    if only_json:
        return
    write_page(study, results, out, 'README')


def write_page(study: Study, results: Sequence[CellResult], folder: str | Path, name: str | None = None
               ) -> Path:
    """Write a study's page, by default ``STUDY.md``, and its figure into a folder; return the page's path."""
    page = Path(folder) / f'{name or study.name}.md'
    page.parent.mkdir(parents=True, exist_ok=True)
    figure = draw_figure(study, results, page.with_name(study.name))
    page.write_text(study_text(study, results, figure), encoding='utf-8')
    return page


def command_of(study: Study) -> str:
    """Return the command that runs a study; one that comes with the package goes by its name elsewhere."""
    path = study.path.resolve()
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    elif shipped_configs().get(path.stem, Path()).resolve() == path:
        path = path.stem
    preset = [] if study.preset == 'cpu' else ['--preset', study.preset]
    options = [f'{key}={getattr(value, "__name__", value)}' for key, value in study.given.items()]
    return shlex.join(['mmsimclr', 'study', str(path), *preset, *options])


def verdicts(study: Study, results: Sequence[CellResult]) -> list[Verdict]:
    """Return what became of each claim."""
    published = {}
    if study.published:
        table = published_table(study.published, len(study.axes))
        published = {at: next(iter(values.values())) for at, values in table.items()}
    return [judge(claim, results, study.metric, published) for claim in study.claims]


def _summary(results: Sequence[CellResult], at: At, metric: str) -> str:
    """Return mean ± standard deviation (n); why there is nothing, where a cell failed."""
    values = list(values_at(results, dict(at=at), metric).values())
    if not values:
        failed = [each.failure for each in results if each.at == at and each.failure]
        return 'failed' if failed else '–'
    if len(values) == 1:
        return f'{values[0]:.2f} (1)'
    return f'{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f} ({len(values)})'


def table_of(study: Study, results: Sequence[CellResult]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of our numbers."""
    columns = study.columns or {metric_title(study.metric.partition('.')[2]): study.metric}
    header = [' | '.join(study.axes).replace('|', '×'), *columns]
    rows = [[' × '.join(at), *(_summary(results, at, metric) for metric in columns.values())]
            for at in study.grid]
    return header, rows


def published_rows(study: Study) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the paper's numbers."""
    table = published_table(study.published, len(study.axes))
    columns = list(next(iter(table.values())))
    places = {column: max(len(f'{values[column]:g}'.partition('.')[2]) for values in table.values()
                          if values.get(column) is not None) for column in columns}
    return ([' × '.join(study.axes), *(column or 'published' for column in columns)],
            [[' × '.join(at), *('–' if values.get(column) is None else f'{values[column]:.{places[column]}f}'
                                for column in columns)] for at, values in table.items()])


def study_text(study: Study, results: Sequence[CellResult], figure: str | None) -> str:
    """Return a study's page in Markdown."""
    done = [each for each in results if not each.failure]
    as_written = study.preset == 'cpu' and not study.given   # of which setting and finding tell
    return template('study.md.jinja').render(
        study=study, figure=figure, setting=as_written and study.setting,
        finding=as_written and results and study.finding, ours=table_of(study, results),
        published=study.published and published_rows(study), verdicts=verdicts(study, results),
        failed=[each for each in results if each.failure], command=command_of(study), num_cells=len(done),
        num_tuning=sum(each.tuning for each in done), seconds=seconds_of(done),
        hardware=sorted({_hardware(**each.provenance.get('hardware', {})) for each in done}))


def _hardware(cpu: str = '', cores: int | None = None, gpus: Sequence[str] = (), **_: object) -> str:
    return ', '.join([cpu, *([f'{cores} core{"s" * (cores > 1)}'] if cores else []), *gpus])


def draw_figure(study: Study, results: Sequence[CellResult], path: Path) -> str | None:
    """Draw a study's figure as PNG and SVG, ``path`` with their suffixes; return the PNG's name.

    ``study.figure`` has a ``type``, perhaps ``ylabel``, and ``column``, that of the published table to show.
    A HeatMap has the levels of the first axis as rows; Bars have them as series, or one series of one axis.
    Representation draws the series of ``measure`` of the first seed: those of level ``cell``, and all
    spectra.
    """
    kind, numbers = study.figure.get('type', 'Table'), [each for each in results if not each.failure]
    if kind not in FIGURES:
        raise InputError(f'figure.type must be one of {", ".join(FIGURES)}, got {kind!r}'
                         + did_you_mean(kind, FIGURES))
    if kind == 'Table' or not numbers:
        return None
    if kind == 'Representation':
        return _draw_representation(study, numbers, path)
    places = {(at[0] if len(at) > 1 else '', ' × '.join(at[1:] or at)): at for at in study.grid}
    rows, columns = (list(dict.fromkeys(part)) for part in zip(*places, strict=True))

    def panel(value: Callable[[At], float]) -> np.ndarray:
        return np.array([[value(places[row, column]) if (row, column) in places else np.nan
                          for column in columns] for row in rows])

    def seeds(at: At) -> list[float]:
        return list(values_at(numbers, dict(at=at), study.metric).values())

    means = panel(lambda at: np.mean(seeds(at)) if seeds(at) else np.nan)
    deviations = panel(lambda at: np.std(seeds(at), ddof=1) if len(seeds(at)) > 1 else np.nan)
    published = None
    if study.published:
        table = published_table(study.published, len(study.axes))
        column = study.figure.get('column', '')
        published = panel(lambda at: table.get(at, {}).get(column, np.nan))
        published = published if np.isfinite(published).any() else None
    label = study.figure.get('ylabel', metric_title(study.metric.partition('.')[2]) + ' (%)')
    if kind == 'HeatMap':
        figure = study_figures.heat_map(means, rows, columns, study.title, published, *list(study.axes)[:2])
    else:
        def named(values: np.ndarray) -> dict[str, np.ndarray]:
            return dict(zip((row or 'ours' for row in rows), values, strict=True))

        figure = study_figures.bars(named(means), columns, study.title, label, named(deviations),
                                    None if published is None else named(published))
    study_figures.save_figure(figure, path)
    return f'{path.name}.png'


def _draw_representation(study: Study, numbers: Sequence[CellResult], path: Path) -> str | None:
    first = {each.at[0]: {name.partition('.')[2]: values for name, values in each.series.items()
                          if name.startswith(f'{study.figure["measure"]}.')}
             for each in sorted(numbers, key=lambda each: -each.seed)}
    if study.figure['cell'] not in first:
        return None
    spectra = {f'{name} head': series['eigenvalues'] for name, series in first.items()}
    study_figures.save_figure(
        study_figures.representation(first[study.figure['cell']], spectra, study.title), path)
    return f'{path.name}.png'
