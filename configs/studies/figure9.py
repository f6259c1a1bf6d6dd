"""Figure 9: batch size and length of the training.

Command: mmsimclr study configs/studies/figure9.py
"""

_base_ = './_base_/cifar10.py'


def _axes(sizes, epochs, rate, num_processes=1):
    # The square-root rule, from a rate at a batch of 128.
    return {
        'batch': {str(size): {'train_dataloader.batch_size': size // num_processes,
                              'optim_wrapper.optimizer.lr': rate * (size / 128) ** 0.5} for size in sizes},
        'epochs': {str(number): {'train_cfg.max_epochs': number} for number in epochs},
    }


study = dict(
    title='Batch size and epochs (Figure 9)',
    source='Chen et al. 2020, Figure 9: ImageNet, ResNet-50; a figure without numbers',
    setting='A ResNet-18 a quarter as wide, 10,000 images of CIFAR-10; linear evaluation by logistic '
            'regression on the frozen features, on all 10,000 test images.',
    text='With few epochs larger batches are better; with more epochs the difference shrinks. Learning rates '
         'follow the square-root rule.',
    axes=_axes((64, 128, 256, 512), (3, 6, 12), 3.0),
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
        # 32 GPUs. The rates of Figure 15 and Table B.1: 0.075 times the root of the batch.
        full=dict(axes=_axes((256, 512, 1024, 2048, 4096, 8192), (100, 200, 300, 400, 500, 600, 700, 800, 900,
                                                                  1000), 0.075 * 128 ** 0.5, 32),
                  claims=[
                      dict(text='longer training is better at every batch size', left=dict(at=['*', '1000']),
                           right=dict(at=['*', '100'])),
                      dict(text='at 100 epochs a batch of 8192 is better than one of 256',
                           left=dict(at=['8192', '100']), right=dict(at=['256', '100'])),
                  ])))
