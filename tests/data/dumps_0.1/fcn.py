auto_scale_lr = dict(base_batch_size=16, rule='linear')
custom_hooks = [
    dict(type='mmsimclr.engine.FiniteLossHook'),
]
dataset_name = 'Shapes'
default_hooks = dict(
    checkpoint=dict(
        by_epoch=False,
        interval=400,
        max_keep_ckpts=1,
        type='mmsimclr.engine.AtomicCheckpointHook'),
    logger=dict(interval=50, type='mmengine.hooks.LoggerHook'),
    param_scheduler=dict(type='mmengine.hooks.ParamSchedulerHook'),
    preemption=dict(type='mmsimclr.engine.PreemptionHook'),
    runtime_info=dict(type='mmengine.hooks.RuntimeInfoHook'),
    sampler_seed=dict(type='mmengine.hooks.DistSamplerSeedHook'),
    timer=dict(type='mmengine.hooks.IterTimerHook'))
default_scope = 'mmseg'
encoder = dict(
    base_channels=16, depth=18, stem='cifar', zero_init_residual=False)
env_cfg = dict(
    cudnn_benchmark=True,
    dist_cfg=dict(backend='nccl', timeout=600),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
experiment_name = 'old_dumps_made-fcn'
launcher = 'none'
load_from = None
log_level = 'INFO'
log_processor = dict(
    by_epoch=False,
    type='mmsimclr.engine.PretrainLogProcessor',
    window_size=50)
model = dict(
    auxiliary_head=dict(
        align_corners=False,
        channels=32,
        concat_input=False,
        dropout_ratio=0.1,
        in_channels=16,
        in_index=2,
        loss_decode=dict(
            loss_weight=0.4,
            type='mmseg.models.CrossEntropyLoss',
            use_sigmoid=False),
        norm_cfg=dict(requires_grad=True, type='BN'),
        num_classes=11,
        num_convs=1,
        type='mmseg.models.FCNHead'),
    backbone=dict(
        depth=18,
        norm_eps=1e-05,
        out_indices=(
            0,
            1,
            2,
            3,
        ),
        output_stride=8,
        project_first_shortcut=False,
        stem='cifar',
        type='mmsimclr.models.DownstreamResNet',
        width_multiplier=0.0625),
    data_preprocessor=dict(
        bgr_to_rgb=True,
        mean=(
            0.0,
            0.0,
            0.0,
        ),
        pad_val=0,
        seg_pad_val=255,
        size=(
            64,
            64,
        ),
        std=(
            255.0,
            255.0,
            255.0,
        ),
        type='mmseg.models.SegDataPreProcessor'),
    decode_head=dict(
        align_corners=False,
        channels=64,
        concat_input=True,
        dropout_ratio=0.1,
        in_channels=32,
        in_index=3,
        loss_decode=dict(
            loss_weight=1.0,
            type='mmseg.models.CrossEntropyLoss',
            use_sigmoid=False),
        norm_cfg=dict(requires_grad=True, type='BN'),
        num_classes=11,
        num_convs=2,
        type='mmseg.models.FCNHead'),
    test_cfg=dict(mode='whole'),
    train_cfg=dict(),
    type='mmseg.models.EncoderDecoder')
optim_wrapper = dict(
    optimizer=dict(
        lr=0.1, momentum=0.9, type='torch.optim.SGD', weight_decay=0.0005),
    type='mmengine.optim.OptimWrapper')
param_scheduler = [
    dict(
        begin=0,
        by_epoch=False,
        end=400,
        eta_min=0.0001,
        power=0.9,
        type='mmengine.optim.PolyLR'),
]
protocol = dict(kind='FCN', type='mmsimclr.protocols.Segmentation')
randomness = dict(seed=0)
resume = False
sync_bn = None
test_cfg = dict(type='mmengine.runner.TestLoop')
test_dataloader = dict(
    batch_size=1,
    collate_fn=dict(type='mmengine.dataset.pseudo_collate'),
    dataset=dict(
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(
            img_path='JPEGImages', seg_map_path='SegmentationClass'),
        data_root='data/voc/VOCdevkit/VOC2007',
        metainfo=dict(
            classes=(
                'background',
                'circle',
                'square',
                'triangle',
                'star',
                'cross',
                'heart',
                'hexagon',
                'crescent',
                'ring',
                'flower',
            )),
        pipeline=[
            dict(type='mmcv.transforms.LoadImageFromFile'),
            dict(
                keep_ratio=True,
                scale=(
                    64,
                    64,
                ),
                type='mmcv.transforms.Resize'),
            dict(type='mmseg.datasets.transforms.LoadAnnotations'),
            dict(type='mmseg.datasets.transforms.PackSegInputs'),
        ],
        type='mmseg.datasets.BaseSegDataset'),
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='mmengine.dataset.DefaultSampler'))
test_evaluator = dict(type='mmsimclr.engine.SegmentationMetric')
train_cfg = dict(
    max_iters=4, type='mmengine.runner.IterBasedTrainLoop', val_interval=400)
train_dataloader = dict(
    batch_size=2,
    collate_fn=dict(type='mmengine.dataset.pseudo_collate'),
    dataset=dict(
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=dict(
            img_path='JPEGImages', seg_map_path='SegmentationClass'),
        data_root='data/voc/VOCdevkit/VOC2007',
        metainfo=dict(
            classes=(
                'background',
                'circle',
                'square',
                'triangle',
                'star',
                'cross',
                'heart',
                'hexagon',
                'crescent',
                'ring',
                'flower',
            )),
        pipeline=[
            dict(type='mmcv.transforms.LoadImageFromFile'),
            dict(type='mmseg.datasets.transforms.LoadAnnotations'),
            dict(
                keep_ratio=True,
                scale=(
                    64,
                    64,
                ),
                type='mmcv.transforms.Resize'),
            dict(prob=0.5, type='mmcv.transforms.RandomFlip'),
            dict(type='mmseg.datasets.transforms.PackSegInputs'),
        ],
        type='mmseg.datasets.BaseSegDataset'),
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=True, type='mmengine.dataset.InfiniteSampler'))
visualizer = dict(
    type='mmengine.visualization.Visualizer',
    vis_backends=[
        dict(type='mmengine.visualization.LocalVisBackend'),
    ])
work_dir = 'work_dirs/fcn'
