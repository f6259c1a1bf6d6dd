"""The images of a dataset that a text file names."""

import difflib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmsimclr.datasets.image_subset import ImageSubset
from mmsimclr.registry import DATASETS

AT_MOST = 3


@DATASETS.register_module()
class ListedSubset(ImageSubset):
    """The images of another dataset that a text file names, one file name on each line.

    The official 1 % and 10 % of ImageNet are such lists (``n01440764_10074.JPEG``):
    ``python tools/prepare_data/imagenet_subsets.py`` brings them.

    Args:
        dataset: Config of the dataset, as :class:`ImageSubset` takes it; its images are files.
        names: The text file. Folders before a name are passed over.
        pipeline: In place of the dataset's, where it is given.

    Raises:
        FileNotFoundError: If there is no such list.
        ValueError: If it is empty, names an image twice, or one that the dataset does not have.
    """

    def __init__(self, dataset: Mapping[str, Any], names: str | Path,
                 pipeline: Sequence | None = None) -> None:
        self.names = Path(names)
        self._wanted = read_names(self.names)
        super().__init__(dataset, pipeline)

    def choose(self, dataset: Any) -> list[int]:
        """Find the listed names among the dataset's files."""
        places: dict[str, int] = {}
        for index in range(len(dataset)):
            path = dataset.get_data_info(index).get('img_path')
            if path is None:
                raise ValueError(f'{type(dataset).__name__} has no files, so {self.names} cannot name its '
                                 'images; use BalancedSubset')
            if places.setdefault(os.path.basename(path), index) != index:
                raise ValueError(f'{type(dataset).__name__} has several images named '
                                 f'{os.path.basename(path)}, so {self.names} does not say which')
        missing = [name for name in self._wanted if name not in places]
        if missing:
            near = difflib.get_close_matches(missing[0], list(places)[:10_000], n=1, cutoff=0.6)
            raise ValueError(
                f'{len(missing)} of {len(self._wanted)} images listed in {self.names} are not in '
                f'{type(dataset).__name__} ({getattr(dataset, "data_root", "")}, {len(places)} images): '
                f'{", ".join(missing[:AT_MOST])}{", ..." if len(missing) > AT_MOST else ""}'
                + (f'; {near[0]} is' if near else '') + '. Name the list that was made for this data, or '
                'complete the data')
        return [places[name] for name in self._wanted]


def read_names(path: Path) -> list[str]:
    """Return the file names of a list.

    Raises:
        FileNotFoundError: If there is no such list.
        ValueError: If it is empty or names an image twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f'no image list at {path}; for ImageNet make it with '
                                'python tools/prepare_data/imagenet_subsets.py')
    lines = path.read_text(encoding='utf-8').splitlines()
    names = [os.path.basename(line.strip()) for line in lines if line.strip()]
    if not names:
        raise ValueError(f'{path} names no images: it must have one file name on each line')
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(f'{path} names {name} {count} times')
    return names
