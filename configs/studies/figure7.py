"""Figure 7: depth and width of the encoder, without and with labels.

Command: mmsimclr study configs/studies/figure7.py
"""

_base_ = './_base_/cifar10.py'

_supervised = dict(base='../supervised/supervised_resnet18-w16_1xb128-coslr-20e_cifar10.py', measure=[],
                   custom_hooks=[])
_depths, _widths = (18, 34), (8, 16, 32)


def _encoder(depth, width):
    return {'model.backbone.depth': depth, 'model.backbone.base_channels': width,
            'model.neck.in_channels': 8 * width, 'model.neck.hid_channels': 8 * width}


def _cells(depths=_depths, widths=_widths, supervised=True):
    names = [(f'ResNet-{depth}, width {width}', depth, width) for depth in depths for width in widths]
    return {**{f'SimCLR | {name}': _encoder(depth, width) for name, depth, width in names},
            **{f'Supervised | {name}': {
                'random_encoder.depth': depth, 'random_encoder.base_channels': width, **_supervised}
               for name, depth, width in names if supervised}}


_names = [f'ResNet-{depth}, width {width}' for depth in _depths for width in _widths]
_small = [f'ResNet-18, width {width}' for width in (4, 8)]

study = dict(
    title='Depth and width (Figure 7)',
    source='Chen et al. 2020, Figure 7: ImageNet; a figure without numbers',
    setting='ResNets of several depths and widths, 10,000 images of CIFAR-10; linear evaluation by '
            'logistic regression on the frozen features, on all 10,000 test images.',
    text='Bigger encoders gain more from training without labels than from training with them.',
    axes={'training': {'SimCLR': {}, 'Supervised': {}}, 'encoder': {name: {} for name in _names}},
    cells=_cells(),
    seeds=1,
    metric='probe.top_1_accuracy_percent or pretraining.top_1_accuracy_percent',
    figure=dict(type='Bars'),
    presets=dict(
        smoke=dict(axes={'training': {'SimCLR': {}}, 'encoder': {name: {} for name in _small}},
                   cells=_cells((18,), (4, 8), supervised=False), seeds=1),
        full=dict(
            axes={'training': {'SimCLR': {}}, 'encoder': {f'ResNet-{depth}': {} for depth in (50, 101, 152)}},
            cells={f'SimCLR | ResNet-{depth}': {'model.backbone.depth': depth} for depth in (50, 101, 152)})))
