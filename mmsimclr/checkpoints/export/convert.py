"""One door to all formats: read an encoder from anywhere, write it for one library."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mmsimclr.checkpoints.encoder_weights import EncoderWeights
from mmsimclr.checkpoints.export import usage
from mmsimclr.checkpoints.export.detectron2_pickle import write_detectron2
from mmsimclr.checkpoints.export.onnx_graph import write_onnx
from mmsimclr.checkpoints.export.tensor_files import (
    write_openmmlab,
    write_openmmlab_backbone,
    write_safetensors,
    write_timm,
    write_torchvision,
)
from mmsimclr.checkpoints.load import build_encoder, read_encoder
from mmsimclr.checkpoints.read import HASH_IN_NAME
from mmsimclr.errors import ExistingFileError, InputError
from mmsimclr.files import atomic_writer, file_digest


@dataclass(frozen=True)
class Format:
    """A format to write.

    Attributes:
        holds: What such a file holds, in a line.
        suffixes: How its name may end; readers go by it.
        write: Writes an encoder to an open file.
        usage: Says, for an encoder and the file's path, how the file is used.
    """

    holds: str
    suffixes: tuple[str, ...]
    write: Callable[[EncoderWeights, BinaryIO], None]
    usage: Callable[[EncoderWeights, Path], str]


TORCH_SUFFIXES = ('.pth', '.pt')
FORMATS = {
    'openmmlab': Format('full model: encoder and projection head', TORCH_SUFFIXES, write_openmmlab,
                        usage.openmmlab),
    'openmmlab-backbone': Format('state_dict of the encoder, without prefixes', TORCH_SUFFIXES,
                                 write_openmmlab_backbone, usage.openmmlab_backbone),
    'torchvision': Format('bare state dict, without fc', TORCH_SUFFIXES, write_torchvision,
                          usage.torchvision),
    'timm': Format('bare state dict, without fc', TORCH_SUFFIXES, write_timm, usage.timm),
    'detectron2': Format("pickle of arrays under Detectron2's names", ('.pkl',), write_detectron2,
                         usage.detectron2),
    'safetensors': Format("encoder under torchvision's keys", ('.safetensors',), write_safetensors,
                          usage.safetensors),
    'onnx': Format('graph of the encoder; any number and size of images', ('.onnx',), write_onnx, usage.onnx),
}


def convert_checkpoint(source: str | Path, destination: str | Path, to: str, *, select: str | None = None,
                       overwrite: bool = False, say: Callable[[str], None] | None = None) -> Path:
    """Read the encoder of a checkpoint and write it in another format.

    Every file carries the record of :mod:`mmsimclr.checkpoints.record`, so that reading it back brings the
    encoder's settings and input scale. It appears whole or not at all.

    Args:
        source: A file of any layout that is read, an address, or a model-zoo name.
        destination: The file to write.
        to: The format, a key of ``FORMATS``.
        select: Address of the encoder to take, where the source has several.
        overwrite: Whether ``destination`` may exist.
        say: Called with text about what was read and written, and how the file is used.

    Returns:
        ``destination``.

    Raises:
        ValueError: If the format is unknown, or ``destination``'s name does not fit it.
        FileExistsError: If ``destination`` exists and is not to be overwritten, or is the source.
        UnsupportedEncoderError: If the format's library cannot be this encoder.
        CheckpointError: If the source cannot be read.
        FileNotFoundError: If there is no such source.
    """
    destination = Path(destination)
    if to not in FORMATS:
        near = difflib.get_close_matches(str(to), FORMATS, n=1)
        raise InputError(f'to must be one of {", ".join(FORMATS)}, got {to!r}'
                         + (f'; did you mean {near[0]!r}?' if near else ''))
    chosen = FORMATS[to]
    _check_name(destination, to, chosen.suffixes)
    if destination.exists() and not overwrite:
        raise ExistingFileError(f'{destination} exists; give another name, or overwrite=True (--overwrite)')
    encoder = read_encoder(source, select)
    if destination.resolve() == encoder.path.resolve():
        raise ExistingFileError(f'{destination} is the source itself; give another name')
    build_encoder(encoder)                                   # it is complete and finite, or this raises
    with atomic_writer(destination) as file:
        chosen.write(encoder, file)
    if say:
        say(_account(encoder, destination, to))
        say(chosen.usage(encoder, destination))
    return destination


def _check_name(destination: Path, to: str, suffixes: tuple[str, ...]) -> None:
    if destination.suffix not in suffixes or destination.is_dir():
        raise InputError(f"the destination of format {to!r} must be a file's name that ends in "
                         f'{" or ".join(suffixes)}, got {destination}')
    if promised := HASH_IN_NAME.search(destination.name):
        raise InputError(f'{destination} promises a SHA-256 that begins with {promised[1]}, which the new '
                         "file will not have; leave it out (tools/publish_checkpoint.py adds a file's own)")


def _account(encoder: EncoderWeights, destination: Path, to: str) -> str:
    """Tell what was read and what was written."""
    settings = ', '.join(f'{name}={value!r}' for name, value in encoder.settings.items())
    head = f'{len(encoder.neck)} tensors' if encoder.neck else 'none of known structure'
    return f"""read   {encoder.path}
       layout           {encoder.layout}, at {encoder.address}
       encoder          {len(encoder.tensors)} tensors: {settings}
       projection head  {head}
       images           {encoder.input}
       sha256           {encoder.sha256}
wrote  {destination}
       format           {to}: {FORMATS[to].holds}
       size             {destination.stat().st_size / 1e6:.1f} MB
       sha256           {file_digest(destination, 'sha256')}"""
