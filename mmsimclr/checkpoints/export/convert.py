"""Conversion: read an encoder from anywhere, write it for one library."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import yaml

from mmsimclr.checkpoints.encoder_weights import BASIC_DEPTHS, EncoderWeights
from mmsimclr.checkpoints.export import tensor_files
from mmsimclr.checkpoints.export.onnx_graph import write_onnx
from mmsimclr.checkpoints.load import build_encoder, read_encoder
from mmsimclr.checkpoints.read import HASH_IN_NAME
from mmsimclr.errors import ExistingFileError, InputError, did_you_mean
from mmsimclr.files import atomic_writer, file_digest


@dataclass(frozen=True)
class Format:
    """A format to write: its content in a line, the endings of file names, and the writer."""

    holds: str
    suffixes: tuple[str, ...]
    write: Callable[[EncoderWeights, BinaryIO], None]


TORCH = ('.pth', '.pt')
FORMATS = {
    'openmmlab': Format('full model: encoder and projection head', TORCH, tensor_files.write_openmmlab),
    'openmmlab-backbone': Format('state_dict of the encoder, without prefixes', TORCH,
                                 tensor_files.write_openmmlab_backbone),
    'torchvision': Format('bare state dict, without fc', TORCH,
                          partial(tensor_files.write_bare, 'torchvision')),
    'timm': Format('bare state dict, without fc', TORCH, partial(tensor_files.write_bare, 'timm')),
    'detectron2': Format("pickle of arrays under Detectron2's names", ('.pkl',),
                         tensor_files.write_detectron2),
    'safetensors': Format("encoder under its own keys, a ResNet's as torchvision's", ('.safetensors',),
                          tensor_files.write_safetensors),
    'onnx': Format('graph of the encoder; any number and size of images', ('.onnx',), write_onnx),
}
USAGE = yaml.safe_load(Path(__file__).with_name('usage.yml').read_text(encoding='utf-8'))


def convert_checkpoint(source: str | Path, destination: str | Path, to: str, *, select: str | None = None,
                       overwrite: bool = False, say: Callable[[str], None] | None = None) -> Path:
    """Read the encoder of a checkpoint and write it in another format, whole or not at all.

    Every file has the record of :mod:`mmsimclr.checkpoints.record`: the encoder's settings and input scale.

    Args:
        source: A file of any layout that is read, an address, or a model-zoo name.
        destination: The file to write, which is returned.
        to: The format, a key of ``FORMATS``.
        select: Address of the encoder to take, where the source has several.
        overwrite: Whether ``destination`` may exist.
        say: Called with an account of what was read and written, then with how the file is used.

    Raises:
        ValueError: If the format is unknown, or ``destination``'s name does not fit it.
        FileExistsError: If ``destination`` exists and is not to be overwritten, or is the source.
        UnsupportedEncoderError: If the format's library cannot be this encoder.
        CheckpointError, FileNotFoundError: If the source cannot be read.
    """
    destination = Path(destination)
    if to not in FORMATS:
        raise InputError(f'to must be one of {", ".join(FORMATS)}, got {to!r}{did_you_mean(to, FORMATS)}')
    chosen = FORMATS[to]
    if destination.suffix not in chosen.suffixes or destination.is_dir():
        raise InputError(f"the destination of format {to!r} must be a file's name that ends in "
                         f'{" or ".join(chosen.suffixes)}, got {destination}')
    if promised := HASH_IN_NAME.search(destination.name):
        raise InputError(f'{destination} promises a SHA-256 that begins with {promised[1]}, which the new '
                         "file will not have; leave it out (mmsimclr publish adds a file's own)")
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
        say(usage(encoder, destination, to))
    return destination


def _account(encoder: EncoderWeights, path: Path, to: str) -> str:
    """Return what was read and what was written, for people."""
    return USAGE['account'].format(
        encoder=encoder, num_tensors=len(encoder.tensors), path=path, to=to, holds=FORMATS[to].holds,
        settings=', '.join(f'{name}={value!r}' for name, value in encoder.settings.items()),
        head=f'{len(encoder.neck)} tensors' if encoder.neck else 'none of known structure',
        megabytes=path.stat().st_size / 1e6, sha256=file_digest(path))


def usage(encoder: EncoderWeights, path: Path, to: str) -> str:
    """Return the lines that load a file of format ``to``, and what others lack to run its encoder."""
    lacks = tensor_files.lacking('OpenMMLab', encoder)
    mean, std = (', '.join(f'{value / 255:.6g}' for value in values)
                 for values in (encoder.input.mean, encoder.input.std))
    reading = encoder.input.reading
    scaled = 'after scaling images to 0-1 (ToTensor): ' if reading is None else (
        f'images as LoadChannels(**{dict(reading)}) reads them, divided by 255, then ')
    depth, width = encoder.settings.get('depth'), encoder.settings.get('width_multiplier', 1)
    return USAGE[to].format(
        path=path, depth=depth, mean=list(encoder.input.mean), std=list(encoder.input.std),
        stem_channels=int(64 * width), stage_channels=int((64 if depth in BASIC_DEPTHS else 256) * width),
        only_here=f"\nonly with mmsimclr; other libraries' lack {'; '.join(lacks)}" if lacks else '',
        channels=len(encoder.input.mean),
        normalize=f'{scaled}torchvision.transforms.Normalize([{mean}], [{std}])')
