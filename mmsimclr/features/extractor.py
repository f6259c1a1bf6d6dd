"""Pooled features of every image of a dataset."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate

from mmsimclr.cpu_memory import kept_memory


@torch.no_grad()
def extract_features(model: nn.Module,
                     dataset: Dataset,
                     batch_size: int = 256,
                     num_workers: int = 0,
                     progress: Callable[[int, int], None] | None = None) -> tuple[Tensor, Tensor | None]:
    """Run the encoder over a dataset, in order, in eval mode and without gradients.

    Args:
        model: A model whose ``test_step`` returns one element with ``feature`` [C] for each image, such
            as :class:`~mmsimclr.models.SimCLR`. Its training mode is restored afterwards.
        dataset: Items as :class:`~mmsimclr.transforms.PackImage` makes them.
        batch_size: Images in one forward pass, >= 1.
        num_workers: Loader processes.
        progress: Called with (images done, images in all) after each batch.

    Returns:
        Features, float32 [N, C], on the CPU, row i of image i; and labels, int64 [N], or None if the
        items have no ``gt_label``.

    Raises:
        ValueError: If the dataset is empty, or a feature is not finite.
    """
    if len(dataset) == 0:
        raise ValueError(f'{type(dataset).__name__} is empty: there is nothing to extract features from')
    was_training = model.training
    model.eval()
    loader = DataLoader(dataset, batch_size, num_workers=num_workers, collate_fn=default_collate,
                        generator=torch.Generator())          # leaves the global random state alone
    features, labels, done = [], [], 0
    with kept_memory(next(model.parameters(), torch.empty(0)).device):
        for batch in loader:
            rows = torch.stack([element.feature for element in model.test_step(batch)])
            if not torch.isfinite(rows).all():
                bad = int((~torch.isfinite(rows).all(dim=1)).nonzero()[0]) + done
                raise ValueError(f'the feature of image {bad} is not finite: the encoder diverged or its '
                                 'weights are damaged')
            features.append(rows.float().cpu())
            if 'gt_label' in batch['data_samples']:
                labels.append(batch['data_samples']['gt_label'])
            done += len(rows)
            if progress is not None:
                progress(done, len(dataset))
    model.train(was_training)
    return torch.cat(features), torch.cat(labels) if labels else None
