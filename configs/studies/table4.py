"""Table 4: NT-Xent against logistic and margin losses, each tuned.

Command: mmsimclr study configs/studies/table4.py
"""

_base_ = './_base_/cifar10.py'

_lr, _loss = 'optim_wrapper.optimizer.lr', 'model.head.loss'


def _loss_of(kind, **arguments):
    own = {'model.head.temperature': None} if kind == 'MarginTripletLoss' else {}
    return {_loss: dict(type=kind, **arguments), **own}


def _grids(rates, temperatures, margins):
    rates = {f'lr {rate:g}': {_lr: rate} for rate in rates}
    logistic = {'learning rate': rates, 'temperature': {
        f'temperature {value:g}': {'model.head.temperature': value} for value in temperatures}}

    def triplet(mining):
        return {'learning rate': rates, 'margin': {
            f'margin {value:g}': _loss_of('MarginTripletLoss', margin=value, negatives='one_view',
                                          mining=mining) for value in margins}}

    return {'margin': triplet(None), 'margin (semi-hard)': triplet('semi_hard'),
            'NT-logistic': logistic, 'NT-logistic (semi-hard)': logistic, 'NT-Xent': logistic}


study = dict(
    title='Loss functions (Tables 2 and 4)',
    source='Chen et al. 2020, Table 4: ImageNet, ResNet-50, batch 4096, 100 epochs; negatives of the other '
           'losses from one view (footnote 5)',
    text='Cross entropy weighs negatives by how hard they are; the other losses do not, unless they mine '
         'semi-hard negatives. Learning rate, and temperature or margin, are tuned for each loss on one seed '
         'at half the length, then three seeds are run.',
    axes={'loss': {
        'margin': _loss_of('MarginTripletLoss', margin=0.4, negatives='one_view'),
        'NT-logistic': _loss_of('NTLogisticLoss', negatives='one_view'),
        'margin (semi-hard)': _loss_of('MarginTripletLoss', margin=0.4, negatives='one_view',
                                       mining='semi_hard'),
        'NT-logistic (semi-hard)': _loss_of('NTLogisticLoss', negatives='one_view', mining='semi_hard'),
        'NT-Xent': _loss_of('NTXentLoss'),
    }},
    tune=dict(
        seeds=1, options={'train_cfg.max_epochs': 3},
        grids=_grids((1.0, 3.0, 6.0), (0.2, 0.5), (0.4, 0.8))),
    published='table_4_losses_top1',
    figure=dict(type='Bars'),
    claims=[
        dict(text='NT-Xent is the best of the tuned losses', left=dict(at='NT-Xent'),
             right=[dict(at=name) for name in (
                 'margin', 'NT-logistic', 'margin (semi-hard)', 'NT-logistic (semi-hard)')]),
        dict(text='semi-hard mining helps the margin loss', left=dict(at='margin (semi-hard)'),
             right=dict(at='margin')),
        dict(text='semi-hard mining helps the logistic loss', left=dict(at='NT-logistic (semi-hard)'),
             right=dict(at='NT-logistic')),
    ],
    presets=dict(
        smoke=dict(seeds=1, tune=dict()),
        # The grids of the paper's section B.3; a rate of 0.3 there is 4.8 at a batch of 4,096.
        full=dict(tune=dict(seeds=1, grids=_grids(
            (0.16, 1.6, 4.8, 8.0, 16.0), (0.1, 0.2, 0.5, 1.0), (0.0, 0.4, 0.8, 1.6))))))
