"""The page of results, written from the result files and the configs' headers."""

import ast
import re
from collections import defaultdict
from pathlib import Path

from mmsimclr.protocols import Result, read_result
from mmsimclr.reporting.table import text_table

INTRODUCTION = """# Results

Written by `python tools/make_results_page.py` from the files in `results/`, one for each run, and from the
headers of the configs. Nothing here is typed by hand; what was not run says so.
"""


def results_page(results_dir: str | Path, configs_dir: str | Path) -> str:
    """Return the page, in Markdown.

    Args:
        results_dir: Folder of result files (``*.json``, at any depth).
        configs_dir: Folder of leaf configs whose headers say command, hardware and expectation.

    Raises:
        ValueError: If a file is not a result.
    """
    by_config: dict[str, list[tuple[Path, Result]]] = defaultdict(list)
    for path in sorted(Path(results_dir).rglob('*.json')):
        result = read_result(path)
        if result.config is None:
            raise ValueError(f'{path} does not say which config it is of')
        by_config[Path(result.config).stem].append((path, result))
    parts = [INTRODUCTION]
    for config in sorted(by_config):
        parts += [f'## {config}', '']
        # What ran otherwise, or elsewhere, gets a table of its own.
        alike = defaultdict(list)
        for path, result in by_config[config]:
            alike[_circumstances(result)].append((path, result))
        for circumstances, entries in alike.items():
            parts += [_table(entries), '', circumstances, '']
    parts.append(_not_run(by_config, Path(configs_dir)))
    return '\n'.join(parts)


def config_header(path: Path) -> dict[str, str]:
    """Return the labelled paragraphs of a config's docstring: Command, Hardware, Expected, Deviations."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    fields = re.split(r'^(\w[\w ]*?)(?: from the paper)?: ', text, flags=re.MULTILINE)
    return {name: ' '.join(body.split()) for name, body in zip(fields[1::2], fields[2::2], strict=False)}


def _circumstances(result: Result) -> str:
    machine = result.hardware
    devices = ', '.join(machine['gpus']) or f"{machine['cores']} cores of {machine['cpu']}"
    command = re.sub(r' --seed \d+', ' --seed SEED', result.command or 'not recorded')
    return '\n'.join([
        '* images: ' + ', '.join(f'{count:,} {part}' for part, count in result.num_images.items()),
        '* settings: ' + ', '.join(f'{name} {value}' for name, value in result.settings.items()),
        f'* hardware: {devices}',
        '* versions: ' + ', '.join(f'{name} {version}' for name, version in result.versions.items()
                                   if version),
        f'* command: `{command}`'])


def _table(entries: list[tuple[Path, Result]]) -> str:
    metrics = list(dict.fromkeys(name for _, result in entries for name in result.metrics
                                 if name.endswith('_percent')))
    header = ['encoder', 'seed', *(_title(name) for name in metrics), 'pre-training', 'file']
    rows = []
    for path, result in entries:
        seconds = result.metrics.get('pretraining_s')
        rows.append(['pre-trained' if result.checkpoint else 'random initialisation', str(result.seed),
                     *(f'{result.metrics[name]:.2f} %' if name in result.metrics else '' for name in metrics),
                     f'{seconds / 60:.1f} min' if seconds else '', f'`{path.name}`'])
    return text_table(header, rows, markdown=True)


def _not_run(by_config: dict, configs_dir: Path) -> str:
    lines = []
    for path in sorted(configs_dir.glob('*.py')):
        if path.stem not in by_config:
            header = config_header(path)
            lines.append(f"* `{path.stem}`: {header.get('Hardware', '')} "
                         f"Expected: {header.get('Expected', '')}")
    if not lines:
        return ''
    return '\n'.join(['## Not run here', '', 'These configs have no result file: not measured yet.', '',
                      *lines, ''])


def _title(name: str) -> str:
    return name.removesuffix('_percent').replace('_', ' ').replace('knn', 'k-NN')
