"""Near-duplicates across training and test images, which flatter a test."""

from typing import Any

import numpy as np
from numpy import ndarray

from mmsimclr import distributed
from mmsimclr.evaluation.atlas import DUPLICATE_SIMILARITY, same_picture
from mmsimclr.evaluation.knn import nearest_neighbours
from mmsimclr.features import FeatureFiles
from mmsimclr.features.thumbnails import COMPARED_PX, thumbnail
from mmsimclr.protocols.result import feature_names, write_csv

#: Share of the test images, in percent, above which a protocol warns.
WARN_ABOVE_PERCENT = 1.0
# Without --dedupe: pairs whose pixels are read, and comparisons of features, which take some seconds.
MAX_COMPARED, MAX_SEARCHED = 256, 10 ** 8


def look_for_duplicates(benchmark: Any, train: FeatureFiles, test: FeatureFiles,
                        similarity: ndarray | None = None, rows: ndarray | None = None) -> None:
    """Warn where test images are among the training images; with ``dedupe`` list them in the work directory.

    Args:
        benchmark: The :class:`~mmsimclr.protocols.Benchmark`, whose logger warns and whose result says it.
        train: Features of the training images.
        test: Features of the M test images.
        similarity: Cosine of each test image and its nearest training image, [M]; None to search for it.
        rows: That training image, [M].
    """
    if distributed.rank() or (similarity is None and not benchmark.dedupe
                              and len(train) * len(test) > MAX_SEARCHED):
        return
    if similarity is None:
        stage = [*train.stages][-1]                         # the deepest
        similarity, rows = (part[:, 0].cpu().numpy() for part in nearest_neighbours(
            test.stages[stage], train.stages[stage], 1, device=benchmark.device))
    found, share = _confirmed(train, test, similarity, rows, everything=benchmark.dedupe)
    if share > WARN_ABOVE_PERCENT:
        benchmark.logger.warning(
            f'{share:.1f} % of the test images show the same picture as a training image, so the result is '
            'too good' + ('' if benchmark.dedupe else '; --dedupe lists them'))
    if share > WARN_ABOVE_PERCENT or benchmark.dedupe:
        benchmark.notes['near_duplicates_percent'] = share
    if benchmark.dedupe:
        names = feature_names(test), feature_names(train)
        write_csv(benchmark.path_beside_result('duplicates.csv'), [('test', 'train', 'cosine'), *(
            (names[0][i], names[1][rows[i]], f'{similarity[i]:.4f}') for i in found)])


def _confirmed(train: FeatureFiles, test: FeatureFiles, similarity: ndarray, rows: ndarray,
               everything: bool) -> tuple[ndarray, float]:
    """Return test images that show the same picture as their nearest training image, and their share in %.

    Pixels are compared where both are files, of many pairs those of an even sample; else features are equal.
    """
    if train.paths is None or test.paths is None:
        same = np.flatnonzero(similarity >= 1 - 1e-6)
        return same, 100 * len(same) / len(test)
    found = np.flatnonzero(similarity >= DUPLICATE_SIMILARITY)
    asked = found if everything else found[::max(1, -(-len(found) // MAX_COMPARED))]
    if not len(asked):
        return asked, 0.0
    pixels = ([thumbnail(dict(img_path=str(path)), COMPARED_PX)[0] for path in paths]
              for paths in (test.paths[asked], train.paths[rows[asked]]))
    same = asked[same_picture(*map(np.stack, pixels))]
    return same, 100 * len(same) / len(asked) * len(found) / len(test)
