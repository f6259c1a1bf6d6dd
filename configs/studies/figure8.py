"""Figure 8: the projection head, and the layer before it.

Command: mmsimclr study configs/studies/figure8.py
"""

_base_ = './_base_/cifar10.py'

_head = 'model.neck.num_layers'
_widths = (32, 128, 512, 2048)


def _cells(widths, *measures):
    return {
        'none | of h': {_head: 0, 'measure': list(measures)},
        **{f'linear | {width}': {_head: 1, 'model.neck.out_channels': width} for width in widths},
        **{f'nonlinear | {width}': {_head: 2, 'model.neck.out_channels': width} for width in widths},
    }


study = dict(
    title='Projection head and output width (Figure 8)',
    source='Chen et al. 2020, section 4.2 and Figure 8: ImageNet, ResNet-50, 100 epochs; directions only',
    text='A nonlinear head is better than a linear one, and that better than none, whatever its output '
         'width. The layer before the head, h, is a much better representation than what follows it, g(h).',
    finding='A head helps by 5 points, and h is better than g(h), as in the paper, but by 2.6 points and not '
            'by 10: by 5 for an output of 32, by 1.2 for one of 2048. The order of the heads is reversed: in '
            'so short a training a linear one is better than a nonlinear one by 1.4 points.',
    axes={
        'head': {name: {} for name in ('none', 'linear', 'nonlinear')},
        'width': {name: {} for name in ('of h', *map(str, _widths))},
    },
    cells=_cells(_widths, 'probe', 'knn'),
    measure=[
        dict(name='probe', config='../benchmarks/classification/logistic_cifar10.py',
             options={'protocol.tasks.0.train.num_images': 10_000}),
        dict(name='projection', config='../benchmarks/classification/logistic_cifar10.py',
             options={'protocol.tasks.0.train.num_images': 10_000, 'protocol.feature': 'projection'}),
        dict(name='knn', config='../benchmarks/classification/knn_cifar10.py',
             options={'protocol.train.num_images': 10_000, 'protocol.k': [20]}),
        dict(name='health', config='../benchmarks/classification/health_cifar10.py',
             options={'protocol.stages': ['pooled', 'projection']}),
    ],
    columns={'h': 'probe.top_1_accuracy_percent', 'g(h)': 'projection.top_1_accuracy_percent'},
    figure=dict(type='Bars'),
    claims=[
        dict(text='h is better than g(h) by 5 points or more (nonlinear head)', by=5.0,
             left=dict(at=['nonlinear', '*']),
             right=dict(at=['nonlinear', '*'], metric='projection.top_1_accuracy_percent')),
        dict(text='a nonlinear head is better than a linear one',
             left=dict(at=['nonlinear', '*']), right=dict(at=['linear', '*'])),
        dict(text='a nonlinear head is better than none',
             left=dict(at=['nonlinear', '*']), right=dict(at=['none', '*'])),
        dict(text='the width makes little difference: best and worst differ by less than 3 points',
             left=dict(at=['nonlinear', '*'], pick='worst'), by=-3.0,
             right=dict(at=['nonlinear', '*'], pick='best')),
    ],
    presets=dict(
        smoke=dict(
            cells={'none | of h': {_head: 0, 'measure': ['probe']}, 'nonlinear | 32': {_head: 2}},
            measure=[
                dict(name=name, config='../benchmarks/classification/logistic_shapes.py', options={
                    'protocol.l2': [0.1], 'protocol.max_iterations': 50, 'protocol.feature': feature,
                    'protocol.tasks.0.train.num_images': 200, 'protocol.tasks.0.train.image_size': 16,
                    'protocol.tasks.0.test.num_images': 100, 'protocol.tasks.0.test.image_size': 16})
                for name, feature in (('probe', 'pooled'), ('projection', 'projection'))]),
        full=dict(
            cells=_cells(_widths, 'probe'),
            measure=[
                dict(name='probe', config='../benchmarks/classification/linear_32xb128-coslr-90e_in1k.py'),
                dict(name='projection', options={'model.heads.pooled.feature': 'projection'},
                     config='../benchmarks/classification/linear_32xb128-coslr-90e_in1k.py'),
            ])))
