"""Figures 9 and 15: batch size and length of the training.

Command: mmsimclr study configs/studies/figure9.py
"""

_base_ = './_base_/cifar10.py'


def _batch(size):
    # The square-root rule, from the base's rate of 3 at a batch of 128.
    return {'train_dataloader.batch_size': size, 'optim_wrapper.optimizer.lr': 3.0 * (size / 128) ** 0.5}


study = dict(
    title='Batch size and epochs (Figure 9)',
    source='Chen et al. 2020, Figure 9: ImageNet, ResNet-50; a figure without numbers',
    text='With few epochs larger batches are better; with more epochs the difference shrinks. Learning rates '
         'follow the square-root rule.',
    axes={
        'batch': {str(size): _batch(size) for size in (64, 128, 256, 512)},
        'epochs': {str(number): {'train_cfg.max_epochs': number} for number in (3, 6, 12)},
    },
    seeds=2,
    figure=dict(type='Bars'),
    claims=[
        dict(text='longer training is better at every batch size', left=dict(at=['*', '12']),
             right=dict(at=['*', '3'])),
        dict(text='at 3 epochs a batch of 512 is better than one of 64', left=dict(at=['512', '3']),
             right=dict(at=['64', '3'])),
    ],
    presets=dict(
        smoke=dict(
            axes={
                'batch': {str(size): {'train_dataloader.batch_size': size} for size in (16, 32)},
                'epochs': {str(number): {'train_cfg.max_epochs': number} for number in (1, 2)}}),
        full=None))
