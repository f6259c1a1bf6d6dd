auto_scale_lr = dict(base_batch_size=128, rule='linear')
custom_hooks = [
    dict(type='mmsimclr.engine.FiniteLossHook'),
]
dataset_name = 'Shapes'
default_hooks = dict(
    checkpoint=dict(
        interval=1,
        max_keep_ckpts=1,
        type='mmsimclr.engine.AtomicCheckpointHook'),
    logger=dict(interval=50, type='mmengine.hooks.LoggerHook'),
    param_scheduler=dict(type='mmengine.hooks.ParamSchedulerHook'),
    preemption=dict(type='mmsimclr.engine.PreemptionHook'),
    runtime_info=dict(type='mmengine.hooks.RuntimeInfoHook'),
    sampler_seed=dict(type='mmengine.hooks.DistSamplerSeedHook'),
    timer=dict(type='mmengine.hooks.IterTimerHook'))
default_scope = 'mmsimclr'
encoder = dict(
    base_channels=16, depth=18, stem='cifar', zero_init_residual=False)
env_cfg = dict(
    cudnn_benchmark=True,
    dist_cfg=dict(backend='nccl', timeout=600),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
experiment_name = 'old_dumps_made-linear'
launcher = 'none'
load_from = None
log_level = 'INFO'
log_processor = dict(
    type='mmsimclr.engine.PretrainLogProcessor', window_size=50)
model = dict(
    backbone=dict(
        depth=18,
        norm_eps=1e-05,
        out_indices=(3, ),
        project_first_shortcut=False,
        stem='cifar',
        type='mmsimclr.ResNet',
        width_multiplier=0.0625),
    data_preprocessor=dict(
        channels_last=True,
        mean=(
            0.0,
            0.0,
            0.0,
        ),
        std=(
            255.0,
            255.0,
            255.0,
        ),
        type=mmsimclr.models.preprocessors.view_preprocessor.ViewPreprocessor),
    frozen=True,
    heads=dict(
        pooled=dict(
            feature='pooled',
            init_std=0.0,
            map_shape=(
                32,
                4,
                4,
            ),
            num_classes=10,
            type='mmsimclr.models.LinearHead')),
    type='mmsimclr.models.Classifier')
optim_wrapper = dict(
    optimizer=dict(
        lr=0.05,
        momentum=0.9,
        nesterov=True,
        type='torch.optim.SGD',
        weight_decay=0.0),
    type='mmengine.optim.OptimWrapper')
param_scheduler = [
    dict(
        convert_to_iter_based=True,
        type='mmsimclr.engine.WarmupCosineLR',
        warmup=0),
]
protocol = dict(type='mmsimclr.protocols.LinearEvaluation')
randomness = dict(seed=0)
resume = False
train_cfg = dict(max_epochs=2, type='mmengine.runner.EpochBasedTrainLoop')
train_dataloader = dict(
    batch_size=20,
    collate_fn=dict(type='torch.utils.data.default_collate'),
    dataset=dict(
        num_images=80,
        pipeline=[
            dict(
                transforms=[
                    dict(type='mmsimclr.transforms.RandomHorizontalFlip'),
                ],
                type='mmsimclr.transforms.RandomView'),
            dict(type='mmsimclr.transforms.PackImage'),
        ],
        split='train',
        type='mmsimclr.datasets.Shapes'),
    drop_last=True,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=True, type='mmsimclr.engine.SeededSampler'))
visualizer = dict(
    type='mmengine.visualization.Visualizer',
    vis_backends=[
        dict(type='mmengine.visualization.LocalVisBackend'),
    ])
work_dir = 'work_dirs/linear'
