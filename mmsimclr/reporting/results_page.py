"""Pages of results, of the model zoo and of a published model, in Markdown; tables for a terminal."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mmsimclr.checkpoints import EncoderWeights, zoo_index
from mmsimclr.checkpoints.zoo_index import ModelEntry, PublishedResult
from mmsimclr.errors import InputError
from mmsimclr.files.shipped import config_header
from mmsimclr.protocols import Result, read_result
from mmsimclr.reporting.summary import read_results
from mmsimclr.reporting.table import markdown_code, markdown_text, metric_title, template, text_table

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
    done = {config for config, _ in measurements}
    not_run = [path for path in sorted(Path(configs_dir).glob('*.py')) if path.stem not in done]
    return template('results.md.jinja').render(
        overview=_overview(measurements), measurements=sorted(measurements.items()), values_table=_table,
        facts=_facts, not_run={path.stem: config_header(path) for path in not_run})


def _encoder(result: Result) -> str:
    return ENCODERS[0 if result.checkpoint else 1]


def _percentages(runs: Runs) -> list[str]:
    return list(dict.fromkeys(name for _, result in runs for name in result.metrics
                              if name.endswith('_percent') and not name.endswith('_at_start_percent')))


def _values(runs: Runs, encoder: str, metric: str) -> list[float]:
    return [result.metrics[metric] for _, result in runs
            if _encoder(result) == encoder and metric in result.metrics]


def _overview(measurements: dict[tuple[str, str], Runs]) -> tuple[list[str], list[list[str]]]:
    """Return header and a line for each measurement: its first metric, and what pre-training adds to it."""
    rows = []
    for (config, dataset), runs in sorted(measurements.items()):
        if metrics := _percentages(runs):
            values = [_values(runs, encoder, metrics[0]) for encoder in ENCODERS]
            means = [sum(found) / len(found) if found else None for found in values]
            gain = '' if None in means else f'{means[0] - means[1]:+.2f}'
            columns = ['' if mean is None else f'{mean:.2f}' for mean in means]
            rows.append([*map(markdown_text, (config, dataset, metric_title(metrics[0]))), *columns, gain,
                         str(max(map(len, values)))])
    return ['config', 'data', 'metric, %', *ENCODERS, 'gain', 'runs'], rows


def _table(runs: Runs) -> tuple[list[str], list[list[str]]]:
    """Return header and a row for each metric, with all runs' values by the kind of encoder."""
    encoders = [encoder for encoder in ENCODERS if any(_encoder(result) == encoder for _, result in runs)]
    percent = _percentages(runs)
    metrics = percent or [name for name in runs[0][1].metrics if name != 'pretraining_s']
    rows = [[markdown_text(metric_title(metric)), *(
        ' / '.join(f'{value:.2f}' for value in _values(runs, encoder, metric)) for encoder in encoders)]
        for metric in metrics]
    return ['metric, %' if percent else 'metric', *encoders], rows


def _facts(result: Result) -> list[str]:
    """Return what was run, for people."""
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
    return facts


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
    return template('model_zoo.md.jinja').render(index=zoo_index, models_table=models_table,
                                                 results_table=_results_table)


def _results_table(results: Sequence[PublishedResult], markdown: bool = False) -> str:
    rows = [[f'{result.dataset}, {result.protocol}', f'{metric}{f" ({result.note})" if result.note else ""}',
             str(value), result.source]
            for result in results for metric, value in result.metrics.items()]
    return text_table(['dataset and protocol', 'metric', 'value', 'source'], rows, markdown)


def model_card(encoder: EncoderWeights, address: str, folders: Sequence[str | Path] = ()) -> str:
    """Return the model card, Markdown, of an encoder that is published at an address.

    Its numbers are those of the result files below ``folders`` that are of this very checkpoint.
    """
    results = [result for result in (read_results(folders) if folders else ())
               if result.checkpoint_sha256 == encoder.sha256]
    facts = {'encoder': encoder.kind, 'settings': ', '.join(
        f'{name}={value!r}' for name, value in encoder.settings.items() if name != 'type'),
        'images': str(encoder.input), 'checkpoint, SHA-256': encoder.sha256}
    trained = next((result for result in results if result.protocol == 'pretraining'), None)
    if trained is not None:
        said = {'epochs': trained.settings.get('max_epochs'), **trained.settings}
        facts |= {'training images': trained.num_images.get('train'), 'dataset': trained.dataset,
                  'iterations': said.get('checkpoint_iterations', said.get('iterations')),
                  **{name: said.get(name) for name in ('epochs', 'global_batch')}}
    rows = [(result.protocol, result.dataset or 'not named', metric_title(name),
             f'{value:.4g}{" %" * name.endswith("_percent")}')
            for result in results for name, value in result.metrics.items()]
    return template('model_card.md.jinja').render(address=address, facts=facts, rows=rows, trained=trained)
