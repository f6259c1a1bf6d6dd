"""What others have published for the same protocol, data and metric as a result."""

import re
from dataclasses import dataclass
from pathlib import Path

from mmsimclr.checkpoints.zoo_index import model_entries, other_settings
from mmsimclr.protocols import Result

# Datasets of the transfer benchmark, as the paper's tables shorten them.
FULL_NAMES = {'Food': 'Food-101', 'CIFAR10': 'CIFAR-10', 'CIFAR100': 'CIFAR-100', 'Cars': 'Stanford Cars',
              'Aircraft': 'FGVC Aircraft', 'Pets': 'Oxford-IIIT Pets', 'Flowers': 'Oxford 102 Flowers'}


@dataclass(frozen=True)
class PublishedValue:
    """A number that others have published.

    Attributes:
        model: Name of the model, or what the setting is.
        value: The number, in percent.
        source: Who published it, a key of :func:`mmsimclr.checkpoints.zoo_index.sources`.
        note: What it depends on besides; may be empty.
    """

    model: str
    value: float
    source: str
    note: str

    def __str__(self) -> str:
        note = f'; {self.note}' if self.note else ''
        return f'{self.value:g} {self.model} ({self.source}{note})'


def published_values(protocol: str, dataset: str | None, metric: str) -> list[PublishedValue]:
    """Return the numbers of the model zoo's index for the same protocol, dataset and metric.

    Args:
        protocol: Name of the protocol, as in a result.
        dataset: Name of the data; there are no numbers for data without name.
        metric: Name of the metric, as in a result: ``top_1_accuracy_k20_percent`` is the index's
            ``Top 1 Accuracy at k=20``.

    Returns:
        In the order of the index.
    """
    models = [(entry.name, entry.results) for entry in model_entries()]
    models += [(other.setting, other.results) for other in other_settings()]
    return [PublishedValue(name, value, result.source, result.note)
            for name, results in models for result in results
            if result.protocol.lower() == protocol.lower()
            and FULL_NAMES.get(result.dataset, result.dataset) == dataset
            for title, value in result.metrics.items() if _words(title) == _words(metric)]


def result_text(result: Result) -> str:
    """Return a result's metrics, one on a line, each with what others have published for the same."""
    datasets = {f'{Path(path).parent.name}_': name for name, path in result.settings.get('parts', {}).items()}
    lines = []
    for metric, value in result.metrics.items():
        prefix = next((prefix for prefix in datasets if metric.startswith(prefix)), '')
        published = published_values(result.protocol, datasets.get(prefix, result.dataset),
                                     metric.removeprefix(prefix))
        lines += [f'{metric:<40} {value:.2f}', *(f'    published: {other}' for other in published)]
    return '\n'.join(lines)


def _words(metric: str) -> list[str]:
    """Return the words and numbers of a metric's name, without its unit and little words."""
    words = re.findall(r'[a-z]+|\d+', metric.lower().removesuffix('_percent'))
    return [word for word in words if word not in ('at', 'of')]
