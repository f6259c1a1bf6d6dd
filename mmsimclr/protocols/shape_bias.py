"""Shape bias: whether an encoder's classifier decides cue-conflict stimuli by shape or by texture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray

from mmsimclr import checkpoints, distributed
from mmsimclr.errors import InputError
from mmsimclr.evaluation.knn import knn_votes
from mmsimclr.evaluation.logistic_regression import regression_path
from mmsimclr.evaluation.shape_bias import Decisions, category_classes, category_decisions
from mmsimclr.features import describe_stage
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.result import Predictions, Result, portable_path
from mmsimclr.registry import PROTOCOLS


@PROTOCOLS.register_module()
class ShapeBias(Protocol):
    """Decide the category of each stimulus, and count decisions for its shape and for its texture.

    The classifier is a linear one of ImageNet's 1000 classes, whose probabilities are averaged over the
    classes of each of 16 categories. With ``train`` it is one of the categories themselves; such results have
    a name of their own, since the published numbers are of the former.

    Args:
        images: Config of the stimuli, files such as ``airplane1-bicycle2.png``.
        classifier: Checkpoint of the linear classifier; by default the encoder's own.
        train: Config of images whose classes are the categories, ImageNet's 1000, or some of these by WordNet
            id; those of no category are left out.
        k: Neighbours of k-NN, votes weighted by exp(similarity / 0.07); None for logistic regression.
        l2: Regularisation of the logistic regression, as of :class:`TransferLinear`.
        resize_px, crop_px, feature: As of :class:`KNN`.

    Source: Geirhos et al. 2019, ImageNet-trained CNNs are biased towards texture; model-vs-human.
    """

    def __init__(self, images: dict, classifier: str | None = None, train: dict | None = None,
                 k: int | None = None, l2: float = 1e-3, resize_px: int | None = None,
                 crop_px: int | None = None, feature: str = 'pooled') -> None:
        if classifier and train:
            raise InputError('give classifier, one of ImageNet, or train, to fit another, not both')
        self.images, self.classifier, self.train, self.k, self.l2 = images, classifier, train, k, l2
        self.feature, self.preparation = feature, dict(resize_px=resize_px, crop_px=crop_px)

    def run(self, benchmark: Benchmark) -> Result:
        """Decide, write ``decisions.csv``, and return the bias, over all and by shape, in percent."""
        files = benchmark.features(self.images, self.feature, **self.preparation)
        rows, names = np.array(files.stages[self.feature]), np.array(list(category_classes()))
        name, counts, source = 'shape bias', {}, self.classifier or benchmark.encoder.checkpoint
        if self.train is not None:
            train = benchmark.features(self.train, self.feature, part='train', **self.preparation)
            labels = _categories(train.labels, train.manifest['images']['classes'])
            fit = np.array(train.stages[self.feature])[labels >= 0], labels[labels >= 0]
            counts = dict(train=len(fit[0]))
            if self.k is None:
                name, settings = f'{name} by logistic regression', dict(l2=self.l2)
                classifier, = regression_path(*fit, len(names), [self.l2])
                responses = names[classifier.scores(rows).argmax(axis=1)]
            else:
                name, settings = f'{name} by k-NN', dict(k=self.k, temperature=0.07)
                votes = knn_votes(*map(torch.from_numpy, (rows, *fit)), len(names), **settings)
                responses = names[votes.argmax(dim=1).numpy()]
        elif source is None:
            raise InputError('a randomly initialised encoder has no classifier: give protocol.classifier')
        else:
            known = None if self.classifier else benchmark.encoder.weights.sha256
            weight, bias = checkpoints.read_linear_classifier(source, 1000, rows.shape[1], known)
            responses = category_decisions(rows @ weight.numpy().T + bias.numpy())
            settings = dict(classifier=portable_path(source))
        encoder = Path(benchmark.encoder.checkpoint or 'random initialisation')
        decisions = Decisions('/'.join(encoder.parts[-2:]), [*files.paths], responses)
        if distributed.rank() == 0:
            decisions.write(benchmark.path_beside_result('decisions.csv'))
        found = decisions.bias()
        if not found.num_shape + found.num_texture:
            raise InputError(f'no decision on {found.num_conflicts} stimuli with a conflict is for shape or '
                             'texture, so there is no shape bias')
        return benchmark.result(
            name,
            dict(shape_bias_percent=found.percent,
                 shape_decisions_percent=100 * found.num_shape / found.num_conflicts,
                 texture_decisions_percent=100 * found.num_texture / found.num_conflicts,
                 **{f'shape_bias_{name}_percent': value for name, value in decisions.by_category().items()}),
            dict(**counts, conflicts=found.num_conflicts, test=len(files)),
            dict(interval_95_percent=[round(end, 2) for end in found.interval(seed=benchmark.seed)],
                 **settings, feature=describe_stage(self.feature), **files.manifest['preparation']),
            Predictions(*np.searchsorted(names, [decisions.shape, decisions.response]),
                        np.array(decisions.stimuli)))


def _categories(labels: ndarray, classes: Sequence[str]) -> ndarray:
    """Return the category's number of each image, int64 [N], -1 for none."""
    by_class = {key: number for number, (name, members) in enumerate(category_classes().items())
                for key in (name, *members, *(members.values() if len(classes) == 1000 else ()))}
    lookup = np.array([by_class.get(name, by_class.get(number, -1)) for number, name in enumerate(classes)])
    found = np.full(0, -1) if labels is None or not len(classes) else lookup[labels]
    if missing := [name for number, name in enumerate(category_classes()) if number not in found]:
        raise InputError('train must have images of all 16 categories, in folders named by them or by '
                         f'WordNet id; there are none of {", ".join(missing)}')
    return found
