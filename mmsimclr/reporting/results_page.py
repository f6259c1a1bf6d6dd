"""The pages of results and of the model zoo, in Markdown, and the zoo's tables for a terminal."""


from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from mmsimclr.checkpoints import zoo_index
from mmsimclr.checkpoints.zoo_index import ModelEntry, PublishedResult
from mmsimclr.errors import InputError
from mmsimclr.files.shipped import config_header
from mmsimclr.protocols import Result, read_result
from mmsimclr.reporting.table import markdown_code, markdown_text, metric_title, text_table

INTRODUCTION = """# Results

Written by `python tools/make_results_page.py` from the files in `results/`, one for each run, and from the
headers of the configs. Nothing here is typed by hand; what was not run says so. The files have all settings,
and versions, too. What the small sets of images are: [results/README.md](../../results/README.md).
"""
ENCODERS = 'pre-trained', 'random initialisation'
Runs = list[tuple[Path, Result]]


def results_page(results_dir: str | Path, configs_dir: str | Path) -> str:
    """Return the page, in Markdown: an overview, each measurement with its runs, what was not run.

    Result files are all ``*.json`` below ``results_dir``, but for those of studies. The configs in
    ``configs_dir`` say in their headers command, hardware and expectation.
    """
    measurements: dict[tuple[str, str], Runs] = defaultdict(list)
    paths = (path for path in Path(results_dir).rglob('*.json') if path.parent.name != 'studies')
    for path in sorted(paths):
        result = read_result(path)
        if result.config is None:
            raise InputError(f'{path} does not say which config it is of')
        key = Path(result.config).stem, result.dataset or ''
        measurements[key].append((path.relative_to(results_dir), result))
    parts = [INTRODUCTION, _overview(measurements)]
    for (config, dataset), runs in sorted(measurements.items()):
        title = f'{config} on {dataset}' if dataset else config
        parts += [f'## {markdown_text(title)}', '', _table(runs), '']
        parts += [*(_origin(path, result) for path, result in runs), '']
    parts.append(_not_run({config for config, _ in measurements}, Path(configs_dir)))
    return '\n'.join(parts)


def _encoder(result: Result) -> str:
    return ENCODERS[0 if result.checkpoint else 1]


def _percentages(runs: Runs) -> list[str]:
    return list(dict.fromkeys(name for _, result in runs for name in result.metrics
                              if name.endswith('_percent') and not name.endswith('_at_start_percent')))


def _values(runs: Runs, encoder: str, metric: str) -> list[float]:
    return [result.metrics[metric] for _, result in runs
            if _encoder(result) == encoder and metric in result.metrics]


def _overview(measurements: dict[tuple[str, str], Runs]) -> str:
    """Return one line for each measurement: its first metric, and what pre-training adds to it."""
    rows = []
    for (config, dataset), runs in sorted(measurements.items()):
        if metrics := _percentages(runs):
            values = [_values(runs, encoder, metrics[0]) for encoder in ENCODERS]
            means = [sum(found) / len(found) if found else None for found in values]
            gain = '' if None in means else f'{means[0] - means[1]:+.2f}'
            columns = ['' if mean is None else f'{mean:.2f}' for mean in means]
            rows.append([*map(markdown_text, (config, dataset, metric_title(metrics[0]))), *columns, gain,
                         str(max(map(len, values)))])
    header = ['config', 'data', 'metric, %', *ENCODERS, 'gain', 'runs']
    return f'{text_table(header, rows, markdown=True)}\n'


def _table(runs: Runs) -> str:
    """Return a row for each metric, a column for each kind of encoder, and all runs' values in a cell."""
    encoders = [encoder for encoder in ENCODERS if any(_encoder(result) == encoder for _, result in runs)]
    percent = _percentages(runs)
    metrics = percent or [name for name in runs[0][1].metrics if name != 'pretraining_s']
    rows = [[markdown_text(metric_title(metric)), *(
        ' / '.join(f'{value:.2f}' for value in _values(runs, encoder, metric)) for encoder in encoders)]
        for metric in metrics]
    return text_table(['metric, %' if percent else 'metric', *encoders], rows, markdown=True)


def _origin(path: Path, result: Result) -> str:
    """Return a line for a run: its file, which has all settings and versions, and what repeats it."""
    facts = [_encoder(result), *([markdown_code(result.checkpoint)] if result.checkpoint else [])]
    if result.tensors_loaded:
        facts.append(f'{result.tensors_loaded[0]} of {result.tensors_loaded[1]} tensors')
    if seconds := result.metrics.get('pretraining_s'):
        facts.append(f'pre-trained in {seconds / 60:.1f} min')
    facts += [f'{count:,} {part}' for part, count in result.num_images.items()]
    machine = result.hardware
    gpus = machine.get('gpus')
    facts.append(', '.join(map(str, gpus)) if gpus and isinstance(gpus, list) else
                 f"{machine.get('cores')} cores of {machine.get('cpu')}")
    return (f'* [{markdown_text(path.name)}](../../results/{quote(path.as_posix())}), seed {result.seed}: '
            f'{", ".join(facts)}\n  {markdown_code(result.command or "not recorded")}')


def _not_run(done: set[str], configs_dir: Path) -> str:
    headers = {path.stem: config_header(path) for path in sorted(configs_dir.glob('*.py'))
               if path.stem not in done}
    if not headers:
        return ''
    lines = [f"* `{name}`: {header.get('Hardware', '')} Expected: {header.get('Expected', '')}"
             for name, header in headers.items()]
    return '\n'.join(['## Not run here', '', 'These configs have no result file: not measured yet.', '',
                      *lines, ''])


ZOO_INTRODUCTION = """# Model zoo

Written by `python tools/make_model_zoo_page.py` from `configs/simclr/metafile.yml`; nothing here is typed by
hand. The results were published by others, in percent unless the metric's name says otherwise; what was
measured with this code is in [results.md](results.md). How to fetch and use the models is told in
[configs/simclr/README.md](../../configs/simclr/README.md).
"""


def models_table(entries: Sequence[ModelEntry], markdown: bool = False) -> str:
    """Return a table with a line for each model; in Markdown it links to the configs."""
    header = ['model', 'epochs', 'batch', 'parameters', 'FLOPs', 'linear top-1', 'weights']
    rows = []
    for entry in entries:
        name = f'[{entry.name}](../../configs/simclr/{entry.config.name})' if markdown else entry.name
        linear = [f"{result.metrics['Top 1 Accuracy']} % ({result.source})" for result in entry.results
                  if result.protocol == 'linear']
        rows.append([name, str(entry.epochs), str(entry.batch_size), f'{entry.parameters / 1e6:.1f} M',
                     f'{entry.flops / 1e9:.2f} G', next(iter(linear), ''), 'yes' if entry.urls else 'no'])
    return text_table(header, rows, markdown)


def model_info(name: str) -> str:
    """Return all that the zoo knows about one model, for a terminal; CheckpointError if there is none."""
    entry = zoo_index.find_entry(name)
    facts = [('config', entry.config), ('training data', entry.training_data), ('epochs', entry.epochs),
             ('batch size', entry.batch_size), ('parameters', f'{entry.parameters:,}'),
             ('FLOPs', f'{entry.flops:,}'), *(('weights', url) for url in entry.urls or ['none published'])]
    lines = [entry.name, *(f'  {label:<14} {value}' for label, value in facts)]
    if entry.results:
        lines += ['', _results_table(entry.results)]
    return '\n'.join(lines)


def model_zoo_page() -> str:
    """Return the page, in Markdown."""
    parts = [ZOO_INTRODUCTION, models_table(zoo_index.model_entries(), markdown=True), '',
             'Parameters are those of encoder and projection head; FLOPs those of the encoder for one image, '
             'as MMEngine counts them.', '']
    for entry in zoo_index.model_entries():
        if entry.results:
            parts += [f'## {entry.name}', '', _results_table(entry.results, markdown=True), '']
        if entry.urls:
            parts += [f'Weights: `{entry.file_name}`, at', '', *(f'* <{url}>' for url in entry.urls), '']
    parts += ['## Other settings', '', 'Published numbers for which there is no config.', '']
    for other in zoo_index.other_settings():
        parts += [f'### {other.setting[0].upper()}{other.setting[1:]}', '',
                  f'Nearest config: `{other.nearest_config}`. What differs: {other.differs}.', '',
                  _results_table(other.results, markdown=True), '']
    parts += ['## Sources', '', *(f'* {key}: {title}' for key, title in zoo_index.sources().items()), '']
    return '\n'.join(parts)


def _results_table(results: Sequence[PublishedResult], markdown: bool = False) -> str:
    rows = [[f'{result.dataset}, {result.protocol}', f'{metric}{f" ({result.note})" if result.note else ""}',
             str(value), result.source]
            for result in results for metric, value in result.metrics.items()]
    return text_table(['dataset and protocol', 'metric', 'value', 'source'], rows, markdown)
