"""Retrieval: rank the images of a gallery for each query, as in person re-identification."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from mmsimclr.errors import InputError
from mmsimclr.evaluation import retrieval as numerics
from mmsimclr.features import describe_stage
from mmsimclr.protocols.base import Benchmark, Protocol, clear_dataset_errors
from mmsimclr.protocols.result import Predictions, Result, feature_names
from mmsimclr.registry import DATASETS, PROTOCOLS

# What is left out of a query's ranking, and the entry of an item by which it is known.
EXCLUDED = {'camera': 'camera', 'image': 'img_path', None: ''}


@PROTOCOLS.register_module()
class Retrieval(Protocol):
    """Rank the images of a gallery by the cosine of their features with the query's.

    Args:
        query, gallery: Configs of images, such as :class:`~mmsimclr.datasets.IdentityImages`.
        multi_query: Further images: those of a query's identity and camera take its place, by their mean.
        exclude: 'camera' leaves gallery images of the query's identity and camera out of its ranking;
            'image' the query's own file; None nothing.
        junk: Identities of gallery images that are left out of every ranking.
        flip: Whether to add the feature of the mirror image.
        normalise: See :func:`~mmsimclr.evaluation.retrieval.sum_with_mirrored`. 'after' is of
            github.com/layumi/Person_reID_baseline_pytorch (test.py), 'first' of
            github.com/wanggrun/SYSU-30k (Self-Supervised-ReID/test_sysu_combine.py).
        size_px: [height, width] that images are resized to; None for what the encoder expects.
        ranks: Ranks to report.
        feature: The features, a stage of :class:`~mmsimclr.features.Embedder`.

    Source: Zheng et al. 2015, Market-1501.
    """

    def __init__(self, query: dict, gallery: dict, multi_query: dict | None = None,
                 exclude: str | None = 'camera', junk: Sequence[str] = ('-1',), flip: bool = True,
                 normalise: str = 'after', size_px: Sequence[int] | None = (256, 128),
                 ranks: Sequence[int] = (1, 5, 10), feature: str = 'pooled') -> None:
        for name, value, accepted in (('exclude', exclude, EXCLUDED),
                                      ('normalise', normalise, numerics.NORMALISE)):
            if value not in accepted:
                raise InputError(f'{name} must be one of {", ".join(map(str, accepted))}, got {value!r}')
        if multi_query and exclude != 'camera':
            raise InputError(f"multi_query needs cameras, exclude='camera', got {exclude!r}")
        datasets = dict(query=query, gallery=gallery, multi_query=multi_query)
        self.datasets = {part: dataset for part, dataset in datasets.items() if dataset}
        self.exclude, self.junk, self.flip, self.normalise = exclude, [*map(str, junk)], flip, normalise
        self.preparation = {} if size_px is None else dict(crop_px=[*size_px])
        self.ranks, self.feature = sorted(ranks), feature

    def run(self, benchmark: Benchmark) -> Result:
        """Extract features, rank the gallery, and return rank-k accuracies and mean average precision."""
        names = {part: self._names(dataset) for part, dataset in self.datasets.items()}
        people, views = ({part: both[i] for part, both in names.items()} for i in (0, 1))
        found = {part: self._features(benchmark, dataset, part) for part, dataset in self.datasets.items()}
        queries, files = found['query']
        if 'multi_query' in found:
            rows = found['multi_query'][0]
            own = [(people['multi_query'] == person) & (views['multi_query'] == camera)
                   for person, camera in zip(people['query'], views['query'], strict=True)]
            queries = np.array([rows[mask].mean(axis=0) if mask.any() else query
                                for mask, query in zip(own, queries, strict=True)])
        junk = np.isin(people['gallery'], self.junk)
        places, best = numerics.rank_gallery(
            queries, found['gallery'][0], people['query'], people['gallery'], junk,
            *((views['query'], views['gallery']) if self.exclude else ()))
        metrics = {f'rank_{rank}_accuracy_percent': numerics.rank_accuracy(places, rank)
                   for rank in self.ranks}
        metrics |= {f'map_{name}_percent': numerics.mean_average_precision(places, name == 'trapezoid')
                    for name in ('trapezoid', 'plain')}
        first = np.where(best < 0, 'none', people['gallery'][best])
        numbers = np.unique([people['query'], first], return_inverse=True)[1].reshape(2, -1)
        return benchmark.result(
            'retrieval', metrics, {part: len(names) for part, names in people.items()},
            dict(identities=len({*people['query']}), exclude=self.exclude, junk=int(junk.sum()),
                 queries_without_match=sum(not len(each) for each in places),
                 mirrored=f'added, normalised {self.normalise}' if self.flip else 'not used',
                 feature=describe_stage(self.feature), **files.manifest['preparation']),
            Predictions(*numbers, feature_names(files)))

    def _names(self, dataset: Mapping[str, Any]) -> tuple[ndarray, ndarray]:
        """Return identities, and the cameras or files that are left out with them, of a dataset, str [N]."""
        with clear_dataset_errors():
            images = DATASETS.build(dict(dataset))
        key, items = EXCLUDED[self.exclude], [images.get_data_info(index) for index in range(len(images))]
        views = np.array([item.get(key, '') for item in items], str)
        if key and (views == '').any():
            raise InputError(f'exclude={self.exclude!r} needs the {key} of every image, and '
                             f'{np.count_nonzero(views == "")} of {len(views)} have none; '
                             "exclude='image' leaves only the query itself out, None nothing")
        return np.array([item.get('identity', item.get('gt_label')) for item in items], str), views

    def _features(self, benchmark: Benchmark, dataset: Mapping[str, Any], part: str = 'test'
                  ) -> tuple[ndarray, Any]:
        """Return unit features, float32 [N, D], and the files they were made of."""
        files = benchmark.features(dataset, self.feature, part=part, **self.preparation)
        rows = files.stages[self.feature]
        if not self.flip:
            return numerics.unit(rows), files
        mirrored = benchmark.features(dataset, self.feature, part=part, mirrored=True, **self.preparation)
        # In pieces: the files of a large gallery are not read at once.
        return np.concatenate([numerics.sum_with_mirrored(
            rows[start:start + 4096], mirrored.stages[self.feature][start:start + 4096], self.normalise)
            for start in range(0, len(rows), 4096)]), files
