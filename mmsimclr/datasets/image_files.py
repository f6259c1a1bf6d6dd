"""Which files below a folder are images."""

import os
from collections import Counter
from pathlib import Path
from typing import Sequence

from mmengine.logging import print_log
from PIL import Image

DEFAULT_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.tif', '.tiff', '.gif')


def find_images(root: Path, extensions: Sequence[str], recursive: bool = True) -> list[bytes]:
    """List the images below a folder.

    Links are followed, but no folder is visited twice, so a loop of links ends. Names that begin
    with a dot are passed over; so are other files, and the log says how many of which endings.

    Args:
        root: The folder.
        extensions: Endings in lower case, with the dot.
        recursive: Whether to look into the folders below ``root`` too.

    Returns:
        Paths relative to ``root`` as the file system spells them, sorted; at least one.

    Raises:
        FileNotFoundError: If ``root`` does not exist or holds no image; the message says what was
            looked for and what was seen instead.
        NotADirectoryError: If ``root`` is a file.
    """
    if not root.exists():
        raise FileNotFoundError(f'data_root {root.absolute()} does not exist; expected a folder '
                                f"with images ({', '.join(extensions)})")
    if not root.is_dir():
        raise NotADirectoryError(f'data_root {root.absolute()} is not a folder')
    endings = tuple(os.fsencode(extension) for extension in extensions)
    base = os.fsencode(root)
    images: list[bytes] = []
    num_hidden = num_folders = 0
    others: Counter[bytes] = Counter()
    visited = set()
    pending = [b'']
    while pending:
        relative = pending.pop()
        folder = os.path.join(base, relative)
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
                elif entry.is_dir():
                    below.append(path)
                # A link that leads nowhere is a bad image, not none: its reader says so.
                elif entry.name.lower().endswith(endings) and (
                        entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))):
                    images.append(path)
                else:
                    others[os.path.splitext(entry.name)[1].lower()] += 1
        num_folders += len(below)
        if recursive:
            # Sorted, because of two links to one folder the first one visited counts.
            pending.extend(sorted(below, reverse=True))
    if not images:
        depth = (f'in it and the {len(visited) - 1} folders below' if recursive else
                 f'in it, not in the {num_folders} folders below (recursive=False)')
        raise FileNotFoundError(
            f'no images in data_root {root.absolute()}: looked for {", ".join(extensions)} (upper '
            f'or lower case) {depth}; seen: {others.total()} other files, {num_hidden} hidden entries')
    if others:
        seen = ', '.join(f'{os.fsdecode(ending) or "without ending"} {count}'
                         for ending, count in others.most_common(5))
        print_log(f'{root}: {len(images)} images, and {others.total()} other files passed over ({seen})',
                  'current')
    images.sort()
    return images


def is_image(path: str) -> bool:
    """Return whether a file begins like an image that can be decoded; reads the header only."""
    try:
        with Image.open(path):
            return True
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
