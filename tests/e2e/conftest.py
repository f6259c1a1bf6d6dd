"""The quick start's config at a size that trains in a second."""

import pytest


@pytest.fixture(scope='session')
def tiny():
    """Return a function from what differs to the ``--cfg-options`` of a tiny run."""
    def options(epochs: int = 2, **changed) -> list[str]:
        values = {
            'model.backbone.base_channels': 8,
            'model.neck.in_channels': 64,
            'model.neck.hid_channels': 32,
            'train_dataloader.batch_size': 8,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'train_dataloader.dataset.num_images': 40,
            'custom_hooks.2.interval': 2,
            'custom_hooks.2.bank.num_images': 40,
            'custom_hooks.2.queries.num_images': 20,
            'custom_hooks.3.num_images': 16,
            'custom_hooks.3.held_out.num_images': 16,
            'train_cfg.max_epochs': epochs,
            'param_scheduler.0.warmup': 1,
            'param_scheduler.0.total': max(epochs, 2),
            'optim_wrapper.optimizer.lr': 1.2,
            'default_hooks.checkpoint.interval': 1,
            'default_hooks.checkpoint.max_keep_ckpts': -1,
            'default_hooks.logger.interval': 1,
            **{key.replace('__', '.'): value for key, value in changed.items()},
        }
        return ['--cfg-options', *(f'{key}={value}' for key, value in values.items())]
    return options
