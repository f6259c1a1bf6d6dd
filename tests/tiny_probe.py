"""Classifiers on an encoder, small enough for unit tests: 40 images of 16 pixels, ten classes."""

from pathlib import Path

import torch
from mmengine.config import Config

from mmsimclr.config import check_config
from mmsimclr.models import ResNet
from mmsimclr.protocols import Benchmark, EncoderSource

TINY = dict(depth=18, base_channels=4, stem='cifar', zero_init_residual=False)


def shapes(split: str, num_images: int, *steps: dict) -> dict:
    return dict(type='Shapes', num_images=num_images, split=split, image_size=16,
                pipeline=[*steps, dict(type='PackImage')])


def save_encoder(folder: Path, seed: int = 0) -> Path:
    """Write an encoder with batch norm statistics of its own."""
    torch.manual_seed(seed)
    encoder = ResNet(**TINY).train()
    for _ in range(3):
        encoder(torch.randn(8, 3, 16, 16))
    path = folder / f'encoder_{seed}.pth'
    torch.save(encoder.state_dict(), path)
    return path


def probe_config(work_dir: Path, protocol: str = 'LinearEvaluation', **changes) -> Config:
    config = dict(
        default_scope='mmsimclr', work_dir=str(work_dir), dataset_name='Shapes',
        protocol=dict(type=protocol), random_encoder=TINY,
        model=dict(type='Classifier', frozen=True,
                   heads=dict(pooled=dict(type='LinearHead', feature='pooled', init_std=0.0))),
        train_dataloader=dict(
            batch_size=8, num_workers=0, drop_last=True, sampler=dict(type='SeededSampler', shuffle=True),
            collate_fn=dict(type='default_collate'), dataset=shapes('train', 40)),
        test_dataloader=dict(
            batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'), dataset=shapes('test', 21)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.0)),
        param_scheduler=[dict(type='WarmupCosineLR', warmup=0, convert_to_iter_based=True)],
        train_cfg=dict(by_epoch=True, max_epochs=2),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1)),
        randomness=dict(seed=0))
    config = Config(config)
    config.merge_from_dict(changes)
    check_config(config)
    return config


def benchmark_of(config: Config, checkpoint: Path | None) -> Benchmark:
    source = EncoderSource(checkpoint, None, dict(config.random_encoder), 0)
    work_dir = Path(config.work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    return Benchmark(source, config, work_dir, work_dir / 'features', device='auto')
