"""Retrieval: rank the images of a gallery for each query, as in person re-identification."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from mmsimclr.errors import InputError
from mmsimclr.evaluation.retrieval import NORMALISE, group_means, rank_gallery, sum_with_mirrored, unit
from mmsimclr.features import describe_stage
from mmsimclr.protocols.base import Benchmark, Protocol, clear_dataset_errors
from mmsimclr.protocols.result import Predictions, Result, feature_names
from mmsimclr.registry import DATASETS, PROTOCOLS

EXCLUDED = {'camera': 'same identity and camera', 'image': 'the query itself', None: 'nothing'}


@PROTOCOLS.register_module()
class Retrieval(Protocol):
    """Rank the images of a gallery by the cosine of their features with the query's.

    Args:
        query: Config of the queries, such as :class:`~mmsimclr.datasets.IdentityImages`. Items have
            ``img_path`` and ``identity``, else ``gt_label``; and ``camera`` for ``exclude='camera'``.
        gallery: Config of the images to rank.
        multi_query: Config of further images of the queries' identities: those of a query's identity and
            camera take its place, by the mean of their features.
        exclude: What is left out of a query's ranking: 'camera', gallery images of its identity and camera;
            'image', the query's own file; None, nothing.
        junk: Identities of gallery images that are left out of every ranking.
        flip: Whether to add the feature of the mirror image.
        normalise: Order of adding and of scaling to length 1: see
            :func:`~mmsimclr.evaluation.retrieval.sum_with_mirrored`.
        size_px: [height, width] that images are resized to; None for what the encoder expects.
        ranks: Ranks of the cumulative matching characteristic.
        feature: The features, a stage of :class:`~mmsimclr.features.Embedder`.

    Source:
        Zheng et al. 2015, Market-1501. 'after' is of github.com/layumi/Person_reID_baseline_pytorch
        (test.py), 'first' of github.com/wanggrun/SYSU-30k (Self-Supervised-ReID/test_sysu_combine.py).
    """

    def __init__(self, query: dict, gallery: dict, multi_query: dict | None = None,
                 exclude: str | None = 'camera', junk: Sequence[str] = ('-1',), flip: bool = True,
                 normalise: str = 'after', size_px: Sequence[int] | None = (256, 128),
                 ranks: Sequence[int] = (1, 5, 10), feature: str = 'pooled') -> None:
        for name, value, accepted in (('exclude', exclude, EXCLUDED), ('normalise', normalise, NORMALISE)):
            if value not in accepted:
                raise InputError(f'{name} must be one of {", ".join(map(str, accepted))}, got {value!r}')
        if not ranks or min(ranks) < 1:
            raise InputError(f'ranks must be >= 1, and at least one number, got {list(ranks)}')
        if multi_query and exclude != 'camera':
            raise InputError(f"multi_query needs cameras, exclude='camera', got {exclude!r}")
        self.datasets = dict(query=query, gallery=gallery) | (
            dict(multi_query=multi_query) if multi_query else {})
        self.exclude, self.junk, self.flip, self.normalise = exclude, [*map(str, junk)], flip, normalise
        self.preparation = {} if size_px is None else dict(crop_px=[*size_px])
        self.ranks, self.feature = sorted(ranks), feature

    def run(self, benchmark: Benchmark) -> Result:
        """Extract features, rank the gallery, and return rank-k accuracies and mean average precision."""
        names = {part: self._names(dataset) for part, dataset in self.datasets.items()}
        people, views = (_as_numbers({part: columns[i] for part, columns in names.items()}) for i in (0, 1))
        people['gallery'][np.isin(names['gallery'][0], self.junk)] = -1
        rows = {part: self._features(benchmark, dataset) for part, dataset in self.datasets.items()}
        queries, files = rows['query']
        if 'multi_query' in rows:
            cameras = 1 + max(numbers.max() for numbers in views.values())
            groups = [people[part] * cameras + views[part] for part in ('multi_query', 'query')]
            queries = group_means(rows['multi_query'][0], *groups, queries)
        found = rank_gallery(queries, rows['gallery'][0], people['query'], people['gallery'],
                             *(() if self.exclude is None else (views['query'], views['gallery'])))
        metrics = {f'rank_{rank}_accuracy_percent': found.cmc(rank) for rank in self.ranks}
        metrics |= {f'map_{name}_percent': found.mean_average_precision(name == 'trapezoid')
                    for name in ('trapezoid', 'plain')}
        first = np.where(found.best < 0, -1, people['gallery'][found.best])
        return benchmark.result(
            'retrieval', metrics, {part: len(columns[0]) for part, columns in names.items()},
            dict(identities=len({*people['query'].tolist()}), left_out=EXCLUDED[self.exclude],
                 junk=int((people['gallery'] == -1).sum()),
                 queries_without_match=sum(not len(places) for places in found.places),
                 mirrored=f'added, normalised {self.normalise}' if self.flip else 'not used',
                 feature=describe_stage(self.feature), similarity='cosine', **files.manifest['preparation']),
            Predictions(people['query'], first, feature_names(files)))

    def _names(self, dataset: Mapping[str, Any]) -> tuple[ndarray, ndarray]:
        """Return identities, and the cameras or files that are left out with them, of a dataset, str [N]."""
        with clear_dataset_errors():
            images = DATASETS.build(dict(dataset))
        key = {'camera': 'camera', 'image': 'img_path', None: ''}[self.exclude]
        items = [images.get_data_info(index) for index in range(len(images))]
        names = np.array([item.get('identity', item.get('gt_label')) for item in items], str)
        views = np.array([item.get(key, '') for item in items], str)
        if key and (views == '').any():
            raise InputError(f'exclude={self.exclude!r} needs the {key} of every image, and '
                             f'{np.count_nonzero(views == "")} of {len(views)} have none; '
                             "exclude='image' leaves only the query itself out, None nothing")
        return names, views

    def _features(self, benchmark: Benchmark, dataset: Mapping[str, Any]) -> tuple[ndarray, Any]:
        """Return unit features, float32 [N, D], and the files they were made of."""
        files = benchmark.features(dataset, self.feature, **self.preparation)
        rows = files.stages[self.feature]
        if not self.flip:
            return unit(rows), files
        mirrored = benchmark.features(dataset, self.feature, mirrored=True, **self.preparation)
        # In pieces: the files of a large gallery are not read at once.
        parts = [slice(start, start + 4096) for start in range(0, len(rows), 4096)]
        return np.concatenate([sum_with_mirrored(rows[part], mirrored.stages[self.feature][part],
                                                 self.normalise) for part in parts]), files


def _as_numbers(names: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """Return numbers for names, equal for equal names of any part."""
    _, numbers = np.unique(np.concatenate([*names.values()]), return_inverse=True)
    return dict(zip(names, np.split(numbers, np.cumsum([*map(len, names.values())])[:-1]), strict=True))
