"""Table 9: training with labels under SimCLR's views, and for longer.

Command: mmsimclr study configs/studies/table9.py
"""

_base_ = './_base_/cifar10.py'

_place = 'train_dataloader.dataset.pipeline.0.transforms'
_crop = [dict(type='RandomResizedCrop', size=32, scale=(0.2, 1.0), interpolation='bicubic'),
         dict(type='RandomHorizontalFlip', prob=0.5)]
_colour = [dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, prob=0.8),
           dict(type='RandomGrayscale', prob=0.2)]
_blur = [dict(type='GaussianBlur', sigma=(0.1, 2.0), prob=0.5, kernel_size_fraction=0.1)]

study = dict(
    title='Supervised training under the same views, and longer (Table 9)',
    source='Chen et al. 2020, Table 9: ImageNet; other lengths, so compare directions',
    text='Training with labels gains little or nothing from stronger views and from more epochs.',
    base='../supervised/supervised_resnet18-w16_1xb128-coslr-20e_cifar10.py',
    options={'train_dataloader.dataset.num_images': 10_000},
    axes={
        'epochs': {f'{number} epochs': {'train_cfg.max_epochs': number} for number in (6, 18)},
        'views': {'crop': {_place: _crop}, '+colour': {_place: _crop + _colour},
                  '+colour+blur': {_place: _crop + _colour + _blur}},
    },
    seeds=2,
    measure=[],
    metric='pretraining.top_1_accuracy_percent',
    figure=dict(type='Bars'),
    claims=[
        dict(text='more epochs help under the strongest views', left=dict(at=['18 epochs', '+colour+blur']),
             right=dict(at=['6 epochs', '+colour+blur'])),
        dict(text='colour hurts the shorter training', left=dict(at=['6 epochs', 'crop']),
             right=dict(at=['6 epochs', '+colour'])),
    ],
    presets=dict(
        smoke=dict(
            base='../supervised/supervised_resnet18-w16_1xb128-coslr-20e_cifar10.py',
            options={'_delete_': True, 'train_dataloader.dataset.num_images': 256,
                     'encoder.base_channels': 4},
            seeds=1, measure=[],
            axes={'epochs': {'1 epochs': {'train_cfg.max_epochs': 1}},
                  'views': {'crop': {_place: _crop}, '+colour': {_place: _crop + _colour}}}),
        full=None))
