"""Numerics of evaluation: metrics, k-NN, logistic regression, linear SVM, significance."""

from .logistic_regression import fit_logistic_regression, linear_accuracy
from .metrics import average_precision

__all__ = ['average_precision', 'fit_logistic_regression', 'linear_accuracy']
