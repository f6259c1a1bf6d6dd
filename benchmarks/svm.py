"""Cross-validated linear SVMs over classes and costs, beside the serial loop of the original protocol.

    python benchmarks/svm.py --out benchmarks/results/svm.json

The loop fits each class, cost and fold one after the other on the features as they are; this library drops
the dimensions that no training image spans, then shares the fits among processes. The mean difference of the
average precisions is written too.
"""

import argparse
from collections.abc import Callable, Iterator

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from measure import alternate, parse, ratios, write
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold

from mmsimclr.evaluation.linear_svm import COSTS, fit_svm, svm_features
from mmsimclr.protocols.svm import run_in_parallel

NUM_FOLDS = 3


def validate(features: np.ndarray, labels: np.ndarray, number: int, cost: float) -> float:
    """Return the mean average precision of the folds of one class."""
    truth = labels[:, number]
    values = []
    for fitted, held_out in StratifiedKFold(NUM_FOLDS).split(features, truth):
        svm, _ = fit_svm(features[fitted], truth[fitted], cost)
        values.append(average_precision_score(truth[held_out], svm.decision_function(features[held_out])))
    return float(np.mean(values))


def data(images: int, dims: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rectified features float32 [N, C], and several labels of each image, int [N, classes]."""
    generator = np.random.default_rng(0)
    labels = (generator.random((images, classes)) < 0.15).astype(int)
    rows = labels @ generator.normal(size=(classes, dims)) * 0.3 + generator.normal(size=(images, dims))
    return np.maximum(rows, 0).astype(np.float32), labels


def ways(features: np.ndarray, labels: np.ndarray,
         costs: tuple[float, ...]) -> Iterator[tuple[str, Callable]]:
    tasks = [(number, cost) for number in range(labels.shape[1]) for cost in costs]

    def ours() -> list[float]:
        rows, _ = svm_features(features, features[:1])
        return run_in_parallel(validate, tasks, (rows, labels))

    def loop() -> list[float]:
        rows = features.astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5
        return [validate(rows, labels, *task) for task in tasks]
    yield 'ours', ours
    yield 'one after the other', loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=600, help='training images (default: %(default)s)')
    parser.add_argument('--dims', type=int, default=4096, help='width of a feature (default: %(default)s)')
    parser.add_argument('--classes', type=int, default=4, help='default: %(default)s')
    parser.add_argument('--costs', type=int, default=4, help="of the protocol's (default: %(default)s)")
    parser.add_argument('--rounds', type=int, default=3, help='rounds that count (default: %(default)s)')
    args = parse(parser, quick=dict(images=40, dims=50, classes=1, costs=2, rounds=1))
    features, labels = data(args.images, args.dims, args.classes)
    costs = COSTS[::-(-len(COSTS) // args.costs)]
    precisions = {}
    runs = {name: lambda name=name, way=way: precisions.update({name: way()})
            for name, way in ways(features, labels, costs)}
    rows = ratios(alternate(runs, args.rounds), 'ours')
    get_reusable_executor().shutdown(wait=True)
    difference = np.abs(np.subtract(*precisions.values())).mean()
    write(args.out, benchmark='svm', images=args.images, dims=args.dims, classes=args.classes,
          costs=list(costs), folds=NUM_FOLDS, rounds=args.rounds, processes=joblib.cpu_count(), rows=rows,
          mean_difference_of_ap_percent=100 * float(difference))


if __name__ == '__main__':
    main()
