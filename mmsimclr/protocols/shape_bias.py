"""Shape bias: whether an encoder's classifier decides cue-conflict stimuli by shape or by texture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from mmsimclr import checkpoints, distributed
from mmsimclr.errors import InputError
from mmsimclr.evaluation.knn import check_vote, knn_votes
from mmsimclr.evaluation.logistic_regression import regression_path
from mmsimclr.evaluation.shape_bias import (
    Decisions,
    category_classes,
    category_decisions,
    error_consistency,
    read_decisions,
)
from mmsimclr.features import describe_stage
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.result import Predictions, Result
from mmsimclr.registry import PROTOCOLS

#: Ways to decide, and the protocols' names: only the first is that of published numbers.
NAMES = {'imagenet': 'shape bias', 'logistic': 'shape bias by logistic regression',
         'knn': 'shape bias by k-NN'}


@PROTOCOLS.register_module()
class ShapeBias(Protocol):
    """Decide the category of each stimulus, and count decisions for its shape and for its texture.

    Args:
        images: Config of the stimuli, files such as ``airplane1-bicycle2.png``.
        by: 'imagenet': a linear classifier of ImageNet's 1000 classes, whose probabilities are averaged over
            the classes of each of 16 categories; 'logistic' or 'knn': a classifier of the categories
            themselves, fitted to ``train``, whose results are reported under a name of their own.
        classifier: With 'imagenet', the checkpoint of the classifier; by default the encoder's own.
        train: With 'logistic' and 'knn', config of images whose classes are the categories, ImageNet's 1000,
            or some of these by WordNet id. Classes of no category are left out.
        l2, k, temperature: As of :class:`TransferLinear` and :class:`KNN`.
        observers: Files of others' decisions, to measure the error consistency with.
        resize_px, crop_px, feature: As of :class:`KNN`.

    Source:
        Geirhos et al. 2019, ImageNet-trained CNNs are biased towards texture; model-vs-human.
    """

    def __init__(self, images: dict, by: str = 'imagenet', classifier: str | None = None,
                 train: dict | None = None, l2: float = 1e-3, k: int = 20, temperature: float = 0.07,
                 observers: Sequence[str] = (), resize_px: int | None = None, crop_px: int | None = None,
                 feature: str = 'pooled') -> None:
        if by not in NAMES or (train is None) != (by == 'imagenet'):
            raise InputError(f'by must be one of {", ".join(NAMES)}, with train for all but the first, got '
                             f'{by!r} {"without" if train is None else "with"} train')
        check_vote(k, temperature)
        self.images, self.by, self.classifier, self.train = images, by, classifier, train
        self.settings = dict(imagenet={}, logistic=dict(l2=l2), knn=dict(k=k, temperature=temperature))[by]
        self.observers, self.feature = observers, feature
        self.preparation = dict(resize_px=resize_px, crop_px=crop_px)

    def run(self, benchmark: Benchmark) -> Result:
        """Decide, write ``decisions.csv``, and return the bias, over all and by shape, in percent."""
        others = [read_decisions(path) for path in self.observers]
        files = benchmark.features(self.images, self.feature, **self.preparation)
        rows, settings, num_train = files.stages[self.feature], dict(self.settings), {}
        if self.by == 'imagenet':
            source = self.classifier or benchmark.encoder.checkpoint
            if source is None:
                raise InputError('a randomly initialised encoder has no classifier: give protocol.classifier')
            weight, bias, address = checkpoints.read_linear_classifier(source, 1000, rows.shape[1])
            settings['classifier'] = f'{Path(source).name}, {address}'
            responses = category_decisions(rows @ weight.numpy().T + bias.numpy())
        else:
            train = benchmark.features(self.train, self.feature, **self.preparation)
            labels = _categories(train.labels, train.manifest['images']['classes'])
            num_train = dict(train=int((labels >= 0).sum()))
            responses = self._decide(np.array(train.stages[self.feature])[labels >= 0], labels[labels >= 0],
                                     np.array(rows))
        encoder = benchmark.encoder.checkpoint or 'random initialisation'
        decisions = Decisions('/'.join(Path(encoder).parts[-2:]), [*files.paths], responses)
        if distributed.rank() == 0:
            decisions.write(benchmark.path_beside_result('decisions.csv'))
        found = decisions.bias()
        if not found.num_shape + found.num_texture:
            raise InputError(f'no decision on {found.num_conflicts} stimuli with a conflict is for shape or '
                             'texture, so there is no shape bias')
        metrics = dict(
            shape_bias_percent=found.percent,
            shape_decisions_percent=100 * found.num_shape / found.num_conflicts,
            texture_decisions_percent=100 * found.num_texture / found.num_conflicts,
            **{f'shape_bias_{name}_percent': value for name, value in decisions.by_category().items()},
            **{f'error_consistency_{other.observer}': error_consistency(decisions, other)[0]
               for other in others})
        known = list(category_classes())
        shape, decided = (np.array([known.index(name) for name in names])
                          for names in (decisions.shape, decisions.response))
        return benchmark.result(
            NAMES[self.by], metrics, dict(**num_train, conflicts=found.num_conflicts, test=len(files)),
            dict(interval_95_percent=[round(end, 2) for end in found.interval(seed=benchmark.seed)],
                 **settings, feature=describe_stage(self.feature), **files.manifest['preparation']),
            Predictions(shape, decided, np.array(decisions.stimuli)))

    def _decide(self, rows: ndarray, labels: ndarray, stimuli: ndarray) -> ndarray:
        names = np.array(list(category_classes()))
        if self.by == 'logistic':
            classifier, = regression_path(rows, labels, len(names), [self.settings['l2']])
            return names[classifier.scores(stimuli).argmax(axis=1)]
        votes = knn_votes(*map(torch.from_numpy, (stimuli, rows, labels)), len(names), **self.settings)
        return names[votes.argmax(dim=1).numpy()]


def _categories(labels: ndarray, classes: Sequence[str]) -> ndarray:
    """Return the category's number of each image, int64 [N], -1 for none."""
    by_class: Mapping[Any, int] = {
        key: number for number, (name, members) in enumerate(category_classes().items())
        for key in (name, *members, *(members.values() if len(classes) == 1000 else ()))}
    lookup = np.array([by_class.get(name, by_class.get(number, -1)) for number, name in enumerate(classes)])
    found = np.full(0, -1) if labels is None or not len(classes) else lookup[labels]
    if missing := [name for number, name in enumerate(category_classes()) if number not in found]:
        raise InputError('train must have images of all 16 categories, in folders named by them or by '
                         f'WordNet id; there are none of {", ".join(missing)}')
    return found
