"""Embeddings for other tools: Parquet, and TensorBoard's projector."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy import ndarray
from PIL import Image

from mmsimclr.errors import InputError
from mmsimclr.features.thumbnails import resized
from mmsimclr.reporting.atlas import Atlas, contact_sheet

#: Longest side, in pixels, of a sprite image that TensorBoard's projector shows.
MAX_SPRITE_PX = 8192


def write_parquet(atlas: Atlas, features: ndarray, path: str | Path) -> Path:
    """Write a row for each image: path, map_x, map_y, the atlas's columns, and features; return the path.

    Raises:
        InputError: If pyarrow is not installed.
    """
    if not find_spec('pyarrow'):
        raise InputError('Parquet needs pyarrow: pip install mmsimclr[report]')
    import pyarrow
    from pyarrow import parquet
    rows = np.asarray(features, np.float32)
    flat = pyarrow.array(np.ascontiguousarray(rows).reshape(-1))
    named = [('path', [_text(name) for name in atlas.names]), ('map_x', atlas.points[:, 0]),
             ('map_y', atlas.points[:, 1]),
             *((name, values if isinstance(values, ndarray) else [_text(value) for value in values])
               for name, values in atlas.columns.items()),
             ('features', pyarrow.FixedSizeListArray.from_arrays(flat, rows.shape[1]))]
    # By position: a column of the user's may have any name.
    table = pyarrow.Table.from_arrays([each if isinstance(each, pyarrow.Array) else pyarrow.array(each)
                                       for _, each in named], names=[_text(name) for name, _ in named])
    parquet.write_table(table, path)
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
