"""Prediction of the transformation that an image went through, from the encoder and from its head."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy import ndarray
from torch import nn

from mmsimclr import transforms
from mmsimclr.datasets.base import DatasetWrapper
from mmsimclr.engine import SampleIndex
from mmsimclr.errors import InputError, did_you_mean
from mmsimclr.features import FeatureFiles
from mmsimclr.features.images import preparation_for
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.result import Result
from mmsimclr.registry import PROTOCOLS, TRANSFORMS

#: By task and class: the share of the images, and the step that they go through; None for none. The colours
#: are lost as often as in SimCLR's policy.
TASKS: dict[str, dict[str, tuple[float, dict | None]]] = {
    'colour': {'colour': (0.8, None), 'grey': (0.2, dict(type=transforms.RandomGrayscale, prob=1.0))},
    'rotation': {str(angle): (0.25, dict(type=transforms.Rotate90, angles=[angle]))
                 for angle in (0, 90, 180, 270)},
    'noise': {'original': (0.5, None), 'noisy': (0.5, dict(type=transforms.GaussianNoise))},
    'sobel': {'original': (0.5, None), 'filtered': (0.5, dict(type=transforms.Sobel))},
}


@PROTOCOLS.register_module()
class TransformPrediction(Protocol):
    """Train MLPs to tell which transformation an image went through, on h and on g(h).

    Each image is resized and cut as the encoder expects, then goes through the step of a class drawn from its
    place in the dataset. MLPs of one hidden layer of equal width learn the class from the standardised
    features of each stage. The projection g(h) should be as long as h, for the lengths not to decide. Chance
    is the largest share of a class: 80 % for colour.

    Args:
        train, test: Configs of the images; neither pipelines nor labels are used.
        transformations: Names of ``TASKS``, or tasks of your own in the form of ``TASKS``.
        stages: Features to compare, see :class:`~mmsimclr.features.Embedder`.
        hidden_dims: Width of the hidden layer; by default the length of the first stage.
        epochs, batch_size, lr: Of Adam with a cosine to 0.
        resize_px, crop_px: As in :class:`~mmsimclr.protocols.KNN`.

    Source:
        Chen et al. 2020, section 4.2 and table 3, which says nothing of the MLPs but that there are some.
    """

    def __init__(self, train: dict, test: dict,
                 transformations: Sequence[str] | Mapping[str, Mapping] = tuple(TASKS),
                 stages: Sequence[str] = ('pooled', 'projection'), hidden_dims: int | None = None,
                 epochs: int = 20, batch_size: int = 256, lr: float = 1e-3, resize_px: int | None = None,
                 crop_px: int | None = None) -> None:
        own = isinstance(transformations, Mapping)
        for name in () if own else transformations:
            if name not in TASKS:
                raise InputError(f'transformations must be of {", ".join(TASKS)}, got {name!r}'
                                 + did_you_mean(name, TASKS))
        self.tasks = dict(transformations) if own else {name: TASKS[name] for name in transformations}
        for name, classes in self.tasks.items():
            shares = [share for share, _ in classes.values()]
            if len(shares) < 2 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
                raise InputError(f'the shares of the classes of {name!r} must be > 0 and have the sum 1, and '
                                 f'be two or more, got {shares}')
        if min(epochs, batch_size, hidden_dims or 1) < 1 or not lr > 0:
            raise InputError('epochs, batch_size and hidden_dims must be >= 1 and lr > 0, got '
                             f'{epochs}, {batch_size}, {hidden_dims} and {lr}')
        self.datasets, self.stages = dict(train=train, test=test), tuple(stages)
        self.hidden_dims, self.epochs, self.batch_size, self.lr = hidden_dims, epochs, batch_size, lr
        self.preparation = dict(resize_px=resize_px, crop_px=crop_px)

    def run(self, benchmark: Benchmark) -> Result:
        """Return, for each task, the accuracy on each stage and that of chance, in percent."""
        metrics, counts, dims = {}, {}, {}
        for name, classes in self.tasks.items():
            parts = {part: self._features(benchmark, part, name) for part in self.datasets}
            counts = {part: len(features) for part, features in parts.items()}
            train, test = parts['train'], parts['test']
            dims = {stage: train.stages[stage].shape[1] for stage in self.stages}
            hidden_dims = self.hidden_dims or dims[self.stages[0]]
            for stage in self.stages:
                predicted = predict_by_mlp(
                    np.array(train.stages[stage]), train.labels, np.array(test.stages[stage]), len(classes),
                    hidden_dims, self.epochs, self.batch_size, self.lr, benchmark.seed, benchmark.device)
                metrics[f'{name}_{stage}_accuracy_percent'] = 100 * float((predicted == test.labels).mean())
                benchmark.logger.info('%s from %s: %.2f %%', name, stage,
                                      metrics[f'{name}_{stage}_accuracy_percent'])
            metrics[f'{name}_chance_percent'] = 100 * max(share for share, _ in classes.values())
        return benchmark.result('transformation prediction', metrics, counts, dict(
            tasks={name: {label: dict(share=share, step=_describe(step)) for label, (share, step) in
                          classes.items()} for name, classes in self.tasks.items()},
            chance="the largest share of a task's classes", feature_dims=dims,
            hidden_dims=self.hidden_dims or next(iter(dims.values()), None), epochs=self.epochs,
            batch_size=self.batch_size, lr=self.lr, optimizer='Adam, cosine to 0',
            features='standardised by the training images'))

    def _features(self, benchmark: Benchmark, part: str, task: str) -> Any:
        """Return the features of the transformed images of a part, and their classes as labels."""
        # Each task draws by itself, for training other than for the test.
        seed = np.random.SeedSequence([benchmark.seed, *f'{part} {task}'.encode()]).generate_state(1)
        return transformed_features(benchmark, self.stages, self.preparation, dataset=self.datasets[part],
                                    classes=self.tasks[task], seed=int(seed[0]))


def transformed_features(benchmark: Benchmark, stages: Sequence[str], preparation: Mapping[str, Any],
                         **images: Any) -> FeatureFiles:
    """Return features of :class:`TransformedImages`, which are prepared before the step as others are."""
    size = preparation_for(benchmark.encoder.backbone, **preparation)
    return benchmark.features(
        dict(type=TransformedImages, resize_px=size.resize_px, crop_px=size.crop_px, **images), stages,
        resize_px=size.crop_px, crop_px=size.crop_px)


class TransformedImages(DatasetWrapper):
    """Images of another dataset after the step of a class drawn for each; ``gt_label`` is that class.

    ``classes`` is one of ``TASKS``. ``seed`` and an image's place decide its class and what the step draws;
    before it the image is resized and cut. With ``num_images`` so many evenly spaced images count.
    """

    def __init__(self, dataset: Mapping[str, Any], classes: Mapping[str, tuple[float, dict | None]],
                 seed: int, resize_px: int, crop_px: int, num_images: int | None = None) -> None:
        super().__init__({**dataset, 'pipeline': []} if 'pipeline' in dataset else dataset)
        number = len(self.dataset)
        self._places = np.linspace(0, number - 1, min(num_images or number, number)).astype(int)
        self.classes, self.seed = tuple(classes), seed
        self._limits = np.cumsum([share for share, _ in classes.values()])
        self._steps = [TRANSFORMS.build(step) if step else None for _, step in classes.values()]
        self._prepare = (transforms.LoadImage(), transforms.ResizeShortSide(resize_px),
                         transforms.CenterCrop(crop_px), transforms.RandomView([self._draw]))

    @property
    def metainfo(self) -> dict:
        return {'classes': self.classes}

    def __len__(self) -> int:
        return len(self._places)

    def get_data_info(self, index: int) -> dict:
        """Return ``img``, uint8 [crop_px, crop_px, 3], and the class as ``gt_label``."""
        info = self.dataset.get_data_info(int(self._places[index]))
        image = {key: info[key] for key in ('img', 'img_path') if info.get(key) is not None}
        image['sample_idx'] = SampleIndex(index, epoch=0, seed=self.seed)
        for step in self._prepare:
            image = step(image)
        img, label = image['img']
        return {'img': img, 'gt_label': label, 'sample_idx': index}

    def _draw(self, results: dict) -> dict:
        label = min(int(np.searchsorted(self._limits, random.random(), 'right')), len(self.classes) - 1)
        if step := self._steps[label]:
            results = step(results)
        return {**results, 'img': (results['img'], label)}


def predict_by_mlp(train: ndarray, labels: ndarray, test: ndarray, num_classes: int, hidden_dims: int,
                   epochs: int, batch_size: int, lr: float, seed: int = 0, device: str = 'cpu') -> ndarray:
    """Train an MLP of one hidden layer with ReLU; return the classes that it names for ``test``, int64 [M].

    Features, float [N, D] and [M, D], are standardised by those of ``train``. The global random state stays
    as it is.
    """
    train, test = (torch.from_numpy(rows).to(device, torch.float32) for rows in (train, test))
    mean, std = train.mean(dim=0), train.std(dim=0)
    train, test = ((rows - mean) / torch.where(std > 0, std, 1) for rows in (train, test))
    classes = torch.from_numpy(np.array(labels)).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(train.shape[1], hidden_dims), nn.ReLU(),
                              nn.Linear(hidden_dims, num_classes)).to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr)
        steps = epochs * -(-len(train) // batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(train)).to(device).split(batch_size):
                loss = F.cross_entropy(model(train[rows]), classes[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    with torch.no_grad():
        return torch.cat([model(rows).argmax(dim=1) for rows in test.split(8192)]).cpu().numpy()


def _describe(step: Mapping[str, Any] | None) -> str:
    return repr(TRANSFORMS.build(step)) if step else 'none'
