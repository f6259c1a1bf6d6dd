"""Protocols: what an encoder is worth."""

from .knn import knn_accuracy
from .logistic_regression import fit_logistic_regression, linear_accuracy
from .pretraining import pretrain
from .result import Result, portable_path, read_result, sha256

__all__ = ['Result', 'fit_logistic_regression', 'knn_accuracy', 'linear_accuracy', 'portable_path',
           'pretrain', 'read_result', 'sha256']
