"""Tasks of ranks with views made on the device, and the same on one process."""

import copy

import torch
import torch.distributed as dist
from torch import Tensor

from mmsimclr.config import load_config
from mmsimclr.runner import build_runner


def first_epochs(config_path: str, options: dict, work_dir: str, num_epochs: int) -> list[list[tuple]]:
    """Return, for each batch of each epoch, the images' indices and their views [V, N, 3, H, W]."""
    config = load_config(config_path, copy.deepcopy(options), work_dir)
    config.launcher = 'pytorch' if dist.is_initialized() else 'none'
    runner = build_runner(config)
    loader = runner.build_dataloader(runner._train_dataloader, seed=5)
    preprocessor = getattr(runner.model, 'module', runner.model).data_preprocessor
    epochs = []
    for epoch in range(num_epochs):
        loader.sampler.set_epoch(epoch)
        batches = [preprocessor(batch, True) for batch in loader]
        epochs.append([(_indices(batch), torch.stack(batch['inputs'])) for batch in batches])
    return epochs


def _indices(batch: dict) -> Tensor:
    return batch['data_samples']['sample_idx']
