"""What a trained classifier answers for every image of a test, each counted once, on any number of ranks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, broadcast
from numpy import ndarray
from torch.utils.data import DataLoader

from mmsimclr import distributed
from mmsimclr.cpu_memory import kept_memory
from mmsimclr.models import Classifier
from mmsimclr.protocols.classification_metrics import eleven_point_map
from mmsimclr.protocols.predictions import Predictions, names_below


@dataclass(frozen=True)
class Evaluation:
    """A classifier's answers for N images, in the order of their dataset.

    Attributes:
        labels: True classes, int64 [N]; or int64 [N, K] for images of several classes, as in
            :class:`Predictions`.
        ranked: For each head the classes of the largest logits, largest first, int64 [N, min(5, classes)].
        num_classes: Number of classes.
        scores: For each head the logits, float32 [N, K], of images of several classes; otherwise empty.
    """

    labels: ndarray
    ranked: Mapping[str, ndarray]
    num_classes: int
    scores: Mapping[str, ndarray] = field(default_factory=dict)

    def metrics(self, head: str) -> dict[str, float]:
        """Return a head's top-1 and, of more than five classes, top-5 accuracy in percent.

        For images of several classes, its 11-point mean average precision.
        """
        if self.scores:
            return {'11_point_map_percent': eleven_point_map(self.labels, self.scores[head])}
        hits = self.ranked[head] == self.labels[:, None]
        metrics = {'top_1_accuracy_percent': 100.0 * float(hits[:, 0].mean())}
        if self.num_classes > hits.shape[1]:
            metrics[f'top_{hits.shape[1]}_accuracy_percent'] = 100.0 * float(hits.any(axis=1).mean())
        return metrics

    def predictions(self, head: str, dataset: Any) -> Predictions:
        """Return a head's answers with the names of the images."""
        predicted = self.scores[head] if self.scores else self.ranked[head][:, 0]
        return Predictions(self.labels, predicted, image_names(dataset))


@torch.no_grad()
def evaluate(model: Classifier, loader: DataLoader) -> Evaluation:
    """Classify all images of a loader.

    The ranks may divide them in any way, and pad: an image that is seen several times counts once. The
    buffers of rank 0, such as the statistics of batch norm, become those of all ranks, as in a checkpoint.

    Args:
        model: The classifier, without wrapper.
        loader: Its items carry ``gt_label`` and ``sample_idx``, the place in the dataset.

    Returns:
        The same on every rank.

    Raises:
        ValueError: If a head was never trained, an image was not seen, has a label out of range, or makes
            logits that are not finite.
    """
    blank = [name for name, head in model.heads.items() if getattr(head, 'is_blank', False)]
    if blank:
        raise ValueError(f'the weights of {", ".join(blank)} are all zero: a probe that was never trained '
                         'says nothing about the encoder; train it first')
    if distributed.world_size() > 1:
        for buffer in model.buffers():
            broadcast(buffer, src=0)
    model.eval()
    with kept_memory(next(model.parameters()).device):
        parts = [_classify(model, batch) for batch in loader]
    own = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} if parts else {}
    gathered = [part for part in all_gather_object(own) if part]
    rows = {key: np.concatenate([part[key] for part in gathered]) for key in gathered[0]} if gathered else {}
    return _assemble(rows, list(model.heads), len(loader.dataset))


def _classify(model: Classifier, batch: Mapping[str, Any]) -> dict[str, ndarray]:
    data = model.data_preprocessor(batch, False)
    samples = data['data_samples']
    missing = {'gt_label', 'sample_idx'} - set(samples)
    if missing:
        raise ValueError(f'items of the test must carry {", ".join(sorted(missing))} in data_samples: end '
                         'the pipeline in PackImage, and use a labelled dataset')
    part = {name: samples[name].cpu().numpy() for name in ('gt_label', 'sample_idx')}
    logits = model(data['inputs'])
    finite = torch.stack([torch.isfinite(rows).all(dim=1) for rows in logits.values()]).all(dim=0)
    part['finite'] = finite.cpu().numpy()
    for name, rows in logits.items():
        part[f'ranked_{name}'] = rows.topk(min(5, rows.shape[1]), dim=1).indices.cpu().numpy()
        part['num_classes'] = np.full(len(rows), rows.shape[1])
        if samples['gt_label'].ndim == 2:
            part[f'scores_{name}'] = rows.float().cpu().numpy()
    return part


def _assemble(rows: Mapping[str, ndarray], heads: list[str], num_images: int) -> Evaluation:
    places, first = np.unique(rows.get('sample_idx', np.empty(0, np.int64)), return_index=True)
    if len(places) != num_images or num_images == 0:
        raise ValueError(f'{len(places)} of {num_images} images of the test were classified; test_dataloader '
                         'must hold all images: drop_last=False, and a sampler that leaves none out')
    labels, num_classes = rows['gt_label'][first], int(rows['num_classes'][0])
    if labels.ndim == 1 and (labels.min() < 0 or labels.max() >= num_classes):
        raise ValueError(f'labels of the test must be in [0, {num_classes}), got {labels.min()} to '
                         f'{labels.max()}')
    if not rows['finite'][first].all():
        image = int(places[~rows['finite'][first]][0])
        raise ValueError(f'the logits of image {image} of the test are not finite: training diverged, or the '
                         "encoder's weights are damaged; lower optim_wrapper.optimizer.lr")
    scores = {name: rows[f'scores_{name}'][first] for name in heads} if labels.ndim == 2 else {}
    return Evaluation(labels, {name: rows[f'ranked_{name}'][first] for name in heads}, num_classes, scores)


def image_names(dataset: Any) -> ndarray:
    """Return the paths of a dataset's images below its data root, str [N]; their numbers without files."""
    root, paths = str(getattr(dataset, 'data_root', '') or ''), None
    if dataset.get_data_info(0).get('img_path') is not None:
        paths = np.array([dataset.get_data_info(i)['img_path'] for i in range(len(dataset))])
    return names_below(root, paths, len(dataset))
