auto_scale_lr = dict(base_batch_size=8, rule='linear')
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
default_scope = 'mmdet'
encoder = dict(
    base_channels=16, depth=18, stem='cifar', zero_init_residual=False)
env_cfg = dict(
    cudnn_benchmark=True,
    dist_cfg=dict(backend='nccl', timeout=600),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
experiment_name = 'old_dumps_made-mask_rcnn'
launcher = 'none'
load_from = None
log_level = 'INFO'
log_processor = dict(
    by_epoch=False,
    type='mmsimclr.engine.PretrainLogProcessor',
    window_size=50)
model = dict(
    backbone=dict(
        depth=18,
        norm_eps=1e-05,
        out_indices=(
            1,
            2,
            3,
        ),
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
        pad_mask=True,
        pad_size_divisor=32,
        std=(
            255.0,
            255.0,
            255.0,
        ),
        type='mmdet.models.DetDataPreprocessor'),
    neck=dict(
        in_channels=[
            8,
            16,
            32,
        ],
        norm_cfg=dict(requires_grad=True, type='BN'),
        num_outs=3,
        out_channels=32,
        type='mmdet.models.FPN'),
    roi_head=dict(
        bbox_head=dict(
            bbox_coder=dict(
                target_means=[
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                ],
                target_stds=[
                    0.1,
                    0.1,
                    0.2,
                    0.2,
                ],
                type='mmdet.models.task_modules.DeltaXYWHBBoxCoder'),
            conv_out_channels=32,
            fc_out_channels=128,
            in_channels=32,
            loss_bbox=dict(loss_weight=1.0, type='mmdet.models.L1Loss'),
            loss_cls=dict(
                loss_weight=1.0,
                type='mmdet.models.CrossEntropyLoss',
                use_sigmoid=False),
            norm_cfg=dict(requires_grad=True, type='BN'),
            num_classes=10,
            reg_class_agnostic=False,
            roi_feat_size=7,
            type='mmdet.models.Shared4Conv1FCBBoxHead'),
        bbox_roi_extractor=dict(
            featmap_strides=[
                2,
                4,
                8,
            ],
            finest_scale=12,
            out_channels=32,
            roi_layer=dict(
                output_size=7, sampling_ratio=0, type='mmcv.ops.RoIAlign'),
            type='mmdet.models.SingleRoIExtractor'),
        mask_head=dict(
            conv_out_channels=32,
            in_channels=32,
            loss_mask=dict(
                loss_weight=1.0,
                type='mmdet.models.CrossEntropyLoss',
                use_mask=True),
            norm_cfg=dict(requires_grad=True, type='BN'),
            num_classes=10,
            num_convs=4,
            type='mmdet.models.FCNMaskHead'),
        mask_roi_extractor=dict(
            featmap_strides=[
                2,
                4,
                8,
            ],
            finest_scale=12,
            out_channels=32,
            roi_layer=dict(
                output_size=14, sampling_ratio=0, type='mmcv.ops.RoIAlign'),
            type='mmdet.models.SingleRoIExtractor'),
        type='mmdet.models.StandardRoIHead'),
    rpn_head=dict(
        anchor_generator=dict(
            ratios=[
                0.5,
                1.0,
                2.0,
            ],
            scales=[
                4,
                6,
            ],
            strides=[
                2,
                4,
                8,
            ],
            type='mmdet.models.task_modules.AnchorGenerator'),
        bbox_coder=dict(
            target_means=[
                0.0,
                0.0,
                0.0,
                0.0,
            ],
            target_stds=[
                1.0,
                1.0,
                1.0,
                1.0,
            ],
            type='mmdet.models.task_modules.DeltaXYWHBBoxCoder'),
        feat_channels=32,
        in_channels=32,
        loss_bbox=dict(loss_weight=1.0, type='mmdet.models.L1Loss'),
        loss_cls=dict(
            loss_weight=1.0,
            type='mmdet.models.CrossEntropyLoss',
            use_sigmoid=True),
        type='mmdet.models.RPNHead'),
    test_cfg=dict(
        rcnn=dict(
            mask_thr_binary=0.5,
            max_per_img=100,
            nms=dict(iou_threshold=0.5, type='mmcv.ops.nms'),
            score_thr=0.05),
        rpn=dict(
            max_per_img=32,
            min_bbox_size=0,
            nms=dict(iou_threshold=0.7, type='mmcv.ops.nms'),
            nms_pre=256)),
    train_cfg=dict(
        rcnn=dict(
            assigner=dict(
                ignore_iof_thr=-1,
                match_low_quality=True,
                min_pos_iou=0.5,
                neg_iou_thr=0.5,
                pos_iou_thr=0.5,
                type='mmdet.models.task_modules.MaxIoUAssigner'),
            debug=False,
            mask_size=28,
            pos_weight=-1,
            sampler=dict(
                add_gt_as_proposals=True,
                neg_pos_ub=-1,
                num=12,
                pos_fraction=0.5,
                type='mmdet.models.task_modules.RandomSampler')),
        rpn=dict(
            allowed_border=-1,
            assigner=dict(
                ignore_iof_thr=-1,
                match_low_quality=True,
                min_pos_iou=0.3,
                neg_iou_thr=0.3,
                pos_iou_thr=0.7,
                type='mmdet.models.task_modules.MaxIoUAssigner'),
            debug=False,
            pos_weight=-1,
            sampler=dict(
                add_gt_as_proposals=False,
                neg_pos_ub=-1,
                num=64,
                pos_fraction=0.5,
                type='mmdet.models.task_modules.RandomSampler')),
        rpn_proposal=dict(
            max_per_img=32,
            min_bbox_size=0,
            nms=dict(iou_threshold=0.7, type='mmcv.ops.nms'),
            nms_pre=256)),
    type='mmdet.models.MaskRCNN')
optim_wrapper = dict(
    optimizer=dict(
        lr=0.02, momentum=0.9, type='torch.optim.SGD', weight_decay=0.0001),
    type='mmengine.optim.OptimWrapper')
param_scheduler = [
    dict(
        begin=0,
        by_epoch=False,
        end=50,
        start_factor=0.001,
        type='mmengine.optim.LinearLR'),
    dict(
        begin=0,
        by_epoch=False,
        end=400,
        gamma=0.1,
        milestones=[
            300,
            370,
        ],
        type='mmengine.optim.MultiStepLR'),
]
protocol = dict(kind='Mask R-CNN FPN', type='mmsimclr.protocols.Detection')
randomness = dict(seed=0)
resume = False
sync_bn = None
test_cfg = dict(type='mmengine.runner.TestLoop')
test_dataloader = dict(
    batch_size=1,
    collate_fn=dict(type='mmengine.dataset.pseudo_collate'),
    dataset=dict(
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        data_root='data/coco/',
        metainfo=dict(
            classes=(
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
                type='mmdet.datasets.transforms.Resize'),
            dict(
                meta_keys=(
                    'img_id',
                    'img_path',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                ),
                type='mmdet.datasets.transforms.PackDetInputs'),
        ],
        test_mode=True,
        type='mmdet.datasets.CocoDataset'),
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='mmengine.dataset.DefaultSampler'))
test_evaluator = dict(
    ann_file=
    'data/coco/annotations/instances_val2017.json',
    type='mmsimclr.engine.metrics.coco_metric.COCOMetric')
train_cfg = dict(
    max_iters=4, type='mmengine.runner.IterBasedTrainLoop', val_interval=400)
train_dataloader = dict(
    batch_size=2,
    collate_fn=dict(type='mmengine.dataset.pseudo_collate'),
    dataset=dict(
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        data_root='data/coco/',
        metainfo=dict(
            classes=(
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
                type='mmdet.datasets.transforms.LoadAnnotations',
                with_bbox=True,
                with_mask=True),
            dict(
                keep_ratio=True,
                scale=(
                    64,
                    64,
                ),
                type='mmdet.datasets.transforms.Resize'),
            dict(prob=0.5, type='mmdet.datasets.transforms.RandomFlip'),
            dict(type='mmdet.datasets.transforms.PackDetInputs'),
        ],
        type='mmdet.datasets.CocoDataset'),
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=True, type='mmengine.dataset.InfiniteSampler'))
visualizer = dict(
    type='mmengine.visualization.Visualizer',
    vis_backends=[
        dict(type='mmengine.visualization.LocalVisBackend'),
    ])
work_dir = 'work_dirs/mask_rcnn'
