"""Linear SVMs on features."""

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from mmsimclr.errors import InputError

#: Costs of the original protocol, in its order: of equal ones the first is chosen.
COSTS = (1.0, 10.0, 100.0, *(0.5 ** power for power in range(4, 20)))
#: Arguments that all SVMs share.
SVM_SETTINGS = dict(penalty='l2', loss='squared_hinge', dual=True, class_weight={1: 2, -1: 1},
                    intercept_scaling=1.0, tol=1e-4)
MAX_ITERATIONS = 2000


def fit_svm(features: np.ndarray, labels: np.ndarray, cost: float, seed: int = 0,
            max_iterations: int = MAX_ITERATIONS) -> tuple[LinearSVC, bool]:
    """Fit scikit-learn's LinearSVC to features [N, C]; return it, and whether it converged.

    Labels are int [N]: 1 present, 0 absent, -1 leave the image out. ``cost`` weighs the errors against the
    margin; ``seed`` decides the order in which liblinear visits the images.

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

    Features [N, C] and [M, C] become float64 [N, min(N, C)] and [M, min(N, C)]. An SVM sees only inner
    products with training images, so N coordinates in the space that these span say all. In the basis of a QR
    decomposition image i has i + 1 of them that are not 0, and liblinear skips zeros.
    """
    train, test = _scaled(train, 'training'), _scaled(test, 'test')
    if len(train) >= train.shape[1]:
        return train, test
    # torch's, not numpy's: with OpenBLAS's threads on busy cores that takes ten times as long as on one.
    basis, coordinates = (part.numpy() for part in torch.linalg.qr(torch.from_numpy(train.T)))
    return np.ascontiguousarray(coordinates.T), test @ basis


def _scaled(rows: np.ndarray, part: str) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise InputError(f'the feature of {part} image {int(np.argmin(np.isfinite(lengths)))} is not finite: '
                         'the encoder diverged or its weights are damaged')
    return rows / (lengths + 1e-5)
