"""Exploring a folder of images: a look at it, minutes of pre-training, and the page of what it shows."""

import shlex
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from statistics import median

import cv2
import torch
from mmengine.optim import build_optim_wrapper
from scipy.stats import binomtest
from torch.utils.data import DataLoader, Subset

from mmsimclr.config import load_config
from mmsimclr.cpu_memory import kept_memory
from mmsimclr.datasets import UnlabeledImageFolder, data_identity, with_same_samples
from mmsimclr.environment import num_usable_cores
from mmsimclr.errors import InputError
from mmsimclr.evaluation.knn import knn_votes
from mmsimclr.features import Embedder
from mmsimclr.files import check_fields, opened_image, read_csv, read_json, write_json
from mmsimclr.registry import DATASETS, MODELS
from mmsimclr.reporting.report import write_report
from mmsimclr.run import CONFIG, pretrain

# Side of the views and channels of the stem, the best first; the first is taken that sees this many images in
# the time, or else the last.
SIZES = ((96, 32), (64, 32), (64, 16), (48, 16), (32, 16))
SIZES_ON_GPU = ((160, 64), (128, 64), *SIZES)
ENOUGH_IMAGES = 30_000
MIN_EPOCHS, MAX_EPOCHS = 10, 400
# Of the time, for the steps: the rest is for starting, saving, and a machine that slows down.
SHARE = 0.8
BATCH = 128                                                  # of the config of pretrain
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
    known = read_labels(labels, images) if labels else {}        # refused, if at all, before the training
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
        raise InputError(f'no photograph in {images} of those tried can be read: see mmsimclr prepare stats')
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
        say(accuracy_of_labels(known, checkpoint or folder))
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
            raise InputError(f'{folder} was begun with the images that {plan["images"]} had then, and those '
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
    batch = min(BATCH, 2 ** (max_images.bit_length() - 1))
    num_in_epoch = max_images // batch * batch                # a batch that is not full is left out
    epochs = max(1, min(MAX_EPOCHS, num_seen // num_in_epoch))
    plan = dict(minutes=minutes, view_size=view_px, width=width, epochs=epochs, max_images=max_images,
                images=str(Path(dataset.data_root).resolve()), data=data)
    write_json(path, plan)
    left_out = f' of {max_images:,} of them' if max_images < len(dataset) else ''
    say(f'{1 / seconds:.0f} images a second: {epochs} epochs{left_out} in about '
        f'{epochs * num_in_epoch * seconds / 60:.0f} minutes, views of {view_px} pixels, ResNet-18 with '
        f'{width} channels in the stem')
    return plan


def seconds_per_image(dataset: UnlabeledImageFolder, indices: list[int], view_px: int, width: int,
                      batch_size: int = 64, num_steps: int = 3) -> float:
    """Return the seconds that an image takes in training, by steps whose next images are loaded meanwhile."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    config = load_config(CONFIG, dict(data_root=dataset.data_root, view_size=view_px, width=width, lr=0.1))
    model = MODELS.build(config.model).to(device).train()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    seen = DATASETS.build({**config.train_dataloader.dataset, 'split': 'all'})
    # The first steps warm up, as many as there are processes, whose first batches come together. Behind the
    # last one loading goes on, as it does in training.
    workers = min(2, num_usable_cores())                      # as explore asks for
    few: Subset = Subset(seen, [indices[number % len(indices)]
                                for number in range((3 * workers + num_steps) * batch_size)])
    times = []
    cv2.setNumThreads(0)                                      # as in a run: each process has one
    with kept_memory(device, large_blocks=False):
        for batch in islice(DataLoader(few, batch_size, num_workers=workers), workers + num_steps):
            model.train_step(batch, wrapper)['loss'].item()   # which waits for a GPU
            times.append(time.perf_counter())
    return (times[-1] - times[workers - 1]) / (num_steps * batch_size)


def read_labels(path: str | Path, root: str | Path) -> dict[str, str]:
    """Return the labels of a CSV file with the columns ``path``, below ``root``, and ``label``, by file."""
    rows = read_csv(path, 'a CSV file of labels', ('path', 'label'))
    labels = {str(Path(root, row['path'])): row['label'] for row in rows if row['label']}
    if missing := [file for file in labels if not Path(file).is_file()]:
        raise InputError(f'{path} names {len(missing)} files that are not there, such as {missing[0]}; paths '
                         f'are those below {root}')
    if len(labels) < 3 or len({*labels.values()}) < 2:
        raise InputError(f'{path} must name three images or more, of two labels or more; got {len(labels)} '
                         f'of {len({*labels.values()})}')
    return labels


def accuracy_of_labels(labels: dict[str, str], checkpoint: str | Path) -> str:
    """Return, for people, how often the nearest labelled images of a labelled one have its label."""
    names = sorted(set(labels.values()))
    rows = torch.from_numpy(Embedder(checkpoint)([*labels]))
    truth, indices = torch.tensor([names.index(name) for name in labels.values()]), torch.arange(len(labels))
    hits = sum(int(knn_votes(rows[[i]], rows[indices != i], truth[indices != i], len(names),
                             min(K, len(rows) - 1)).argmax() == truth[i]) for i in indices.tolist())
    low, high = binomtest(hits, len(rows)).proportion_ci(method='wilson')
    return (f'accuracy {100 * hits / len(rows):.0f} % (95 % interval {100 * low:.0f} to {100 * high:.0f}): '
            f'each of {len(rows)} labelled images by its {min(K, len(rows) - 1)} nearest others, '
            f'{len(names)} labels')
