"""Crops drawn as the official code draws them, and as torchvision does.

Command: mmsimclr study configs/studies/crop_style.py
"""

_base_ = './_base_/cifar10.py'

_view = 'train_dataloader.dataset.pipeline.0.transforms.0'


def _axes(**options):
    return {'crops': {name: {f'{_view}.scale': (0.08, 1.0), f'{_view}.crop_style': name, **options}
                      for name in ('torchvision', 'official')}}


study = dict(
    title='How crops are drawn',
    source='the official code calls tf.image.sample_distorted_bounding_box; torchvision has another rule',
    text='Both rules draw an area between 8 % and 100 % of the image. They differ in how an aspect ratio '
         'that does not fit is dealt with: the official crops are smaller on average. The recipes that '
         'follow the paper use the official rule, those that follow OpenMMLab use that of torchvision.',
    finding='No difference can be told at this size: 0.5 points in linear evaluation and 0.9 in k-NN, both '
            'within the spread of three seeds.',
    axes=_axes(),
    figure=dict(type='Bars'),
    claims=[
        dict(text='official crops are better in linear evaluation', left=dict(at='official'),
             right=dict(at='torchvision')),
        dict(text='official crops are better in k-NN',
             left=dict(at='official', metric='knn.top_1_accuracy_k20_percent'),
             right=dict(at='torchvision', metric='knn.top_1_accuracy_k20_percent')),
    ],
    columns={'linear': 'probe.top_1_accuracy_percent', 'k-NN': 'knn.top_1_accuracy_k20_percent'},
    presets=dict(full=dict(axes={'crops': {name: {
        'train_dataloader.dataset.pipeline.1.transforms.0.crop_style': name}
        for name in ('torchvision', 'official')}})))
