"""From what a user names as a checkpoint to a file, and to the encoder in it."""

import difflib
import re
from pathlib import Path

from mmsimclr.checkpoints import tensorflow, zoo, zoo_index
from mmsimclr.checkpoints.encoder_weights import EncoderWeights
from mmsimclr.checkpoints.errors import LayoutError
from mmsimclr.checkpoints.layouts import find_encoder
from mmsimclr.checkpoints.read import read_checkpoint

SUFFIXES = ('.safetensors', '.pth', '.pt', '.ckpt', '.pkl', '.tar', '.bin')     # the first is preferred


def find_checkpoint(source: str | Path) -> Path:
    """Return the file that a source means, fetching it if it is not here.

    Args:
        source: A file; a work directory (its ``last_checkpoint``) or a folder with one checkpoint, as
            safetensors if it is there in several formats; a TensorFlow checkpoint's prefix or folder; an
            ``http(s)://`` or ``file://`` address; or a name of the model zoo.

    Raises:
        FileNotFoundError: If it is none of these; the nearest names are suggested.
        LayoutError: If a folder holds no checkpoint, or several.
        FetchError: If fetching fails.
    """
    text = str(source)
    if re.match(r'(https?|file)://', text):
        return zoo.fetch_url(text)
    path = Path(source).expanduser()
    if path.is_file() or tensorflow.is_tensorflow(path):
        return path
    if path.is_dir():
        return _in_folder(path)
    for suffix in SUFFIXES:
        if (with_suffix := path.with_name(path.name + suffix)).is_file():
            return with_suffix
    names = zoo_index.model_names()
    if text in names:
        return zoo.fetch_model(text)
    around = [str(p) for p in path.parent.iterdir() if p.suffix in SUFFIXES] if path.parent.is_dir() else []
    near = difflib.get_close_matches(text, [*around, *names], n=1, cutoff=0.5)
    raise FileNotFoundError(f'no checkpoint at {text}, nor a model of that name in the model zoo'
                            + (f'; did you mean {near[0]}?' if near else
                               ' (python tools/model_zoo.py list shows them)'))


def read_encoder(source: str | Path, select: str | None = None) -> EncoderWeights:
    """Read the encoder that a source holds, whatever library wrote it.

    Args:
        source: See :func:`find_checkpoint`.
        select: Address of the encoder to take, where the file has several.

    Raises:
        FileNotFoundError: If there is no such source.
        CheckpointError: If the file is damaged, would run code, or no encoder is recognised in it.
    """
    path = find_checkpoint(source)
    if tensorflow.is_tensorflow(path):
        return tensorflow.read_tensorflow_encoder(path, select)
    return find_encoder(read_checkpoint(path), select)


def _in_folder(folder: Path) -> Path:
    """Return the checkpoint that a folder stands for."""
    last = folder / 'last_checkpoint'
    if last.is_file():
        # The folder may have been moved since the path was written.
        path = folder / Path(last.read_text(encoding='utf-8').strip()).name
        if not path.is_file():
            raise FileNotFoundError(f'{last} names {path.name}, which is not in {folder}')
        return path
    files = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES]
    stems = {path.stem for path in files}
    if len(stems) != 1:
        found = ', '.join(path.name for path in files[:10]) or 'none'
        raise LayoutError(f'{folder} must hold one checkpoint, or a last_checkpoint that names one; it holds '
                          f'{found}. Name the file')
    return min(files, key=lambda path: SUFFIXES.index(path.suffix))
