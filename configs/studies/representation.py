"""Figures 6, 10 and 11: what crops share, the spectrum of a linear head, maps of h and g(h), and cosines.

Command: mmsimclr study configs/studies/representation.py
"""

_base_ = './_base_/cifar10.py'

_pictures = '../benchmarks/classification/representation_'


def _axes(width):
    return {'head': {
        'nonlinear': {'model.neck.num_layers': 2},
        # As wide as h, so that W is square, as in the paper.
        'linear': {'model.neck.num_layers': 1, 'model.neck.out_channels': width},
    }}


study = dict(
    title='Pictures of a representation (Figures 6, 10 and 11)',
    source='Chen et al. 2020, Figures 6, 10 and 11: ImageNet, ResNet-50; pictures without numbers',
    text='Crops of one image have much the same histogram of colours, until colours are distorted: without '
         'that, a network can tell images apart by their histograms (Figure 6). A linear head has few large '
         'eigenvalues: it is of low rank (Figure 10). Classes are better separated in h than in g(h) '
         '(Figure 11). Cosines of positive and negative pairs overlap before training, and not after.',
    finding='Crops of one image share 84 % of their histogram, and 57 % once colours are distorted, as in '
            'Figure 6. Neither head is of low rank yet, and classes are not better separated in h: its '
            'silhouette is below that of g(h), and both are negative, after so short a training. In g(h) '
            'the cosines of positive pairs are 0.66 above those of negative ones; before training they are '
            'alike.',
    setting='A ResNet-18 a quarter as wide, 10,000 images of CIFAR-10, 6 epochs at a batch of 128; pictures '
            'and their numbers from 2,000 test images.',
    axes=_axes(128),
    measure=[dict(name='pictures', config=_pictures + 'cifar10.py')],
    metric='pictures.silhouette_pooled',
    columns={
        'overlap of crops': 'pictures.histogram_overlap_crop',
        'overlap of views': 'pictures.histogram_overlap_view',
        'large eigenvalues (share)': 'pictures.large_eigenvalues_share',
        'silhouette of h': 'pictures.silhouette_pooled',
        'silhouette of g(h)': 'pictures.silhouette_projection',
        'positive cosine, g(h)': 'pictures.positive_cosine_projection_after',
        'negative cosine, g(h)': 'pictures.negative_cosine_projection_after',
    },
    figure=dict(type='Representation', cell='nonlinear', measure='pictures'),
    claims=[
        dict(text='histograms of two crops overlap more without colour distortion',
             left=dict(at='nonlinear', metric='pictures.histogram_overlap_crop'),
             right=dict(at='nonlinear', metric='pictures.histogram_overlap_view')),
        dict(text='classes are better separated in h than in g(h)', left=dict(at='nonlinear'),
             right=dict(at='nonlinear', metric='pictures.silhouette_projection')),
        dict(text='positive pairs are closer in g(h) than negative ones by a cosine of 0.5', by=0.5,
             left=dict(at='nonlinear', metric='pictures.positive_cosine_projection_after'),
             right=dict(at='nonlinear', metric='pictures.negative_cosine_projection_after')),
    ],
    presets=dict(
        smoke=dict(axes=_axes(32), seeds=1, measure=[dict(
            name='pictures', config=_pictures + 'shapes.py', options={
                'protocol.images.num_images': 120, 'protocol.images.image_size': 16,
                'protocol.num_mapped': 100, 'protocol.crop.size': 16, 'protocol.view.size': 16})]),
        full=dict(
            axes=_axes(2048), seeds=1,
            measure=[dict(name='pictures', config=_pictures + 'in1k.py')])))
