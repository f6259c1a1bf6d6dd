"""Weighted k-nearest-neighbour classifier of features."""

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmsimclr.errors import InputError
from mmsimclr.evaluation.knn import check_vote, knn_votes
from mmsimclr.registry import MODELS


@MODELS.register_module()
class KNNClassifier(BaseModule):
    """Classify features by their ``k`` nearest neighbours in a bank of labelled features.

    Each votes for its class with weight exp(cosine similarity / ``temperature``); ``chunk_size`` queries, >=
    1, are compared with the bank at once.

    Source:
        Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
        section 3.4 (temperature 0.07).
    """

    def __init__(self, k: int = 20, temperature: float = 0.07, chunk_size: int = 1024) -> None:
        super().__init__()
        check_vote(k, temperature)
        if chunk_size < 1:
            raise InputError(f'chunk_size must be >= 1, got {chunk_size}')
        self.k = k
        self.temperature = temperature
        self.chunk_size = chunk_size

    @torch.no_grad()
    def forward(self, queries: Tensor, bank: Tensor, labels: Tensor, num_classes: int) -> Tensor:
        """Return the votes for every class, float32 [Q, num_classes], as :func:`knn_votes` counts them."""
        return knn_votes(queries, bank, labels, num_classes, self.k, self.temperature, self.chunk_size)
