"""Pre-training from Python, without a config: :func:`pretrain`, and the :class:`Run` that it returns."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsimclr import protocols
from mmsimclr.checkpoints import find_checkpoint
from mmsimclr.config import load_config
from mmsimclr.datasets import UnlabeledImageFolder
from mmsimclr.errors import InputError
from mmsimclr.features import Embedder, named_images
from mmsimclr.protocols import Result, read_result, run_benchmark
from mmsimclr.reporting.figures import save_run_pictures
from mmsimclr.reporting.report import write_report

CONFIG = 'simclr_resnet18-w32_1xb128-coslr-120e_folder'
PROTOCOLS = dict(knn='knn_folder', linear='linear_1xb64-coslr-40e_folder', health='health_folder')


@dataclass(frozen=True)
class Run:
    """A pre-training that has ended.

    Attributes:
        work_dir: Its folder.
        images: The folder of images that it was trained on, if known.
    """

    work_dir: Path
    images: Path | None = None

    @property
    def result(self) -> Result:
        """What ``result.json`` says: losses, settings, hash of the checkpoint."""
        return read_result(self.work_dir / 'result.json')

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint."""
        return find_checkpoint(self.work_dir)

    def embed(self, images: Any, **settings: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Return features, float32 [N, C], of a folder in its order, or of images as an Embedder takes them.

        ``settings`` are those of :class:`~mmsimclr.features.Embedder`. Large folders: ``mmsimclr embed``.
        """
        if isinstance(images, str | Path) and Path(images).is_dir():
            folder = named_images(images)
            images = [folder.get_data_info(index)['img_path'] for index in range(len(folder))]
        return Embedder(self.checkpoint, **settings)(images)

    def evaluate(self, protocol: str, data_root: str | Path, **options: Any) -> Result:
        """Measure the encoder on ``data_root/train/CLASS/IMAGE`` and ``data_root/val/CLASS/IMAGE``.

        Args:
            protocol: ``'knn'``, ``'linear'``, ``'health'``, or the name or path of a benchmark's config.
            data_root: The folder of labelled images.
            **options: Values to override in the config; dotted ones by ``**{'protocol.k': (1, 5)}``.
        """
        name = PROTOCOLS.get(protocol, protocol)
        config = load_config(name, {'data_root': str(data_root), **options}, self.work_dir / Path(name).stem)
        return run_benchmark(config, str(self.checkpoint), config_path=config.filename)

    def report(self, images: str | Path | None = None, out: str | Path | None = None,
               **settings: Any) -> Path:
        """Write the page of what it has learnt; return its path. See ``write_report`` for ``settings``."""
        return write_report([self.work_dir], images or self.images, out or self.work_dir / 'report',
                            **settings)


def pretrain(images: str | Path, encoder: str | dict = 'resnet18', epochs: int = 100, *,
             work_dir: str | Path | None = None, config: str | Path = CONFIG, **options: Any) -> Run:
    """Pre-train an encoder on a folder of images of any depth, without labels.

    The same call goes on with a run that was interrupted. With fewer images than a batch has, the batch is
    the largest power of two that they fill, and the learning rate goes with its square root.

    Args:
        images: The folder.
        encoder: ``'resnet18'`` to ``'resnet152'``; ``'timm:convnext_atto'`` or any other name of timm; or the
            config of any encoder, ``dict(type=..., ...)``. Those but ResNets want another ``config``, one
            with AdamW.
        epochs: How often each image is seen.
        work_dir: Folder of logs and checkpoints; by default ``work_dirs/`` and the name of the folder.
        config: Name or path of the config; the default is meant for CPUs and small GPUs.
        **options: Short names such as ``batch_size``, ``view_size``, ``width``, ``precision``; other values
            of the config by ``**{'model.head.temperature': 0.1}``.

    Raises:
        MissingFileError: If there is no such folder, or it has no images.
        InputError: If there are fewer than two images, or a value is not accepted.
        ConfigError: If the work directory has a run with other settings.

    Example:
        >>> import os, tempfile, mmsimclr
        >>> from PIL import Image
        >>> os.chdir(tempfile.mkdtemp())
        >>> os.mkdir('photos')
        >>> for number in range(4):
        ...     Image.new('RGB', (40, 40), (60 * number, 0, 0)).save(f'photos/{number}.png')
        >>> tiny = dict(view_size=32, width=4, workers=0)               # of a real run you need none of these
        >>> run = mmsimclr.pretrain('photos/', encoder='resnet18', epochs=1, **tiny)    # doctest: +ELLIPSIS
        images ...
        >>> run.embed('photos/').shape
        (4, 32)
    """
    go_on = options.pop('go_on', None)                      # of explore, which calls this
    words = {**({'work_dir': str(work_dir)} if work_dir else {}),
             **({'config': str(config)} if config != CONFIG else {}), **options}
    texts = [repr(str(images)), repr(encoder), repr(epochs), *(
        f'{key}={value!r}' if key.isidentifier() else f'**{ {key: value} }' for key, value in words.items())]
    command = f'mmsimclr.pretrain({", ".join(texts)})'
    given: dict[str, Any] = dict(max_images=None, split='train', held_out_share=0.05)
    chosen = {name: options.get(f'train_dataloader.dataset.{name}', usual) for name, usual in given.items()}
    count = len(UnlabeledImageFolder(str(images), **chosen))
    if count < 2:
        raise InputError(f'{images} has one image, and the loss compares images: give two or more')
    plain = load_config(config)
    usual = plain.train_dataloader.batch_size
    if 'batch_size' not in options and count < usual:
        options['batch_size'] = 2 ** (count.bit_length() - 1)
        share = options['batch_size'] / usual
        options.setdefault('lr', plain.optim_wrapper.optimizer.lr * share ** 0.5)
    folder = Path(work_dir or Path('work_dirs') / Path(images).resolve().name)
    options = {'data_root': str(images), 'encoder': encoder, 'epochs': epochs, **options}
    settings = load_config(config, options, folder)
    settings.resume = 'auto' if any(folder.glob('*.pth')) else False
    settings.go_on = go_on or command
    drawn = copy.deepcopy(settings.train_dataloader.dataset)                    # before it is adapted
    protocols.pretrain(settings, settings.filename, command)
    save_run_pictures(folder, drawn)
    return Run(folder, Path(images))
