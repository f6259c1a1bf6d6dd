"""A run of SimCLR small enough for unit tests: 16 images of 16 pixels, 2 iterations an epoch."""

from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from mmsimclr.config import check_config
from mmsimclr.runner import build_runner
from mmsimclr.transforms import PackImage

PACK_IMAGE = [dict(type=PackImage)]


def tiny_config(work_dir: Path, **changes) -> Config:
    view = dict(type='SimCLRView', size=16, blur=False)
    config = dict(
        default_scope='mmsimclr',
        experiment_name='-'.join(work_dir.parts[-2:]),
        work_dir=str(work_dir),
        model=dict(
            type='SimCLR',
            backbone=dict(type='ResNet', depth=18, base_channels=4, stem='cifar'),
            neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=16, out_channels=8),
            head=dict(type='ContrastiveHead', temperature=0.5)),
        train_dataloader=dict(
            batch_size=8, num_workers=0, drop_last=True, sampler=dict(type='SeededSampler', shuffle=True),
            dataset=dict(type='Shapes', num_images=16, image_size=16, pipeline=[
                dict(type='MultiView', num_views=2, transforms=[view]), dict(type='PackViews')])),
        optim_wrapper=dict(optimizer=dict(type='LARS', lr=0.3, weight_decay=1e-6),
                           constructor='LARSOptimWrapperConstructor'),
        param_scheduler=[dict(type='WarmupCosineLR', warmup=1, total=2, convert_to_iter_based=True)],
        train_cfg=dict(by_epoch=True, max_epochs=1),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1),
                           checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1)),
        custom_hooks=[dict(type='RunSummaryHook'), dict(type='FiniteLossHook')],
        log_processor=dict(type='PretrainLogProcessor', window_size=1),
        randomness=dict(seed=0))
    return Config({**config, **changes})


def tiny_runner(work_dir: Path, **changes) -> Runner:
    config = tiny_config(work_dir, **changes)
    check_config(config)
    return build_runner(config)


def log_of(work_dir: Path) -> str:
    return next(work_dir.glob('*/*.log')).read_text(encoding='utf-8')
