"""Exploring a folder of images: a look at it, minutes of pre-training, and the page of what it shows."""

import shlex
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

import torch
from scipy.stats import binomtest
from torch.utils.data import DataLoader, Subset

from mmsimclr.datasets import UnlabeledImageFolder, data_identity, with_same_samples
from mmsimclr.engine.optimizers.autocast import native_bfloat16
from mmsimclr.environment import num_usable_cores
from mmsimclr.errors import InputError
from mmsimclr.evaluation.knn import knn_votes
from mmsimclr.features import Embedder
from mmsimclr.files import check_fields, opened_image, read_csv, read_json, write_json
from mmsimclr.models import ContrastiveHead, NonLinearNeck, ResNet, SimCLR
from mmsimclr.reporting.report import write_report
from mmsimclr.run import pretrain
from mmsimclr.transforms import simclr_views

# Side of the views and channels of the stem, the best first; the first is taken that sees this many images in
# the time, or else the last.
SIZES = ((96, 32), (64, 32), (64, 16), (48, 16), (32, 16))
SIZES_ON_GPU = ((160, 64), (128, 64), *SIZES)
ENOUGH_IMAGES = 30_000
MIN_EPOCHS, MAX_EPOCHS = 10, 400
# Of the time, for the steps: the rest is for starting, saving, and a machine that slows down.
SHARE = 0.8
K = 5


def explore(images: str | Path, minutes: float = 10, *, labels: str | Path | None = None,
            checkpoint: str | Path | None = None, work_dir: str | Path | None = None,
            say: Callable[[str], None] = print) -> Path:
    """Look at a folder of images, pre-train on it, and write a page about it; return the page's path.

    What is in ``work_dir`` already is used: an interrupted pre-training goes on, a finished one is not
    repeated, and features are not extracted twice.

    Args:
        images: A folder of any depth.
        minutes: Time for pre-training, > 0.
        labels: A CSV file with the columns ``path``, below the folder, and ``label``, of some images: then
            the accuracy of their nearest neighbours is printed, with an interval.
        checkpoint: Weights to use in the place of pre-training.
        work_dir: By default ``work_dirs/explore_`` and the name of the folder.
        say: Receives the lines for the user.

    Raises:
        MissingFileError: If there are no images or labels.
        InputError: If ``minutes`` is not > 0, or the work directory was begun with others or other images.
    """
    if not minutes > 0:
        raise InputError(f'minutes must be > 0, got {minutes}')
    known = read_labels(labels) if labels else {}                # a wrong file is refused before the training
    folder = Path(work_dir or Path('work_dirs') / f'explore_{Path(images).resolve().name}')
    warnings.filterwarnings('ignore', message='the 7x7 stem')      # small views are for speed
    dataset = UnlabeledImageFolder(str(images))
    sides = {}
    for index in range(0, len(dataset), max(1, len(dataset) // 100)):
        # Decoders of foreign bytes raise almost anything.
        with suppress(Exception), opened_image(dataset.get_data_info(index)['img_path']) as image:
            image.load()
            sides[index] = min(image.size)
    if not sides:
        raise InputError(f'none of the images in {images} that were tried can be read')
    say(f'{len(dataset):,} images in {images}; the short side of the median one has '
        f'{median(sides.values()):.0f} pixels')
    folder.mkdir(parents=True, exist_ok=True)
    if checkpoint is None:
        plan = _plan(folder, dataset, minutes, sides, say)
        if (folder / 'result.json').is_file():
            say(f'pre-training is done already: {folder}')
        else:
            words = {'minutes': f'{minutes:g}', 'labels': labels, 'work-dir': work_dir}
            go_on = ['mmsimclr', 'explore', str(images)]
            for name, value in words.items():
                go_on += [f'--{name}', str(value)] if value else []
            pretrain(images, epochs=plan['epochs'], work_dir=folder, view_size=plan['view_size'],
                     width=plan['width'], workers=min(2, num_usable_cores()), go_on=shlex.join(go_on),
                     **{'train_dataloader.dataset.max_images': plan['max_images'],
                        'bad_images.max_fraction': 0.05,
                        'default_hooks.checkpoint.interval': max(1, plan['epochs'] // 20)})
    page = write_report([folder], images, folder / 'report', checkpoint=checkpoint, labels=labels)
    if known:
        say(accuracy_of_labels(known, Path(images), checkpoint or folder))
    say(f'the page: {page}')
    return page


def _plan(folder: Path, dataset: UnlabeledImageFolder, minutes: float, sides: dict[int, int],
          say: Callable[[str], None]) -> dict:
    """Return sizes and epochs that fit into the time, as measured here; what was planned before stays."""
    path, data = folder / 'plan.json', data_identity({'images': dataset})
    if path.is_file():
        plan = check_fields(read_json(path, 'a plan'), str(path), 'a plan', dict(
            dict.fromkeys(('view_size', 'width', 'epochs', 'max_images'), (int,)), minutes=(int, float),
            images=(str,), data=(dict,)))
        if plan['minutes'] != minutes:
            raise InputError(f'{folder} was begun with --minutes {plan["minutes"]:g}, got {minutes:g}; name '
                             'another --work-dir, or remove it')
        if with_same_samples(data, plan['data']) != plan['data']:
            raise InputError(f'{folder} was begun with images of {plan["images"]}, and those '
                             f'of {dataset.data_root} are others; name another --work-dir, or remove it')
        return plan
    sizes: Sequence[tuple[int, int]] = SIZES_ON_GPU if torch.cuda.is_available() else SIZES
    sizes = [each for each in sizes if each[0] <= median(sides.values())] or sizes[-1:]
    for view_px, width in sizes:
        seconds = seconds_per_image(dataset, [*sides], view_px, width)
        num_seen = int(SHARE * 60 * minutes / seconds)
        if num_seen >= ENOUGH_IMAGES:
            break
    max_images = max(2, min(len(dataset), num_seen // MIN_EPOCHS))
    epochs = max(1, min(MAX_EPOCHS, num_seen // max_images))
    plan = dict(minutes=minutes, view_size=view_px, width=width, epochs=epochs, max_images=max_images,
                images=str(Path(dataset.data_root).resolve()), data=data)
    write_json(path, plan)
    left_out = f' of {max_images:,} of them' if max_images < len(dataset) else ''
    say(f'{1 / seconds:.0f} images a second: {epochs} epochs{left_out} in about '
        f'{epochs * max_images * seconds / 60:.0f} minutes, views of {view_px} pixels, ResNet-18 with '
        f'{width} channels in the stem')
    return plan


def seconds_per_image(dataset: UnlabeledImageFolder, indices: list[int], view_px: int, width: int,
                      batch_size: int = 128) -> float:
    """Return the seconds that an image takes in training: reading, views, forward and backward pass."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model = SimCLR(ResNet(18, base_channels=width), NonLinearNeck(8 * width, 8 * width, 128),
                   ContrastiveHead(temperature=0.2)).to(device)
    seen = UnlabeledImageFolder(dataset.data_root, pipeline=[simclr_views(view_px, scale=(0.2, 1.0))])
    few: Subset = Subset(seen, [indices[number % len(indices)] for number in range(3 * batch_size)])
    times = [time.perf_counter()]
    for views in DataLoader(few, batch_size):
        with torch.autocast(device, torch.bfloat16, enabled=native_bfloat16(device)):
            loss = model.loss([view.to(device, memory_format=torch.channels_last) for view in views])['loss']
        loss.backward()
        times.append(time.perf_counter())
    return (times[-1] - times[1]) / (2 * batch_size)             # without the first batch, which warms up


def read_labels(path: str | Path) -> dict[str, str]:
    """Return the label of each path of a CSV file with the columns ``path`` and ``label``."""
    rows = read_csv(path, 'a CSV file of labels', ('path', 'label'))
    return {row['path']: row['label'] for row in rows if row['label']}


def accuracy_of_labels(labels: dict[str, str], root: Path, checkpoint: str | Path) -> str:
    """Return, for people, how often the nearest labelled images of a labelled one have its label."""
    names = sorted(set(labels.values()))
    if len(labels) < 3 or len(names) < 2:
        raise InputError(f'labels must name three images or more, of two labels or more; got {len(labels)} '
                         f'of {len(names)}')
    rows = torch.from_numpy(Embedder(checkpoint)([str(root / path) for path in labels]))
    truth, indices = torch.tensor([names.index(name) for name in labels.values()]), torch.arange(len(labels))
    hits = sum(int(knn_votes(rows[[i]], rows[indices != i], truth[indices != i], len(names),
                             min(K, len(rows) - 1)).argmax() == truth[i]) for i in indices.tolist())
    low, high = binomtest(hits, len(rows)).proportion_ci(method='wilson')
    return (f'accuracy {100 * hits / len(rows):.0f} % (95 % interval {100 * low:.0f} to {100 * high:.0f}): '
            f'each of {len(rows)} labelled images by its {min(K, len(rows) - 1)} nearest others, '
            f'{len(names)} labels')
