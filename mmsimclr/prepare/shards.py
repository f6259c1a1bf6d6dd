"""Shards in WebDataset's convention, made of a folder of images."""

import io
import os
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmsimclr.datasets.unlabeled_image_folder import DEFAULT_EXTENSIONS, find_images, is_image
from mmsimclr.datasets.webdataset_shards import CLASSES_NAME, ShardIndex, scan_shards
from mmsimclr.errors import InputError, check_int

# An image's source, its key and its class (None where classes are not wanted).
_Planned = tuple[Path, str, int | None]


def write_shards(source: Path, out: Path, images_per_shard: int = 10_000, labels: bool = False, seed: int = 0,
                 report: Callable[[str], None] = print) -> ShardIndex:
    """Copy the images below a folder, byte by byte, into shards; write and return their index.

    A call goes on where an earlier one ended. The images are shuffled once, so that a reader of whole shards
    meets all classes. A shard gets its name when it is complete and was read back; one that is there already
    is compared with what it should be.

    With ``labels`` the folders right below ``source`` are classes, numbered in the order of their names.
    10,000 photographs of ImageNet take about 1.1 GB. ValueError if an image cannot be opened or lies in no
    class folder, or a shard is there that this call would not write.
    """
    check_int(images_per_shard, 'images_per_shard')
    paths = [Path(os.fsdecode(path)) for path in find_images(source, DEFAULT_EXTENSIONS)]
    loose = [path for path in paths if len(path.parts) < 2]
    if labels and loose:
        raise InputError(f'{source / loose[0]} lies in no class folder; leave the labels out, or sort it in')
    classes = {name: number for number, name in enumerate(sorted({path.parts[0] for path in paths}))}
    order = np.random.default_rng(seed).permutation(len(paths))
    plan = [(source / paths[i], f'{place:09d}', classes[paths[i].parts[0]] if labels else None)
            for place, i in enumerate(order)]
    names = [f'{number:05d}.tar' for number in range(-(-len(plan) // images_per_shard))]
    out.mkdir(parents=True, exist_ok=True)
    foreign = sorted(path.name for path in out.glob('*.tar') if path.name not in names)
    if foreign:
        raise InputError(f'{out} holds other shards, such as {foreign[0]}; write to an empty folder')
    for number, name in enumerate(names):
        shard = plan[number * images_per_shard:(number + 1) * images_per_shard]
        if (out / name).exists():
            _check_written(out / name, shard)
            report(f'{name}: there already, {len(shard)} images')
        else:
            _write_shard(out / name, shard)
            report(f'{name}: written, {len(shard)} images')
    if labels:
        (out / CLASSES_NAME).write_text(''.join(f'{name}\n' for name in classes), encoding='utf-8')
    index = scan_shards(out)
    index.write(out)
    return index


def _members(key: str, path: Path, label: int | None, size: int) -> list[tuple[str, int]]:
    """Return name and size of each member of a sample."""
    members = [(f'{key}{path.suffix.lower()}', size)]
    return members if label is None else [*members, (f'{key}.cls', len(str(label)))]


def _write_shard(path: Path, shard: list[_Planned]) -> None:
    """Write a shard under another name, read it back, then give it its own."""
    part = path.with_name(f'.{path.name}.part')
    sums = []
    with tarfile.open(part, 'w', format=tarfile.USTAR_FORMAT) as tar:
        for source, key, label in shard:
            data = source.read_bytes()
            if not is_image(str(source)):
                raise InputError(f'cannot read image {source}; remove or replace it, then run again')
            for content, (name, size) in zip((data, str(label).encode()),
                                             _members(key, source, label, len(data)), strict=False):
                header = tarfile.TarInfo(name)
                header.size = size
                tar.addfile(header, io.BytesIO(content))
                sums.append(zlib.crc32(content))
    with tarfile.open(part, 'r:') as tar:
        found = [zlib.crc32(tar.extractfile(member).read()) for member in tar]
    if found != sums:
        raise InputError(f'{part} does not hold what was written to it; check the disk, then run again')
    part.replace(path)


def _check_written(path: Path, shard: list[_Planned]) -> None:
    """Raise if a shard does not hold the members of the plan, by name and size."""
    expected = [member for source, key, label in shard
                for member in _members(key, source, label, source.stat().st_size)]
    try:
        with tarfile.open(path, 'r:') as tar:
            found = [(member.name, member.size) for member in tar]
    except tarfile.TarError:
        found = None
    if found != expected:
        raise InputError(f'{path} is not what these images and settings give; remove it if it is to be '
                         'written anew, or write to an empty folder')
