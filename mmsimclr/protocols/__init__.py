"""Protocols that measure an encoder."""

from mmsimclr.evaluation import knn_accuracy

from .base import Benchmark, EncoderSource, Protocol, run_benchmark
from .classification import LinearEvaluation, LinearPerLayer, SemiSupervised, Supervised
from .downstream import Detection, Segmentation, check_annotations, check_benchmark
from .health import Health
from .knn import KNN
from .pretraining import pretrain
from .representation import Representation
from .result import Predictions, Result, portable_path, read_predictions, read_result
from .retrieval import Retrieval
from .shape_bias import ShapeBias
from .svm import SVM, LowShotSVM
from .training import Evaluation, TrainedClassifier, evaluate, train_classifier
from .transfer import TransferFineTuning, TransferLinear
from .transform_prediction import TransformPrediction
