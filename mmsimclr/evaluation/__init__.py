"""Numerics of evaluation: metrics, k-NN, logistic regression, linear SVM, significance, health."""

from .knn import knn_accuracy, knn_votes, nearest_neighbours
from .logistic_regression import fit_logistic_regression, linear_accuracy, regression_path
from .metrics import (
    average_precision,
    eleven_point_map,
    mean_average_precision,
    mean_class_accuracy,
    top_1_accuracy,
)
from .significance import mcnemar_test, permutation_test
