"""A benchmark whose features are given, to know what must come out."""

from pathlib import Path

import numpy as np
from mmengine.config import Config

from mmsimclr.features import FeatureFiles
from mmsimclr.protocols import Benchmark, EncoderSource


class FixedFeatures(Benchmark):
    """Returns the features of a part in place of extracting those of a dataset.

    Args:
        folder: Where results go.
        train: Features [N, C] and labels.
        test: Features [M, C] and labels.
        stage: Name of the layer.
    """

    def __init__(self, folder: Path, train: tuple, test: tuple, stage: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        source = EncoderSource(None, settings=dict(depth=18, base_channels=4))
        super().__init__(source, Config(), folder, folder, device='cpu')
        self.parts, self.stage = dict(train=train, test=test), stage

    def features(self, dataset: dict, stages: str | tuple = 'pooled', **preparation) -> FeatureFiles:
        """Return the part that ``dataset`` names."""
        rows, labels = self.parts[dataset['type']]
        manifest = dict(images=dict(classes=[]), stages={self.stage: rows.shape[1]}, preparation={})
        return FeatureFiles({self.stage: rows}, None, labels, manifest)


PARTS = dict(train=dict(type='train'), test=dict(type='test'))


def clusters(num_train: int = 120, num_test: int = 300, num_classes: int = 4, seed: int = 0) -> tuple:
    """Return (features, labels) for training and test, classes around directions of their own."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(num_classes, 12))
    parts = []
    for number in (num_train, num_test):
        labels = random.permutation(np.arange(number) % num_classes)
        rows = centres[labels] + 0.8 * random.normal(size=(number, 12))
        parts.append((rows.astype(np.float32), labels))
    return tuple(parts)
