"""Figures 14 and 15: batch size, epochs and temperature on CIFAR-10, averaged over learning rates.

Command: mmsimclr study configs/studies/figure15.py
"""

_base_ = './_base_/cifar10.py'


def _axes(sizes, epochs, temperatures, rate, factors=(0.5, 1.0, 1.5), num_processes=1):
    # The rates go up in proportion to the batch; each seed has another.
    return {
        'batch': {str(size): {
            'train_dataloader.batch_size': size // num_processes,
            'by_seed': {'optim_wrapper.optimizer.lr': [factor * rate * size / 128 for factor in factors]},
        } for size in sizes},
        'epochs': {str(number): {'train_cfg.max_epochs': number} for number in epochs},
        'temperature': {str(value): {'model.head.temperature': value} for value in temperatures},
    }


study = dict(
    title='Batch size, epochs and temperature on CIFAR-10 (Figures 14 and 15)',
    source='Chen et al. 2020, the appendix on CIFAR-10: ResNet-50, learning rates 0.5, 1.0 and 1.5, '
           'temperatures 0.1, 0.5 and 1.0, batches of 256 to 4096; figures without numbers',
    setting='A ResNet-18 a quarter as wide, 10,000 images of CIFAR-10; linear evaluation by logistic '
            'regression on the frozen features, on all 10,000 test images. The three seeds have half, once '
            "and one and a half times the leaf's learning rate.",
    text='Each number is a mean over three learning rates. Trained for long, a temperature of 0.5 is best '
         'at all batch sizes; larger batches are better where the training is short.',
    axes=_axes((128, 512), (3, 12), (0.1, 0.5, 1.0), 3.0),
    figure=dict(type='Bars'),
    claims=[
        dict(text='after the longest training, a temperature of 0.5 is better than 0.1 and 1.0',
             left=dict(at=['*', '12', '0.5']),
             right=[dict(at=['*', '12', '0.1']), dict(at=['*', '12', '1.0'])]),
        dict(text='longer training is better', left=dict(at=['*', '12', '*']),
             right=dict(at=['*', '3', '*'])),
    ],
    presets=dict(
        smoke=dict(axes=_axes((16, 32), (1, 2), (0.5,), 0.5), claims=[]),
        # One GPU: CIFAR-10 whole, as in the paper.
        full=dict(
            base='../simclr/simclr_resnet50_1xb512-coslr-1000e_cifar10.py', options={},
            axes=_axes((256, 512, 1024, 2048, 4096), range(100, 1001, 100), (0.1, 0.5, 1.0), 0.5),
            measure=[dict(name='probe',
                          config='../benchmarks/classification/linear_1xb512-coslr-100e_cifar10.py')],
            claims=[
                dict(text='after 1000 epochs, a temperature of 0.5 is better than 0.1 and 1.0',
                     left=dict(at=['*', '1000', '0.5']),
                     right=[dict(at=['*', '1000', '0.1']), dict(at=['*', '1000', '1.0'])]),
                dict(text='longer training is better', left=dict(at=['*', '1000', '*']),
                     right=dict(at=['*', '100', '*'])),
            ])))
