"""Weighted k-nearest-neighbour classifier of features."""

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmsimclr.errors import InputError
from mmsimclr.evaluation.knn import nearest_neighbours, vote
from mmsimclr.registry import MODELS


@MODELS.register_module()
class KNNClassifier(BaseModule):
    """Classify features by their nearest neighbours in a bank of labelled features.

    Similarity is the cosine; each of the k neighbours votes for its class with weight
    exp(similarity / temperature).

    Args:
        k: Number of neighbours, >= 1; at most the size of the bank is used.
        temperature: Temperature of the votes, dimensionless, > 0.
        chunk_size: Queries compared with the whole bank at once; bounds memory to
            chunk_size x bank size floats.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
        section 3.4 (temperature 0.07).
    """

    def __init__(self, k: int = 20, temperature: float = 0.07, chunk_size: int = 1024) -> None:
        super().__init__()
        if k < 1 or chunk_size < 1:
            raise InputError(f'k and chunk_size must be >= 1, got {k} and {chunk_size}')
        if not temperature > 0:
            raise InputError(f'temperature must be > 0, got {temperature} (0.07 is usual)')
        self.k = k
        self.temperature = temperature
        self.chunk_size = chunk_size

    @torch.no_grad()
    def forward(self, queries: Tensor, bank: Tensor, labels: Tensor, num_classes: int) -> Tensor:
        """Return the votes for every class.

        Args:
            queries: Features to classify, float [Q, D]; need not be unit norm.
            bank: Labelled features, float [B, D].
            labels: Classes of the bank, int64 [B], in [0, num_classes).
            num_classes: Number of classes.

        Returns:
            Votes, float32 [Q, num_classes]; the row's largest is the predicted class.

        Raises:
            ValueError: If shapes disagree, the bank is empty, a label is out of range, or a feature is
                not finite.
        """
        self._check(queries, bank, labels, num_classes)
        similarity, index = nearest_neighbours(queries, bank, self.k, self.chunk_size)
        return vote(similarity, labels.to(bank.device)[index], num_classes, self.temperature)

    @staticmethod
    def _check(queries: Tensor, bank: Tensor, labels: Tensor, num_classes: int) -> None:
        if queries.ndim != 2 or bank.ndim != 2 or queries.shape[1] != bank.shape[1]:
            raise InputError('queries and bank must be [Q, D] and [B, D], got '
                             f'{list(queries.shape)} and {list(bank.shape)}')
        if len(bank) == 0 or labels.shape != (len(bank),):
            raise InputError('the bank must hold at least one feature and as many labels, got '
                             f'{len(bank)} features and labels of shape {list(labels.shape)}')
        if labels.min() < 0 or labels.max() >= num_classes:
            raise InputError(f'labels must be in [0, {num_classes}), got '
                             f'{int(labels.min())} to {int(labels.max())}')
        for name, features in (('queries', queries), ('bank', bank)):
            if not torch.isfinite(features).all():
                raise InputError(f'{name} holds features that are not finite: the encoder diverged '
                                 'or its weights are damaged')
