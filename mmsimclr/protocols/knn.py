"""k nearest neighbours in the space of features."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from mmsimclr import distributed
from mmsimclr.errors import InputError
from mmsimclr.evaluation.knn import check_vote, largest, nearest_neighbours, vote
from mmsimclr.features import describe_stage
from mmsimclr.protocols.base import Benchmark, Protocol, class_names, count_classes
from mmsimclr.protocols.duplicates import look_for_duplicates
from mmsimclr.protocols.result import Predictions, Result, feature_names
from mmsimclr.registry import PROTOCOLS


@PROTOCOLS.register_module()
class KNN(Protocol):
    """Classify test images by the classes of the nearest training images.

    Features are by default the encoder's last map averaged over positions. Similarity is the cosine, and each
    neighbour votes for its class with weight exp(similarity / temperature).

    Args:
        train, test: Configs of the labelled images and of those to classify; their pipelines are not used.
        k: Numbers of neighbours, each >= 1.
        temperature: Temperature of the votes, dimensionless, > 0.
        resize_px: Short side of the images, in pixels; by default what the encoder expects.
        crop_px: Side of the central crop, in pixels.
        feature: The features, a stage of :class:`~mmsimclr.features.Embedder`, e.g. ``'projection'``.

    Source:
        Wu et al. 2018, section 3.4; MMSelfSup's benchmark for k and temperature.
    """

    lists_duplicates = True

    def __init__(self, train: dict, test: dict, k: Sequence[int] = (10, 20, 100, 200),
                 temperature: float = 0.07, resize_px: int | None = None, crop_px: int | None = None,
                 feature: str = 'pooled') -> None:
        if not k:
            raise InputError('k must name at least one number of neighbours')
        check_vote(min(k), temperature)
        self.datasets = dict(train=train, test=test)
        self.k, self.temperature, self.feature = sorted(k), temperature, feature
        self.preparation = dict(resize_px=resize_px, crop_px=crop_px)

    def run(self, benchmark: Benchmark) -> Result:
        """Extract features, compare them, and return top-1 and top-5 accuracy for each k, in percent."""
        train, test = (benchmark.features(dataset, self.feature, part=part, **self.preparation)
                       for part, dataset in self.datasets.items())
        class_names(train, test)                                         # the same, and in the same order
        count_classes('k-NN', train.labels, test.labels)
        if train.labels.ndim != 1:
            raise InputError(f'k-NN needs one class for each image, got labels {list(train.labels.shape)}')
        found = shared_search(train.stages[self.feature], test.stages[self.feature], max(self.k),
                              benchmark.device)
        look_for_duplicates(benchmark, train, test, *(part[:, 0].cpu().numpy() for part in found))
        metrics, predicted = accuracies(*found, train.labels, test.labels, self.k, self.temperature)
        best = max(self.k, key=lambda k: metrics[f'top_1_accuracy_k{k}_percent'])
        return benchmark.result(
            'k-NN', metrics, dict(train=len(train), test=len(test)),
            dict(k=self.k, temperature=self.temperature, feature=describe_stage(self.feature),
                 similarity='cosine', predictions=f'k={best}, the best on test',
                 **train.manifest['preparation']),
            Predictions(test.labels, predicted[best], feature_names(test)))


def shared_search(bank: ndarray, queries: ndarray, k: int, device: str = 'cpu') -> tuple[Tensor, Tensor]:
    """Return similarities and rows [Q, k] of the nearest features, each rank having searched for a share."""
    rank, ranks = distributed.rank(), distributed.world_size()
    share = queries[rank * len(queries) // ranks:(rank + 1) * len(queries) // ranks]
    found = [part.cpu().numpy() for part in nearest_neighbours(share, bank, k, device=device)]
    similarity, rows = (torch.from_numpy(np.concatenate(parts)).to(device)
                        for parts in zip(*distributed.from_every_rank(found), strict=True))
    return similarity, rows


def accuracies(similarity: Tensor, rows: Tensor, bank_labels: ndarray, query_labels: ndarray,
               k: Sequence[int], temperature: float) -> tuple[dict[str, float], dict[int, ndarray]]:
    """Return top-1 and top-5 accuracy in percent by name, and the predicted classes, int64 [Q], by k.

    Similarities and rows are those of :func:`shared_search`; classes are int64 [B] and [Q]. A class without
    votes is in no top 5. Of classes with equal votes the one with the lower number goes first.
    """
    num_classes, device = int(bank_labels.max()) + 1, rows.device
    labels = torch.from_numpy(np.array(bank_labels)).to(device)[rows]                         # [Q, k]
    truth = torch.from_numpy(np.array(query_labels)).to(device)
    metrics, predicted = {}, {}
    for number in k:
        hits, classes = [], []
        for chunk in torch.arange(len(truth), device=device).split(4096):
            votes = vote(similarity[chunk, :number], labels[chunk, :number], num_classes, temperature)
            ranked = largest(votes, min(5, num_classes))
            hits.append((ranked == truth[chunk, None]) & (votes.gather(1, ranked) > 0))
            classes.append(ranked[:, 0])
        hit, predicted[number] = torch.cat(hits), torch.cat(classes).cpu().numpy()
        metrics[f'top_1_accuracy_k{number}_percent'] = 100 * int(hit[:, 0].sum()) / len(truth)
        metrics[f'top_5_accuracy_k{number}_percent'] = 100 * int(hit.any(dim=1).sum()) / len(truth)
    return metrics, predicted
