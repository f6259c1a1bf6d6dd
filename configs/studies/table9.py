"""Table 9: training with labels under SimCLR's views, and for longer.

Command: mmsimclr study configs/studies/table9.py
"""

_base_ = './_base_/cifar10.py'


def _axes(epochs, size=32, area=0.2, strength=0.5, step=0):
    crop = [dict(type='RandomResizedCrop', size=size, scale=(area, 1.0), interpolation='bicubic'),
            dict(type='RandomHorizontalFlip', prob=0.5)]
    colour = [dict(type='ColorJitter', brightness=0.8 * strength, contrast=0.8 * strength,
                   saturation=0.8 * strength, hue=0.2 * strength, prob=0.8),
              dict(type='RandomGrayscale', prob=0.2)]
    blur = [dict(type='GaussianBlur', sigma=(0.1, 2.0), prob=0.5, kernel_size_fraction=0.1)]
    views = {'crop': crop, '+colour': crop + colour, '+colour+blur': crop + colour + blur}
    place = f'train_dataloader.dataset.pipeline.{step}.transforms'
    return {'epochs': {f'{number} epochs': {'train_cfg.max_epochs': number} for number in epochs},
            'views': {name: {place: steps} for name, steps in views.items()}}


study = dict(
    title='Supervised training under the same views, and longer (Table 9)',
    source='Chen et al. 2020, Table 9: ImageNet; other lengths, so compare directions',
    setting='A ResNet-18 a quarter as wide, trained with the labels of 10,000 images of CIFAR-10, and '
            'tested on all 10,000 test images.',
    text='Training with labels gains little or nothing from stronger views and from more epochs.',
    base='../supervised/supervised_resnet18-w16_1xb128-coslr-20e_cifar10.py',
    options={'train_dataloader.dataset.num_images': 10_000},
    axes=_axes((6, 18)),
    seeds=2,
    measure=[],
    published='table_9_supervised_longer_top1',
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
                     'random_encoder.base_channels': 4},
            seeds=1, measure=[],
            axes=_axes((1,))),
        full=dict(
            base='../supervised/supervised_resnet50_32xb128-coslr-90e_in1k.py', options={}, measure=[],
            axes=_axes((90, 500, 1000), size=224, area=0.08, strength=1.0, step=1),
            claims=[dict(text='more epochs help under the strongest views',
                         left=dict(at=['1000 epochs', '+colour+blur']),
                         right=dict(at=['90 epochs', '+colour+blur']))])))
