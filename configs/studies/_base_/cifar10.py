"""Studies on CIFAR-10: a reduced encoder, 10,000 images, 6 epochs, and their measurements.

Preset cpu is for two cores. smoke takes seconds on the built-in images and is for trying a study out. full is
the paper's setting on ImageNet, for those who have the machines, in the studies that have it; it was not
run.
"""

_classification = '../benchmarks/classification/'
_no_hooks = [dict(type='RunSummaryHook'), dict(type='FiniteLossHook')]

study = dict(
    setting='A ResNet-18 a quarter as wide, 10,000 images of CIFAR-10, 6 epochs at a batch of 128; linear '
            'evaluation by logistic regression on the frozen features, on all 10,000 test images.',
    base='../simclr/simclr_resnet18-w16_1xb128-coslr-20e_cifar10.py',
    options={
        'train_cfg.max_epochs': 6,
        'train_dataloader.dataset.num_images': 10_000,
        'train_dataloader.num_workers': 1,
        'default_hooks.checkpoint.interval': 2,
        'default_hooks.checkpoint.max_keep_ckpts': 1,
        'custom_hooks': _no_hooks,
    },
    seeds=3,
    measure=[
        dict(name='probe', config=_classification + 'logistic_cifar10.py',
             options={'protocol.tasks.0.train.num_images': 10_000}),
        dict(name='knn', config=_classification + 'knn_cifar10.py',
             options={'protocol.train.num_images': 10_000, 'protocol.k': [20]}),
        dict(name='health', config=_classification + 'health_cifar10.py'),
    ],
    metric='probe.top_1_accuracy_percent',
    presets=dict(
        smoke=dict(
            base='../simclr/simclr_resnet18-w16_1xb128-coslr-5e_shapes.py',
            options={
                'train_cfg.max_epochs': 2,
                'train_dataloader.dataset.num_images': 128,
                'train_dataloader.dataset.image_size': 16,
                'train_dataloader.batch_size': 32,
                'train_dataloader.num_workers': 0,
                'train_dataloader.dataset.pipeline.0.transforms.0.size': 16,
                'model.backbone.base_channels': 4,
                'model.neck.in_channels': 32,
                'model.neck.hid_channels': 32,
                'model.neck.out_channels': 16,
                'default_hooks.checkpoint.interval': 1,
                'custom_hooks': _no_hooks,
            },
            seeds=2,
            measure=[
                dict(name='probe', config=_classification + 'logistic_shapes.py', options={
                    'protocol.l2': [0.1], 'protocol.max_iterations': 50,
                    'protocol.tasks.0.train.num_images': 200, 'protocol.tasks.0.train.image_size': 16,
                    'protocol.tasks.0.test.num_images': 100, 'protocol.tasks.0.test.image_size': 16}),
                dict(name='health', config=_classification + 'health_shapes.py', options={
                    'protocol.images.num_images': 200, 'protocol.images.image_size': 16,
                    'protocol.view.size': 16, 'protocol.num_view_images': 50}),
            ]),
        full=dict(
            base='../simclr/simclr_resnet50_32xb128-coslr-1000e_in1k.py',
            options={'train_cfg.max_epochs': 100, 'default_hooks.checkpoint.interval': 10},
            measure=[dict(name='probe', config=_classification + 'linear_32xb128-coslr-90e_in1k.py')])))
