"""Atlas of an embedding: its map, neighbours, duplicates, outliers, clusters, a diverse subset; its files."""

import base64
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from PIL import Image

from mmsimclr.errors import InputError, UserError, needing
from mmsimclr.evaluation import atlas as numerics
from mmsimclr.features import FeatureFiles
from mmsimclr.features.thumbnails import COMPARED_PX, make_thumbnails, resized, thumbnail
from mmsimclr.files import read_csv
from mmsimclr.protocols.result import feature_names, write_csv
from mmsimclr.reporting.figures import save_neighbour_sheet

NUM_NEIGHBOURS = 12                                         # of each image, on the page
NEIGHBOURHOOD = 20                                          # neighbours that tell outliers and density
NUM_OUTLIERS = 40                                           # that are listed
SHEET_CELLS = 32                                            # thumbnails on a side of a sprite sheet
PICTURE_COLUMNS, PICTURE_LINES = 16, 100                    # at most, of the picture of a list
JPEG_QUALITY = 85
MAP_TITLES = dict(pacmap='PaCMAP', tsne='t-SNE', pca='PCA')
MAX_NUMBERS_OF_CLASS = 12                                   # a column of more different numbers is a scale


@dataclass
class Atlas:
    """What is known of N images beside their features."""

    names: Sequence[str]                                    # paths below the folder, or numbers
    points: ndarray                                         # the map, float32 [N, 2]
    similarity: ndarray                                     # of the nearest other images of each, [N, k]
    rows: ndarray                                           # these images
    columns: dict[str, Sequence[str] | ndarray]             # to colour the map by: texts or float64 [N]
    duplicates: list[list[int]]                             # groups that show the same picture
    outliers: ndarray                                       # images far from all others, the farthest first
    diverse: ndarray                                        # images that together cover all
    clusters: ndarray                                       # cluster of each, int64 [N]
    thumbnails: ndarray                                     # uint8 [N, side, side, 3]
    about: dict[str, str] = field(default_factory=dict)     # how it was made, for people, by topic

    def write_lists(self, folder: Path) -> None:
        """Write duplicates, outliers, diverse subset and clusters as .csv and .jpg, and ``map.csv``."""
        names, distance = self.names, numerics.distances(self.similarity, NEIGHBOURHOOD)
        tables: dict[str, list[tuple]] = dict(
            duplicates=[('group', 'path'), *((number, names[i]) for number, group in enumerate(
                self.duplicates) for i in group)],
            outliers=[('rank', 'path', 'distance'), *(
                (rank, names[i], f'{distance[i]:.4f}') for rank, i in enumerate(self.outliers, 1))],
            diverse=[('order', 'path'), *((order, names[i]) for order, i in enumerate(self.diverse, 1))],
            clusters=[('path', 'cluster'), *zip(names, self.clusters.tolist(), strict=True)],
            map=[('path', 'x', 'y', *self.columns), *zip(
                names, *(map('{:.5f}'.format, axis) for axis in self.points.T), *self.columns.values(),
                strict=True)])
        for name, lines in tables.items():
            write_csv(folder / f'{name}.csv', lines)
        pictures = dict(duplicates=self.duplicates, clusters=self._typical(), **{
            name: [images[start:start + PICTURE_COLUMNS] for start in range(0, len(images), PICTURE_COLUMNS)]
            for name, images in (('outliers', self.outliers), ('diverse', self.diverse))})
        for name, groups in pictures.items():               # a group on each line
            (folder / f'{name}.jpg').unlink(missing_ok=True)
            groups = [group[:PICTURE_COLUMNS] for group in groups[:PICTURE_LINES]]
            if columns := max(map(len, groups), default=0):
                cells = np.full((len(groups) * columns, *self.thumbnails.shape[1:]), 255, np.uint8)
                for line, group in enumerate(groups):
                    cells[line * columns:line * columns + len(group)] = self.thumbnails[group]
                sheet = Image.fromarray(contact_sheet(cells, columns))
                sheet.save(folder / f'{name}.jpg', quality=JPEG_QUALITY)

    def page_data(self) -> dict[str, Any]:
        """Return what the page's script shows, in terms JSON can hold; arrays are base64."""
        shown = min(NUM_NEIGHBOURS, self.rows.shape[1])
        return dict(
            names=list(self.names), x=_base64(self.points[:, 0]), y=_base64(self.points[:, 1]),
            num_neighbours=shown, rows=_base64(self.rows[:, :shown], np.int32),
            similarity=_base64(self.similarity[:, :shown]),
            columns=[dict(name=name, **_column(values)) for name, values in self.columns.items()],
            side=self.thumbnails.shape[1], cells=SHEET_CELLS, sheets=sprite_sheets(self.thumbnails),
            duplicates=self.duplicates, outliers=self.outliers.tolist(), diverse=self.diverse.tolist(),
            clusters=[dict(size=int((self.clusters == number).sum()), images=images)
                      for number, images in enumerate(self._typical())])

    def _typical(self) -> list[list[int]]:
        """Return, for each cluster, images that many others of it have as a neighbour."""
        found = []
        for cluster in range(int(self.clusters.max()) + 1):
            inside = np.flatnonzero(self.clusters == cluster)
            popularity = np.bincount(self.rows[inside].ravel(), minlength=len(self.clusters))[inside]
            found.append(inside[np.argsort(-popularity, kind='stable')[:PICTURE_COLUMNS]].tolist())
        return found


def make_atlas(features: FeatureFiles, dataset: Any, *, map_method: str | None = None, seed: int = 0,
               labels: str | Path | None = None, num_clusters: int | None = None, num_diverse: int = 60,
               progress: Callable[[int, int], None] | None = None) -> Atlas:
    """Return the atlas of features of images.

    Args:
        features: Of one stage.
        dataset: The images that they were extracted from, unreadable ones included.
        map_method: See :func:`mmsimclr.evaluation.atlas.embedding_map`.
        seed: Seed of the map and the clusters.
        labels: A CSV file with a column ``path``, as the images are named below their folder, and others.
        num_clusters: Number of clusters; by default that with the best silhouette.
        num_diverse: Number of images of the diverse subset.
        progress: Called with (thumbnails made, images in all).

    Raises:
        InputError: If there are fewer than two images, or ``labels`` names none of them.
    """
    stage, = features.stages.values()
    rows = np.asarray(stage, np.float32)
    if len(rows) < 2:
        raise InputError(f'an atlas needs at least 2 images, got {len(rows)}')
    names = feature_names(features).tolist()
    # First what the user may have got wrong, before what takes long.
    own = read_columns(labels, names, features.manifest['images']['root']) if labels is not None else {}
    method = map_method or numerics.default_map(len(rows))
    points = numerics.embedding_map(rows, method, seed)
    thumbnails = make_thumbnails(features, dataset, progress)
    similarity, nearest = numerics.neighbours(rows, max(NEIGHBOURHOOD, NUM_NEIGHBOURS))
    pairs = numerics.near_duplicates(similarity, nearest, resized(thumbnails, COMPARED_PX))
    distance = numerics.distances(similarity, NEIGHBOURHOOD)
    cluster = numerics.clusters(rows, num_clusters, seed)
    classes, columns = features.manifest['images']['classes'], {}
    if features.labels is not None and features.labels.ndim == 1:
        columns['label'] = [classes[label] if label < len(classes) else str(label)
                            for label in features.labels.tolist()]
    density = np.round(-np.log(np.maximum(distance.astype(np.float64), 1e-4)), 3)
    columns |= dict(cluster=[*map(str, cluster)], density=density) | own
    return Atlas(names, points, similarity, nearest, columns, numerics.groups_of(pairs, len(rows)),
                 np.argsort(-distance, kind='stable')[:NUM_OUTLIERS],
                 numerics.diverse_subset(rows, num_diverse), cluster, thumbnails,
                 dict(map=f'{MAP_TITLES[method]}, seed {seed}', clusters=f'k-means, seed {seed}'))


def read_columns(path: str | Path, names: Sequence[str], root: str) -> dict[str, Sequence[str] | ndarray]:
    """Return the columns of a CSV file for images, texts or float64 [N]; an image not in it has '' or NaN.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it has no column ``path`` or another one beside it, or names no image.
    """
    rows = read_csv(path, 'a CSV of labels', ('path',), errors='surrogateescape')
    header, prefix = [*rows[0]], os.path.join(root, '') if root else ''
    if len(header) < 2:
        raise InputError(f'{path} must have a column path and others, got {", ".join(header)}')
    lines = {row['path'].removeprefix(prefix): row for row in rows}
    if not any(name in lines for name in names):
        raise InputError(f'{path} names none of the {len(names)} images; the first of them is {names[0]!r}, '
                         f'the first path in it {next(iter(lines), "")!r}')
    return {name: _values([lines[image][name] if image in lines else '' for image in names])
            for name in header if name != 'path'}


def _values(texts: Sequence[str]) -> Sequence[str] | ndarray:
    """Return a column of many different numbers as float64, others as they are."""
    try:
        numbers = np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return texts
    numbers[~np.isfinite(numbers)] = np.nan                 # JSON has no infinity
    return numbers if len(np.unique(numbers[np.isfinite(numbers)])) > MAX_NUMBERS_OF_CLASS else texts


def _column(values: Sequence[str] | ndarray) -> dict[str, Any]:
    """Return a column for the page: names of classes, the most frequent first, and numbers; or a scale."""
    if isinstance(values, ndarray):
        low, high = (float(value) for value in (np.nanmin(values), np.nanmax(values)))
        return dict(low=low, high=high, values=_base64(values, np.float64))
    classes, numbers = np.unique(np.array(values), return_inverse=True)
    order = np.argsort(-np.bincount(numbers), kind='stable')
    return dict(classes=classes[order].tolist(), values=_base64(np.argsort(order)[numbers], np.float64))


def _base64(values: ndarray, kind: type = np.float32) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=np.dtype(kind).newbyteorder('<'))).decode()


def sprite_sheets(thumbnails: ndarray) -> list[str]:
    """Return thumbnails as JPEG sheets in data URIs, ``SHEET_CELLS`` in each row and column, row by row."""
    assert thumbnails.shape[1] % 8 == 0, 'or thumbnails run into each other'
    each = SHEET_CELLS ** 2
    return [data_uri(contact_sheet(thumbnails[start:start + each], SHEET_CELLS))
            for start in range(0, len(thumbnails), each)]


def contact_sheet(images: ndarray, columns: int) -> ndarray:
    """Return images, uint8 [N, h, w, 3], side by side in rows of ``columns``, uint8 [H, columns * w, 3]."""
    height, width = images.shape[1:3]
    num_rows = -(-len(images) // columns)
    sheet = np.zeros((num_rows * columns, height, width, 3), np.uint8)
    sheet[:len(images)] = images
    return sheet.reshape(num_rows, columns, height, width, 3).swapaxes(1, 2).reshape(
        num_rows * height, columns * width, 3)


def save_search_sheet(queries: Sequence[str], neighbours: Sequence[Sequence[str]], path: str | Path,
                      side: int = 96) -> Path:
    """Draw each query and its neighbours; images that are gone are grey squares. Return the path."""
    def cell(name: str) -> ndarray:
        try:
            return thumbnail(dict(img_path=str(name)), side)[0]
        except UserError:
            return np.full((side, side, 3), 128, np.uint8)

    return save_neighbour_sheet(path, [*map(cell, queries)],
                                {'nearest images': [[*map(cell, names)] for names in neighbours]})


def data_uri(image: ndarray, quality: int = JPEG_QUALITY) -> str:
    """Return an image, uint8 [H, W, 3], as a JPEG in a ``data:`` address."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=quality)
    return f'data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}'


#: Longest side, in pixels, of a sprite image that TensorBoard's projector shows.
MAX_SPRITE_PX = 8192


def write_parquet(atlas: Atlas, features: ndarray, path: str | Path) -> Path:
    """Write a row for each image: path, map_x, map_y, the atlas's columns, and features; return the path.

    Raises:
        MachineError: If pyarrow is not installed.
    """
    with needing('report', 'Parquet'):
        import pyarrow
        from pyarrow import parquet
    rows = np.ascontiguousarray(features, np.float32)
    columns = [('path', atlas.names), ('map_x', atlas.points[:, 0]), ('map_y', atlas.points[:, 1]),
               *atlas.columns.items()]
    arrays = [pyarrow.array(values if isinstance(values, ndarray) else [_text(value) for value in values])
              for _, values in columns]
    arrays.append(pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.reshape(-1)), rows.shape[1]))
    # By position: a column of the user's may have any name.
    names = [*(_text(name) for name, _ in columns), 'features']
    parquet.write_table(pyarrow.Table.from_arrays(arrays, names=names), path)
    return Path(path)


def write_projector(atlas: Atlas, features: ndarray, folder: str | Path) -> Path:
    """Write tensors, metadata, a sprite and a config that ``tensorboard --logdir FOLDER`` shows; return it.

    Source:
        tensorboard/plugins/projector: one line a row and tabs; a header where there are several columns.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / 'tensors.tsv', np.asarray(features, np.float32), fmt='%.6g', delimiter='\t')
    columns = dict(path=atlas.names, **{name: values for name, values in atlas.columns.items()
                                        if name != 'path'})
    with open(folder / 'metadata.tsv', 'w', encoding='utf-8', errors='surrogateescape') as file:
        for row in (columns, *zip(*columns.values(), strict=True)):
            # A tab or a new line in a path would be another cell or row.
            file.write('\t'.join(' '.join(str(value).split()) for value in row) + '\n')
    across = int(np.ceil(np.sqrt(len(atlas.names))))
    side = min(atlas.thumbnails.shape[1], MAX_SPRITE_PX // across)
    Image.fromarray(contact_sheet(resized(atlas.thumbnails, side), across)).save(folder / 'sprite.png')
    (folder / 'projector_config.pbtxt').write_text(
        'embeddings {\n  tensor_name: "embedding"\n  tensor_path: "tensors.tsv"\n'
        '  metadata_path: "metadata.tsv"\n  sprite {\n    image_path: "sprite.png"\n'
        f'    single_image_dim: {side}\n    single_image_dim: {side}\n  }}\n}}\n')
    return folder


def _text(value: str) -> str:
    return value.encode('utf-8', 'replace').decode()                    # of paths that are no text
