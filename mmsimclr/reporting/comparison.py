"""Comparison of two results on the same images, with tests of whether their difference could be chance."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsimclr.errors import InputError
from mmsimclr.evaluation.metrics import METRICS, MULTI_LABEL_METRICS
from mmsimclr.evaluation.significance import mcnemar_test, permutation_test
from mmsimclr.files import file_digest
from mmsimclr.protocols.result import DRAWN, Predictions, Result, read_predictions, read_result
from mmsimclr.reporting.table import text_table

ACCURACY = 'multi_label_accuracy_percent'


@dataclass(frozen=True)
class Comparison:
    """Two results compared."""

    metric: str                                 # in percent
    titles: tuple[str, str]                     # encoder, protocol and data of both
    values: tuple[float, float]                 # the metric of both
    num_images: int
    num_exchanges: int
    permutation_p: float
    mcnemar_p: float | None                     # of the exact test, for top-1 accuracy only
    accuracy_p: float | None = None             # of the permutation test of accuracy, beside a mean AP's
    preparations: tuple[str, ...] = ()          # what differs in how the images were prepared

    @property
    def difference(self) -> float:
        """The first minus the second, in percentage points."""
        return self.values[0] - self.values[1]

    def __str__(self) -> str:
        rows = [[f'{letter}: {title}', f'{value:.2f}']
                for letter, title, value in zip('AB', self.titles, self.values, strict=True)]
        of_ap = self.accuracy_p is not None
        rows += [['A - B', f'{self.difference:+.2f}'],
                 [f'p, permutation test{" of average precision" * of_ap} ({self.num_exchanges:,} exchanges)',
                  f'{self.permutation_p:.2g}']]
        if of_ap:
            rows.append(["p, permutation test of accuracy (the paper's for several classes)",
                         f'{self.accuracy_p:.2g}'])
        if self.mcnemar_p is not None:
            rows.append(['p, exact McNemar test', f'{self.mcnemar_p:.2g}'])
        rows += [[f'mind: images prepared in other ways, {each}', ''] for each in self.preparations]
        return text_table([f'{self.num_images:,} images', self.metric], rows)


def compare_results(path_a: str | Path, path_b: str | Path, metric: str | None = None,
                    num_exchanges: int = 100_000, seed: int = 0, device: str = 'cpu') -> Comparison:
    """Compare two results by the predictions beside them.

    Args:
        path_a: A ``result.json``.
        path_b: Another, of the same test images.
        metric: A key of :data:`~mmsimclr.evaluation.metrics.METRICS`; by default that of both
            results, or else top-1 accuracy, or mAP for images of several classes.
        num_exchanges: Number of random exchanges.
        seed: Seed of the exchanges.
        device: Where to compute.

    Raises:
        FileNotFoundError: If a result or its predictions are not there.
        ValueError: If they are of different data, images or labels, or the metric is none of them.
    """
    results = read_result(path_a), read_result(path_b)
    predictions = _predictions_of(Path(path_a), results[0]), _predictions_of(Path(path_b), results[1])
    if results[0].dataset != results[1].dataset:
        raise InputError(f'the results are of different data: {results[0].dataset} and {results[1].dataset}')
    check_comparable(*predictions)
    _check_same_images(*results)
    labels, pair = predictions[0].labels, tuple(one.predicted for one in predictions)
    several_classes = labels.ndim == 2
    if metric is None:
        shared = [name for name in METRICS if all(name in result.metrics for result in results)]
        metric = shared[0] if shared else 'map_percent' if several_classes else 'top_1_accuracy_percent'
    if metric not in METRICS or several_classes != (metric in MULTI_LABEL_METRICS):
        raise InputError(f'metric must be one of {", ".join(METRICS)}, the last three for images of several '
                         f'classes and only for these, got {metric!r} for labels {list(labels.shape)}')
    if several_classes:
        evaluated = (labels != -1).any(axis=0)              # the others were left out by the protocol
        labels, pair = labels[:, evaluated], tuple(scores[:, evaluated] for scores in pair)
    def permutation_p(metric: str) -> float:
        return permutation_test(labels, *pair, metric, num_exchanges, seed, device)

    return Comparison(
        metric, tuple(map(_title, results)), tuple(METRICS[metric](labels, predicted) for predicted in pair),
        len(labels), num_exchanges, permutation_p(metric),
        mcnemar_test(labels, *pair) if metric == 'top_1_accuracy_percent' else None,
        permutation_p(ACCURACY) if several_classes and metric != ACCURACY else None, _preparations(*results))


def _check_same_images(a: Result, b: Result) -> None:
    """Raise if results say that images of the same names are others."""
    tested = [one.images_but('train', 'val', DRAWN) for one in (a, b)]
    if all(tested) and tested[0] != tested[1]:
        raise InputError('the results are of different images of the same names: settings.images_sha256 are '
                         f'{tested[0]} and {tested[1]}')


def _preparations(a: Result, b: Result) -> tuple[str, ...]:
    """Return what results say that was done to the images of one in another way than to the other's."""
    pairs = {key: (a.settings.get(key), b.settings.get(key))
             for key in ('resize_px', 'crop_px', 'interpolation', 'squash', 'image_px')}
    return tuple(f'{key} {first} and {second}' for key, (first, second) in pairs.items()
                 if None not in (first, second) and first != second)


def _predictions_of(path: Path, result: Result) -> Predictions:
    if result.settings.get('parts'):
        parts = ', '.join(str(path.parent / part) for part in result.settings['parts'].values())
        raise InputError(f'{path} sums up several datasets; compare one of {parts}')
    if result.predictions is None:
        raise InputError(f'{path} has no predictions; repeat the benchmark that made it: {result.command}')
    predictions = path.parent / result.predictions
    expected = result.predictions_sha256
    if expected and predictions.is_file() and (found := file_digest(predictions)) != expected:
        raise InputError(f'{predictions} does not belong to {path}: its SHA-256 is {found}, and the result '
                         f'names {expected}; repeat the benchmark')
    return read_predictions(predictions)


def _title(result: Result) -> str:
    encoder = result.checkpoint or 'random initialisation'
    return f'{encoder}, {result.protocol}, {result.dataset or "data without name"}'


def check_comparable(a: Predictions, b: Predictions) -> None:
    """Raise if predictions are not for the same images with the same labels, in the same order."""
    if a.labels.shape != b.labels.shape:
        raise InputError(f'the results are of different data: labels {list(a.labels.shape)} and '
                         f'{list(b.labels.shape)}')
    differing = np.flatnonzero(a.images != b.images)
    if len(differing):
        first = differing[0]
        raise InputError(f'the results are of different images: {len(differing)} of {len(a.images)} differ, '
                         f'first {a.images[first]} and {b.images[first]}')
    if not np.array_equal(a.labels, b.labels):
        raise InputError('the results are of the same images with different labels')
