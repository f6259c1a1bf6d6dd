"""Linear SVMs on features, one for each class: what the SVM protocols share."""

import csv
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from joblib.externals.loky import get_reusable_executor
from mmengine.dist import all_gather_object
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from mmsimclr import distributed
from mmsimclr.features import FeatureFiles
from mmsimclr.files import ProgressLine, atomic_writer

#: Costs of the original protocol, in its order: of equal ones the first is chosen.
COSTS = (1.0, 10.0, 100.0, *(0.5 ** power for power in range(4, 20)))
#: What does not vary between the SVMs.
SVM_SETTINGS = dict(penalty='l2', loss='squared_hinge', dual=True, class_weight={1: 2, -1: 1},
                    intercept_scaling=1.0, tol=1e-4)
MAX_ITERATIONS = 2000


def fit_svm(features: np.ndarray, labels: np.ndarray, cost: float, seed: int = 0,
            max_iterations: int = MAX_ITERATIONS) -> tuple[LinearSVC, bool]:
    """Fit scikit-learn's LinearSVC to one class.

    Args:
        features: Float [N, C].
        labels: int [N]: 1 present, 0 absent, -1 leave the image out.
        cost: Weight of the errors against the margin, > 0.
        seed: Decides the order in which liblinear visits the images.
        max_iterations: Bound on its passes.

    Returns:
        The SVM, and whether it converged.

    Source:
        Goyal et al. 2019, "Scaling and Benchmarking Self-Supervised Visual Representation Learning",
        section 6.1, and its code.
    """
    counts = labels >= 0
    svm = LinearSVC(C=cost, max_iter=max_iterations, random_state=seed, **SVM_SETTINGS)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)         # counted, and reported once
        svm.fit(features[counts], np.where(labels[counts] == 1, 1, -1))
    return svm, bool(svm.n_iter_ < max_iterations)


def svm_features(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale each feature by 1 / (length + 1e-5), and drop the dimensions in which no training image lies.

    An SVM sees nothing but inner products with training images, so N images of more than N dimensions are
    as well described by N coordinates in the space that they span. In the basis of a QR decomposition image
    i has i + 1 of them that are not 0, and liblinear skips zeros: 5,011 images of 9,216 numbers shrink to
    2,506 on average.

    Args:
        train: Float [N, C].
        test: Float [M, C].

    Returns:
        Float64 [N, min(N, C)] and [M, min(N, C)].

    Raises:
        ValueError: If a feature is not finite, or the shapes do not fit.
    """
    if not train.ndim == test.ndim == 2 or train.shape[1] != test.shape[1] or not min(train.size, test.size):
        raise ValueError('features must be [N, C] and [M, C] with N, M and C >= 1, got '
                         f'{list(train.shape)} and {list(test.shape)}')
    train, test = (_scaled(rows, name) for rows, name in ((train, 'training'), (test, 'test')))
    if len(train) >= train.shape[1]:
        return train, test
    # torch's, not numpy's: with OpenBLAS's threads on busy cores that takes ten times as long as on one.
    basis, coordinates = (part.numpy() for part in torch.linalg.qr(torch.from_numpy(train.T)))
    return np.ascontiguousarray(coordinates.T), test @ basis


def _scaled(rows: np.ndarray, name: str) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise ValueError(f'the feature of {name} image {int(np.argmin(np.isfinite(lengths)))} is not finite: '
                         'the encoder diverged or its weights are damaged')
    return rows / (lengths + 1e-5)


def check_costs(costs: Sequence[float]) -> tuple[float, ...]:
    """Return the costs if there are some, all > 0, each once.

    Raises:
        ValueError: If not.
    """
    if not costs or len(set(costs)) < len(costs) or not all(cost > 0 for cost in costs):
        raise ValueError(f'costs must be numbers > 0, each once, got {costs!r} (usual: 1, 10, 100 and '
                         '0.5^4 to 0.5^19)')
    return tuple(float(cost) for cost in costs)


@contextmanager
def worker_processes() -> Iterator[None]:
    """Keep the processes of :func:`run_in_parallel` from one call to the next, and end them in the end."""
    try:
        yield
    finally:
        get_reusable_executor().shutdown(wait=True)


def run_in_parallel(function: Callable, tasks: Iterable[tuple], shared: tuple,
                    num_processes: int | None = None, unit: str = 'SVMs') -> list[Any]:
    """Return ``[function(*shared, *task) for task in tasks]``, computed by several processes.

    The ranks of a process group share the tasks, and every rank gets all results. Processes, not threads:
    liblinear has one random state for all threads, and what they drew would depend on their timing.

    Args:
        function: A function of a module.
        tasks: Its last arguments.
        shared: Its first arguments; large arrays among them are memory-mapped, not copied.
        num_processes: Processes of each rank; by default one for each core of this machine.
        unit: What a task is, for the line that shows progress.
    """
    tasks = list(tasks)
    rank, ranks = distributed.rank(), distributed.world_size()
    own = tasks[rank::ranks]
    if num_processes is None:
        num_processes = max(1, joblib.cpu_count() // int(os.environ.get('LOCAL_WORLD_SIZE', ranks)))
    progress = ProgressLine(unit=unit)
    results = []
    computed = joblib.Parallel(num_processes, return_as='generator')(
        joblib.delayed(function)(*shared, *task) for task in own)
    for result in computed:
        if rank == 0:
            progress(len(results), len(own))
        results.append(result)
    if rank == 0 and own:
        progress(len(own), len(own))
    gathered: list[Any] = [None] * len(tasks)
    for number, part in enumerate(all_gather_object(results)):
        gathered[number::ranks] = part
    return gathered


def voc07_preparation(resize_px: int | None, crop_px: int | None) -> dict[str, Any]:
    """Return how images are prepared and maps pooled: the whole image in a square, a grid of windows."""
    return dict(resize_px=resize_px, crop_px=crop_px, interpolation='bilinear', squash=True, pooling='grid')


def svm_settings(max_iterations: int, features: FeatureFiles) -> dict[str, Any]:
    """Return what decides an SVM protocol's values besides its own arguments."""
    svm = {**SVM_SETTINGS, 'class_weight': {str(sign): weight for sign, weight in
                                            SVM_SETTINGS['class_weight'].items()}}
    manifest = features.manifest
    return dict(svm=dict(**svm, max_iter=max_iterations), feature_scale='1 / (L2 norm + 1e-5)',
                pooling='grid of windows', dimensions=manifest['stages'], **manifest['preparation'])


def write_csv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Write a table, whole or not at all."""
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows(rows)
    with atomic_writer(path) as file:
        file.write(text.getvalue().encode())
