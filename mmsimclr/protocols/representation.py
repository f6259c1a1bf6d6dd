"""The paper's pictures of a representation, in numbers: cosines, spectrum, maps, histograms of crops."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy import ndarray
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from mmsimclr.errors import InputError
from mmsimclr.evaluation.retrieval import unit
from mmsimclr.features.images import preparation_for
from mmsimclr.protocols.base import Benchmark, EncoderSource, Protocol
from mmsimclr.protocols.result import Result
from mmsimclr.protocols.transform_prediction import TransformedImages, transformed_features
from mmsimclr.registry import PROTOCOLS

STAGES = 'pooled', 'projection'
NUM_BINS = 50


@PROTOCOLS.register_module()
class Representation(Protocol):
    """Take the numbers behind the paper's pictures of a representation.

    - Cosines of two views of an image (positive pairs) and of different images (negative pairs), for h, for
      g(h), and for h of an untrained encoder.
    - Eigenvalues of W Wᵀ, where W is the first layer of the projection head (Figure 10, of a linear head).
    - Maps of h and g(h) by t-SNE (Figure 11).
    - Histograms of the pixels of crops, without and with what else the policy does (Figure 6).

    They are the result's ``series``. Its metrics are what one reads off the pictures: mean cosines; the share
    of eigenvalues above 1 % of the largest; how well classes are separated in h and g(h), by the silhouette
    on cosine distances (-1 to 1; Rousseeuw 1987); and how much of the histograms of two crops of an image
    overlaps (0 to 1).

    Args:
        images: Config of labelled images; its pipeline is not used.
        view, crop: The transform of the policy, and that of its crop alone.
        num_crops: Crops of one image whose histograms are kept, >= 2.
        num_mapped: Images of the maps, at least 100.
        resize_px, crop_px: As in :class:`~mmsimclr.protocols.KNN`.

    Source:
        Chen et al. 2020, Figures 6, 10 and 11.
    """

    def __init__(self, images: Mapping[str, Any], view: Mapping[str, Any], crop: Mapping[str, Any],
                 num_crops: int = 4, num_mapped: int = 500, resize_px: int | None = None,
                 crop_px: int | None = None) -> None:
        if num_crops < 2 or num_mapped < 100:
            raise InputError('num_crops must be >= 2 and num_mapped >= 100, got '
                             f'{num_crops} and {num_mapped}')
        self.images, self.steps = images, dict(crop=crop, view=view)
        self.num_crops, self.num_mapped = num_crops, num_mapped
        self.preparation = dict(resize_px=resize_px, crop_px=crop_px)

    def run(self, benchmark: Benchmark) -> Result:
        """Extract features, and return metrics and series."""
        size = preparation_for(benchmark.encoder.backbone, **self.preparation)
        before = replace(benchmark, encoder=EncoderSource(
            None, settings=benchmark.encoder.backbone.settings, seed=benchmark.seed))
        metrics: dict[str, float] = {}
        series: dict[str, list[float]] = {}

        for name, of, stages in (('before', before, STAGES[:1]), ('after', benchmark, STAGES)):
            first, second = (transformed_features(
                of, stages, self.preparation, dataset=self.images, seed=2 * benchmark.seed + number,
                classes=dict(view=(1.0, self.steps['view']))) for number in range(2))
            for stage in stages:
                for kind, values in _cosines(first.stages[stage], second.stages[stage]).items():
                    metrics[f'{kind}_cosine_{stage}_{name}'] = float(values.mean())
                    series[f'{kind}_cosine_{stage}_{name}'] = _histogram(values, (-1, 1))
        series['eigenvalues'] = eigenvalues = _spectrum(benchmark.encoder)
        metrics['large_eigenvalues_share'] = float(np.mean(np.array(eigenvalues) > 0.01 * eigenvalues[0]))

        features = benchmark.features(self.images, STAGES, **self.preparation)
        rows = np.linspace(0, len(features) - 1, min(self.num_mapped, len(features))).astype(int)
        series['labels'] = [int(label) for label in np.asarray(features.labels)[rows]]
        for stage in STAGES:
            mapped = np.asarray(features.stages[stage])[rows]
            score = silhouette_score(mapped, series['labels'], metric='cosine')
            metrics[f'silhouette_{stage}'] = float(score)
            points = TSNE(perplexity=30, init='pca', random_state=benchmark.seed).fit_transform(mapped)
            series[f'map_{stage}_x'], series[f'map_{stage}_y'] = points.T.round(2).tolist()

        for step in self.steps:
            crops = [TransformedImages(self.images, {step: (1.0, self.steps[step])}, seed, size.resize_px,
                                       size.crop_px) for seed in range(self.num_crops)]
            series |= {f'pixels_{step}_{number}': _histogram(images.get_data_info(0)['img'], (0, 256))
                       for number, images in enumerate(crops)}
            overlaps = [_overlap(*(_histogram(images.get_data_info(int(index))['img'], (0, 256))
                                   for images in pair)) for index in rows for pair in pairwise(crops)]
            metrics[f'histogram_overlap_{step}'] = float(np.mean(overlaps))
        return benchmark.result(
            'representation', metrics, dict(images=len(features), mapped=len(rows)),
            dict(view=repr(self.steps['view']), crop=repr(self.steps['crop']), stages=list(STAGES),
                 map='t-SNE, perplexity 30, from the principal components'), series=series)


def _cosines(first: ndarray, second: ndarray) -> dict[str, ndarray]:
    """Return the cosines of the first 2,000 rows with their own and with others' second view."""
    first, second = (unit(np.asarray(part[:2000], np.float64)) for part in (first, second))
    similarity = first @ second.T
    own = np.eye(len(similarity), dtype=bool)
    return dict(positive=similarity[own], negative=similarity[~own])


def _spectrum(encoder: EncoderSource) -> list[float]:
    """Return the eigenvalues of W Wᵀ of the head's first layer, largest first."""
    weights = next((parameter for parameter in encoder.projection_head.parameters() if parameter.ndim == 2),
                   None)
    if weights is None:
        raise InputError('the projection head has no linear layer (num_layers=0), so it has no spectrum')
    values = np.linalg.svd(weights.detach().cpu().double().numpy(), compute_uv=False) ** 2
    return [float(f'{value:.4g}') for value in values]


def _histogram(values: ndarray, span: tuple[float, float]) -> list[float]:
    """Return shares of the values in ``NUM_BINS`` bins of equal width."""
    counts = np.histogram(values, NUM_BINS, span)[0]
    return (counts / max(1, counts.sum())).round(6).tolist()


def _overlap(first: list[float], second: list[float]) -> float:
    return float(np.minimum(first, second).sum())
