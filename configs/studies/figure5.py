"""Figure 5: operations alone and in pairs, on one branch.

Command: mmsimclr study configs/studies/figure5.py
"""

_base_ = './_base_/cifar10.py'

_size = 32
_operations = {
    'crop': [dict(type='RandomResizedCrop', size=_size, scale=(0.2, 1.0), interpolation='bicubic')],
    'cutout': [dict(type='Cutout')],
    'colour': [dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, prob=0.8),
               dict(type='RandomGrayscale', prob=0.2)],
    'sobel': [dict(type='Sobel')],
    'noise': [dict(type='GaussianNoise')],
    'blur': [dict(type='GaussianBlur', sigma=(0.1, 2.0), prob=1.0, kernel_size_fraction=0.1)],
    'rotate': [dict(type='Rotate90')],
}


def _branches(first, second):
    """Return the pipeline: a crop that both branches share, and the operations on one of them."""
    steps = _operations[first] + (_operations[second] if second != first else [])
    # The shared crop of the paper brings photographs to one size; these images have one, and a shared crop
    # of all of them would only make them smaller.
    return {'train_dataloader.dataset.pipeline.0': dict(type='MultiView', num_views=2, transforms=[steps, []])}


study = dict(
    title='Operations alone and in pairs (Figure 5)',
    source='Chen et al. 2020, Figure 5: ImageNet, ResNet-50, linear evaluation; one branch only',
    text='No single operation suffices to learn a good representation. Of all pairs, crop with colour '
         'distortion stands out.',
    axes={'first': {name: {} for name in _operations}, 'second': {name: {} for name in _operations}},
    cells={f'{first} | {second}': _branches(first, second) for first in _operations for second in _operations},
    seeds=1,
    more_seeds=[
        dict(at=['crop | crop', 'colour | colour', 'crop | colour', 'colour | crop'], seeds=3),
        dict(best=5, seeds=3),
    ],
    gate=dict(at=['crop | crop', 'colour | colour', 'crop | colour'], seeds=2, left='crop | colour',
              right=['crop | crop', 'colour | colour'], deviations=3),
    published='figure_5_linear_top1',
    figure=dict(type='HeatMap'),
    claims=[
        dict(text='crop with colour is better than crop alone', left=dict(at=['crop', 'colour']),
             right=dict(at=['crop', 'crop'])),
        dict(text='crop with colour is the best pair', left=dict(at=['crop', 'colour']),
             right=dict(at=['*', '*'], pick='best', without=[['crop', 'colour'], ['colour', 'crop']])),
        dict(text='the order of the 42 pairs is that of the paper: rank correlation of at least 0.6',
             spearman=0.6, off_diagonal=True),
    ],
    presets=dict(smoke=dict(
        axes={'first': {'crop': {}, 'colour': {}}, 'second': {'crop': {}, 'colour': {}}},
        cells={'crop | crop': _branches('crop', 'crop'), 'crop | colour': _branches('crop', 'colour'),
               'colour | crop': _branches('colour', 'crop'), 'colour | colour': _branches('colour', 'colour')},
        more_seeds=[], gate={}, seeds=1)))
