"""Figure 5: operations alone and in pairs, on one branch.

Command: mmsimclr study configs/studies/figure5.py
"""

_base_ = './_base_/cifar10.py'


def _operations(size, area, strength):
    return {
        'crop': [dict(type='RandomResizedCrop', size=size, scale=(area, 1.0), interpolation='bicubic')],
        'cutout': [dict(type='Cutout')],
        'colour': [dict(type='ColorJitter', brightness=0.8 * strength, contrast=0.8 * strength,
                        saturation=0.8 * strength, hue=0.2 * strength, prob=0.8),
                   dict(type='RandomGrayscale', prob=0.2)],
        'sobel': [dict(type='Sobel')],
        'noise': [dict(type='GaussianNoise')],
        'blur': [dict(type='GaussianBlur', sigma=(0.1, 2.0), prob=1.0, kernel_size_fraction=0.1)],
        'rotate': [dict(type='Rotate90')],
    }


def _cells(size=32, area=0.2, strength=0.5, step=0, names=None, shared=()):
    """Return every pair's pipeline: what both branches share, then the operations on one of them.

    The paper's shared crop brings photographs to one size. CIFAR-10's images have one, so it is left out.
    """
    operations = _operations(size, area, strength)
    names = names or list(operations)
    place = f'train_dataloader.dataset.pipeline.{step}'
    return {f'{first} | {second}': {f'{place}.num_views': 2, f'{place}.transforms': [
        operations[first] + (operations[second] if second != first else []), []],
        **({f'{place}.shared': list(shared)} if shared else {})} for first in names for second in names}


_names = ['crop', 'cutout', 'colour', 'sobel', 'noise', 'blur', 'rotate']
_crop = dict(type='RandomResizedCrop', size=224, scale=(0.08, 1.0), interpolation='bicubic')

study = dict(
    title='Operations alone and in pairs (Figure 5)',
    source='Chen et al. 2020, Figure 5: ImageNet, ResNet-50, linear evaluation; one branch only',
    text='No single operation suffices to learn a good representation. Of all pairs, crop with colour '
         'distortion stands out.',
    axes={'first': {name: {} for name in _names}, 'second': {name: {} for name in _names}},
    cells=_cells(),
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
    presets=dict(
        smoke=dict(
            axes={'first': {'crop': {}, 'colour': {}}, 'second': {'crop': {}, 'colour': {}}},
            cells=_cells(size=16, names=['crop', 'colour']), more_seeds=[], gate={}, seeds=1),
        full=dict(cells=_cells(224, 0.08, 1.0, step=1, shared=[_crop]))))
