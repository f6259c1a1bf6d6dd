"""Tables and pages of the model zoo."""

from collections.abc import Sequence

from mmsimclr.checkpoints import zoo_index
from mmsimclr.checkpoints.zoo_index import ModelEntry, PublishedResult
from mmsimclr.reporting.table import text_table

INTRODUCTION = """# Model zoo

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
    parts = [INTRODUCTION, models_table(zoo_index.model_entries(), markdown=True), '',
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
