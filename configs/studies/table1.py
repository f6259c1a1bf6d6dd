"""Table 1: colour strength, blur and AutoAugment, for SimCLR and with labels.

Command: mmsimclr study configs/studies/table1.py
"""

_base_ = './_base_/cifar10.py'

_supervised = '../supervised/supervised_resnet18-w16_1xb128-coslr-20e_cifar10.py'
_strengths = {'1/8': 0.125, '1/4': 0.25, '1/2': 0.5, '1': 1.0}


def _policies(size, area):
    crop = [dict(type='RandomResizedCrop', size=size, scale=(area, 1.0), interpolation='bicubic'),
            dict(type='RandomHorizontalFlip', prob=0.5)]

    def colour(strength):
        return [*crop, dict(type='ColorJitter', brightness=0.8 * strength, contrast=0.8 * strength,
                            saturation=0.8 * strength, hue=0.2 * strength, prob=0.8),
                dict(type='RandomGrayscale', prob=0.2)]

    blur = dict(type='GaussianBlur', sigma=(0.1, 2.0), prob=0.5, kernel_size_fraction=0.1)
    return {**{name: colour(strength) for name, strength in _strengths.items()},
            '1 (+Blur)': [*colour(1.0), blur], 'AutoAugment': [*crop, dict(type='AutoAugment')]}


def _cells(size=32, area=0.2, step=0, supervised=None):
    place = f'train_dataloader.dataset.pipeline.{step}.transforms'
    policies = _policies(size, area)
    return {**{f'SimCLR | {name}': {place: steps} for name, steps in policies.items()},
            **{f'Supervised | {name}': {place: steps, **supervised} for name, steps in policies.items()
               if supervised}}


_with_labels = {
    'base': _supervised, 'measure': [], 'custom_hooks': [], 'default_hooks.checkpoint.max_keep_ckpts': 1,
}
_names = [*_strengths, '1 (+Blur)', 'AutoAugment']

study = dict(
    title='Colour strength (Table 1)',
    source='Chen et al. 2020, Table 1: ImageNet, ResNet-50, 100 epochs; SimCLR by linear evaluation',
    text='Stronger colour distortion makes a better representation, and hurts training with labels. A policy '
         'found for training with labels, AutoAugment, is worse for SimCLR than crop and strong colour.',
    axes={'training': {name: {} for name in ('SimCLR', 'Supervised')},
          'policy': {name: {} for name in _names}},
    cells=_cells(supervised=_with_labels),
    seeds=1,
    more_seeds=[dict(at=['SimCLR | 1/8', 'SimCLR | 1/2', 'SimCLR | 1', 'SimCLR | AutoAugment'], seeds=3)],
    metric='probe.top_1_accuracy_percent or pretraining.top_1_accuracy_percent',
    published='table_1_colour_strength_top1',
    figure=dict(type='Bars'),
    claims=[
        dict(text='strength 1 is better than 1/8', left=dict(at=['SimCLR', '1']),
             right=dict(at=['SimCLR', '1/8'])),
        dict(text='the best strength is better than AutoAugment',
             left=dict(at=['SimCLR', ['1/2', '1']], pick='best'), right=dict(at=['SimCLR', 'AutoAugment'])),
    ],
    presets=dict(
        smoke=dict(axes={'training': {'SimCLR': {}}, 'policy': {name: {} for name in _names}},
                   cells=_cells(size=16), seeds=1, more_seeds=[]),
        full=dict(axes={'training': {'SimCLR': {}}, 'policy': {name: {} for name in _names}},
                  cells=_cells(size=224, area=0.08, step=1), more_seeds=[])))
