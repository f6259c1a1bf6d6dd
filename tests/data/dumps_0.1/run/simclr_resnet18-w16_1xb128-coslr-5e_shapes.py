auto_scale_lr = dict(base_batch_size=128, rule='sqrt')
custom_hooks = [
    dict(type='mmsimclr.engine.RunSummaryHook'),
    dict(type='mmsimclr.engine.FiniteLossHook'),
    dict(
        bank=dict(
            num_images=40,
            pipeline=[
                dict(type='mmsimclr.transforms.PackImage'),
            ],
            split='train',
            type='mmsimclr.datasets.Shapes'),
        interval=1,
        queries=dict(
            num_images=20,
            pipeline=[
                dict(type='mmsimclr.transforms.PackImage'),
            ],
            split='test',
            type='mmsimclr.datasets.Shapes'),
        type='mmsimclr.engine.OnlineKNNHook'),
]
default_hooks = dict(
    checkpoint=dict(
        interval=1,
        max_keep_ckpts=1,
        type='mmsimclr.engine.AtomicCheckpointHook'),
    logger=dict(interval=13, type='mmengine.hooks.LoggerHook'),
    param_scheduler=dict(type='mmengine.hooks.ParamSchedulerHook'),
    preemption=dict(type='mmsimclr.engine.PreemptionHook'),
    runtime_info=dict(type='mmengine.hooks.RuntimeInfoHook'),
    sampler_seed=dict(type='mmengine.hooks.DistSamplerSeedHook'),
    timer=dict(type='mmengine.hooks.IterTimerHook'))
default_scope = 'mmsimclr'
env_cfg = dict(
    cudnn_benchmark=True,
    dist_cfg=dict(backend='nccl', timeout=600),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
launcher = 'none'
load_from = None
log_level = 'INFO'
log_processor = dict(
    custom_cfg=[
        dict(
            data_src='contrastive_accuracy',
            method_name='mean',
            window_size=50),
        dict(
            data_src='contrastive_entropy', method_name='mean',
            window_size=50),
    ],
    type='mmsimclr.engine.PretrainLogProcessor',
    window_size=50)
model = dict(
    backbone=dict(
        base_channels=2,
        depth=18,
        stem='cifar',
        type='mmsimclr.models.ResNet',
        zero_init_residual=False),
    data_preprocessor=dict(
        channels_last=True, type='mmsimclr.models.ViewPreprocessor'),
    head=dict(
        loss=dict(type='mmsimclr.models.NTXentLoss'),
        temperature=0.2,
        type='mmsimclr.models.ContrastiveHead'),
    neck=dict(
        hid_channels=16,
        in_channels=16,
        num_layers=2,
        out_channels=8,
        type='mmsimclr.models.NonLinearNeck'),
    type='mmsimclr.models.SimCLR')
optim_wrapper = dict(
    constructor='mmsimclr.engine.LARSOptimWrapperConstructor',
    enabled='auto',
    optimizer=dict(
        lr=1.2, momentum=0.9, type='mmsimclr.engine.LARS', weight_decay=1e-06),
    type='mmsimclr.engine.BFloat16OptimWrapper')
param_scheduler = [
    dict(
        convert_to_iter_based=True,
        total=2,
        type='mmsimclr.engine.WarmupCosineLR',
        warmup=1),
]
randomness = dict(seed=0)
resume = False
sync_bn = None
train_cfg = dict(max_epochs=1, type='mmengine.runner.EpochBasedTrainLoop')
train_dataloader = dict(
    batch_size=8,
    collate_fn=dict(type='torch.utils.data.default_collate'),
    dataset=dict(
        num_images=32,
        pipeline=[
            dict(
                num_views=2,
                transforms=[
                    dict(
                        blur=False,
                        scale=(
                            0.3,
                            1.0,
                        ),
                        size=32,
                        strength=1.0,
                        type='mmsimclr.transforms.SimCLRView'),
                ],
                type='mmsimclr.transforms.MultiView'),
            dict(type='mmsimclr.transforms.PackViews'),
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
work_dir = 'work_dirs/run'
