"""Images in folders of any depth, without annotations."""

import errno
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import force_full_init
from mmengine.logging import print_log

from mmsimclr.datasets.base import FileDataset
from mmsimclr.errors import InputError, MachineError, MissingFileError, check_choice, check_int
from mmsimclr.files import RemoteFolder, is_raster, open_regular, opened_image
from mmsimclr.registry import DATASETS

DEFAULT_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.tif', '.tiff', '.gif')
#: What LoadChannels reads besides; these are the images of a folder that has no others.
ARRAY_EXTENSIONS = (b'.npy', b'.dcm')
LIST_NAME = 'files.txt'
MIN_HELD_OUT = 16
NUM_PROBED = 256  # Almost always the first one will do.


def find_images(root: Path, extensions: Sequence[str]) -> list[bytes]:
    """List the images below a folder: paths relative to it as the file system spells them, sorted.

    Links are followed, but no folder is visited twice. Names that begin with a dot are passed over, and so
    are files without one of the ``extensions``, in lower case with the dot; where no other image is, ``.npy``
    and ``.dcm`` are taken for the default ones. MissingFileError without images.
    """
    if not root.is_dir():
        state = 'is not a folder' if root.exists() else 'does not exist'
        raise MissingFileError(f'data_root {root.absolute()} {state}; expected a folder with images '
                               f'({", ".join(extensions)})')
    endings = tuple(os.fsencode(extension) for extension in extensions)
    images: list[bytes] = []
    arrays: list[bytes] = []
    num_hidden = 0
    others: Counter[bytes] = Counter()
    visited = set()
    pending = [b'']
    while pending:
        relative = pending.pop()
        folder = os.path.join(os.fsencode(root), relative)
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        below = []
        with os.scandir(folder) as entries:
            for entry in entries:
                path = os.path.join(relative, entry.name)
                if entry.name.startswith(b'.'):
                    num_hidden += 1
                elif _leads_to(entry.is_dir):
                    below.append(path)
                # A link that leads nowhere is a bad image, not none: its reader says so.
                elif entry.name.lower().endswith(endings) and (
                        _leads_to(entry.is_file) or (entry.is_symlink() and not os.path.exists(entry.path))):
                    images.append(path)
                else:
                    others[ending := os.path.splitext(entry.name)[1].lower()] += 1
                    arrays += [path] if ending in ARRAY_EXTENSIONS else []
        # Sorted, because of two links to one folder the first one visited counts.
        pending.extend(sorted(below, reverse=True))
    if not images and tuple(extensions) == DEFAULT_EXTENSIONS:
        images, others = arrays, Counter({key: others[key] for key in others if key not in ARRAY_EXTENSIONS})
    if not images:
        raise MissingFileError(
            f'no images in data_root {root.absolute()}: looked for {", ".join(extensions)}, by default also '
            f'.npy and .dcm (upper or lower case), in it and the {len(visited) - 1} folders below; seen: '
            f'{others.total()} other files, {num_hidden} hidden entries')
    if others:
        seen = ', '.join(f'{os.fsdecode(ending) or "without ending"} {count}'
                         for ending, count in others.most_common(5))
        print_log(f'{root}: {len(images)} images, and {others.total()} other files passed over ({seen})',
                  'current')
    return sorted(images)


def find_remote_images(folder: RemoteFolder, extensions: Sequence[str]) -> list[bytes]:
    """List the images below an address as :func:`find_images` does; ``files.txt`` names a web server's."""
    if folder.address.startswith('http'):
        names = folder.read(LIST_NAME).decode().splitlines()
    else:
        sizes = folder.sizes()
        folder.keep(sizes)
        names = list(sizes)
    names = [name.removeprefix('./') for name in names]
    seen = [name.encode() for name in names if not any(part.startswith('.') for part in name.split('/'))]
    known = [tuple(map(str.encode, extensions))]
    for endings in [*known, ARRAY_EXTENSIONS] if tuple(extensions) == DEFAULT_EXTENSIONS else known:
        if images := sorted(name for name in seen if name.lower().endswith(endings)):
            return images
    raise MissingFileError(f'no images at {folder.address}: looked for {", ".join(extensions)} among '
                           f'{len(names)} files')


def _leads_to(is_kind: Callable[[], bool]) -> bool:
    """Ask an entry whether it is, or leads to, a file or a folder; a link to itself leads nowhere."""
    try:
        return is_kind()
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES):
            raise
        return False


def is_image(path: str | bytes) -> bool:
    """Return whether a file, or its bytes, begins like an image that can be decoded, by its header."""
    try:
        if isinstance(path, bytes):
            start = path
        else:
            with open_regular(path) as file:
                start = file.read(132)
        if is_raster(start):                            # perhaps of more bands than Pillow knows
            return True
        with opened_image(path):
            return True
    except Exception:                                   # decoders of foreign bytes raise almost anything
        return False


def check_part(split: str, held_out_share: float) -> tuple[str, float]:
    """Return the arguments that say which part of the images is wanted, if they can be met."""
    if not 0 < held_out_share < 1:
        raise InputError(f'held_out_share must be > 0 and < 1, got {held_out_share}')
    return check_choice(split, 'split', ('all', 'train', 'held_out')), held_out_share


def in_part(names: Iterable[bytes], split: str, held_out_share: float) -> np.ndarray:
    """Return which images are in 'train' or 'held_out', bool [N]; an image's name alone decides."""
    held_out = np.array([int.from_bytes(hashlib.sha256(name).digest()[:8], 'big') < held_out_share * 2**64
                         for name in names])
    if held_out.sum() < MIN_HELD_OUT:
        held_out[:] = False
    return held_out == (split == 'held_out')


@DATASETS.register_module()
class UnlabeledImageFolder(FileDataset):
    """All images below a folder, in one order that every machine agrees on.

    An item is ``dict(img_path=str, sample_idx=index)``; the pipeline's first transform reads the file. Images
    are found as :func:`find_images` says, and ordered by their path relative to ``data_root``, byte by byte.

    Args:
        data_root: The folder, or an address (see :class:`mmsimclr.files.RemoteFolder`). A web server must
            have ``files.txt`` there, one name on each line (``find . -type f > files.txt``).
        extensions: Endings of the files to take, upper or lower case alike.
        max_images: Take only so many images, evenly spaced over the order. ``indices`` count after it.
        split: 'all' images, or 'train' without the 'held_out' ones. A hash of an image's path below
            ``data_root`` decides, so that it stays where it is when others are added or the folder is moved.
        held_out_share: Expected share of the held-out images, > 0 and < 1. Where it comes to fewer than 16
            images, which say little, none is held out.
        **kwargs: Further arguments of :class:`~mmsimclr.datasets.base.FileDataset`.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from mmsimclr import UnlabeledImageFolder, simclr_views
        >>> folder = tempfile.mkdtemp()
        >>> Image.new('RGB', (40, 30)).save(f'{folder}/1.jpg')
        >>> first, second = UnlabeledImageFolder(folder, pipeline=[simclr_views(32)])[0]
        >>> first.shape
        torch.Size([3, 32, 32])
    """

    def __init__(self, data_root: str, extensions: Sequence[str] = DEFAULT_EXTENSIONS,
                 max_images: int | None = None, split: str = 'all', held_out_share: float = 0.05,
                 **kwargs) -> None:
        if isinstance(extensions, str) or not extensions:
            raise InputError(f"extensions must be a list such as ['.jpg'], got {extensions!r}")
        if not str(data_root):
            raise InputError("data_root must be the path of a folder with images, got ''")
        self.extensions = tuple(f".{extension.lower().lstrip('.')}" for extension in extensions)
        self.split, self.held_out_share = check_part(split, held_out_share)
        self.max_images = None if max_images is None else check_int(max_images, 'max_images')
        super().__init__(data_root, **kwargs)

    def full_init(self) -> None:
        if self._fully_initialized:
            return
        if self._remote:
            paths = find_remote_images(self._remote, self.extensions)
        else:
            paths = find_images(Path(self.data_root), self.extensions)
        if self.split != 'all':
            paths = list(compress(paths, in_part(paths, self.split, self.held_out_share)))
        if self.max_images is not None and self.max_images < len(paths):
            paths = [paths[i * len(paths) // self.max_images] for i in range(self.max_images)]
        self.data_bytes, self.data_address = _pack(paths)
        self._fully_initialized = True
        if self._indices is not None:
            self.get_subset_(self._indices)
        if len(self) and set(self.extensions) <= set(DEFAULT_EXTENSIONS):  # Your pipeline may read others.
            self._probe()

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return item ``idx`` as it enters the pipeline; a negative one counts from the end."""
        name = os.fsdecode(self._relative_path(idx))
        item = {'img_path': os.path.join(self.data_root, name),
                'sample_idx': idx if idx >= 0 else len(self) + idx}
        return {**item, 'img': self._remote.read(name)} if self._remote else item

    def _range(self, place: int) -> tuple[str, int, None]:
        return os.fsdecode(self._relative_path(place)), 0, None

    def __getitem__(self, idx: int) -> Any:
        """Return image ``idx`` after the pipeline; an unreadable one raises ``OSError``."""
        result = self.pipeline(self.get_data_info(idx))
        if result is None:
            raise MachineError(f'the pipeline returned None for {self.get_data_info(idx)["img_path"]}; for '
                               'an image that cannot be read let it raise OSError')
        return result

    def _relative_path(self, idx: int) -> bytes:
        place = range(len(self.data_address))[idx]
        start = int(self.data_address[place - 1]) if place else 0
        return self.data_bytes[start:int(self.data_address[place])].tobytes()

    def _get_serialized_subset(self, indices: int | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the packed paths of a subset; MMEngine's own refuses ``n == len`` and ``-len``."""
        places = range(len(self.data_address))
        if isinstance(indices, (int, np.integer)):
            indices = places[:indices] if indices >= 0 else places[indices:]
        return _pack([self._relative_path(idx) for idx in indices])

    def _probe(self) -> None:
        """Fail now, not after an hour in a queue, where nothing at all can be read."""
        places = sorted({i * len(self) // NUM_PROBED for i in range(NUM_PROBED)})
        infos = (self.get_data_info(place) for place in places)
        if not any(is_image(info.get('img') or info['img_path']) for info in infos):
            raise InputError(f'nothing readable below {self.data_root}: of {len(self)} files ending in '
                             f'{", ".join(self.extensions)}, {len(places)} were tried and none is an image, '
                             f'among them {self.get_data_info(0)["img_path"]}')


def _pack(paths: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return all paths in one uint8 array, and the end of each, int64 [N]: MMEngine's form, without pickles.

    It takes a fifth of the memory of pickled dicts, and forked workers share it.
    """
    ends = np.cumsum([len(path) for path in paths], dtype=np.int64)
    return np.frombuffer(b''.join(paths), np.uint8), ends
