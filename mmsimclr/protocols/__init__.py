"""Protocols: what an encoder is worth."""

from .annotation_check import check_annotations, check_benchmark
from .average_precision import average_precision
from .base import Benchmark, Protocol
from .benchmarking import run_benchmark
from .detection import Detection
from .encoder_source import EncoderSource
from .evaluation import Evaluation, evaluate
from .fine_tuning_grid import TransferFineTuning
from .knn import KNN, knn_accuracy, knn_metrics
from .linear import LinearEvaluation
from .linear_per_layer import LinearPerLayer
from .logistic_regression import fit_logistic_regression, linear_accuracy
from .low_shot_svm import LowShotSVM
from .predictions import Predictions, read_predictions
from .pretraining import pretrain
from .result import Result, portable_path, read_result, sha256
from .segmentation import Segmentation
from .semi_supervised import SemiSupervised
from .svm import SVM
from .training import TrainedClassifier, train_classifier
from .transfer import TransferLinear

__all__ = ['KNN', 'SVM', 'Benchmark', 'Detection', 'EncoderSource', 'Evaluation', 'LinearEvaluation',
           'LinearPerLayer', 'LowShotSVM', 'Predictions', 'Protocol', 'Result', 'Segmentation',
           'SemiSupervised', 'TrainedClassifier', 'TransferFineTuning', 'TransferLinear',
           'average_precision', 'check_annotations', 'check_benchmark', 'evaluate',
           'fit_logistic_regression', 'knn_accuracy', 'knn_metrics', 'linear_accuracy', 'portable_path',
           'pretrain', 'read_predictions', 'read_result', 'run_benchmark', 'sha256', 'train_classifier']
