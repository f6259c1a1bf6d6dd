"""Table 5: normalised features and temperature.

Command: mmsimclr study configs/studies/table5.py
"""

_base_ = './_base_/cifar10.py'

study = dict(
    title='Normalisation and temperature (Table 5)',
    source='Chen et al. 2020, Table 5: ImageNet, ResNet-50, batch 4096, 100 epochs',
    text='With unit-length projections the temperature sets how much hard negatives count. Without '
         'normalisation the contrastive task is solved better, and the representation is worse.',
    finding='The temperature matters as in the paper, and 1 is the worst; 0.05 and 0.1 cannot be told apart. '
            'What the paper says of training without normalisation does not show in so short a training: it '
            'costs no accuracy, and the contrastive task is not solved better by it.',
    axes={'loss': {
        'norm, 0.05': {'model.head.temperature': 0.05},
        'norm, 0.1': {'model.head.temperature': 0.1},
        'norm, 0.5': {'model.head.temperature': 0.5},
        'norm, 1': {'model.head.temperature': 1.0},
        'no norm, 10': {'model.head.temperature': 10.0, 'model.head.loss.normalize': False},
        'no norm, 100': {'model.head.temperature': 100.0, 'model.head.loss.normalize': False},

    }},
    columns={
        'loss (nats)': 'pretraining.loss_nats',
        'entropy (nats)': 'pretraining.contrastive_entropy_nats',
        'contrastive accuracy': 'pretraining.contrastive_accuracy_percent',
        'top-1': 'probe.top_1_accuracy_percent',
    },
    published='table_5_norm_and_temperature',
    figure=dict(type='Bars', column='top1'),
    claims=[
        dict(text='the best temperature beats the worst',
             left=dict(at=[['norm, 0.05', 'norm, 0.1', 'norm, 0.5', 'norm, 1']], pick='best'),
             right=dict(at=[['norm, 0.05', 'norm, 0.1', 'norm, 0.5', 'norm, 1']], pick='worst')),
        dict(text='with normalisation, at its best temperature, better than without',
             left=dict(at=[['norm, 0.05', 'norm, 0.1', 'norm, 0.5', 'norm, 1']], pick='best'),
             right=dict(at=[['no norm, 10', 'no norm, 100']], pick='best')),
        dict(text='the contrastive task is solved best without normalisation',
             left=dict(at=[['no norm, 10', 'no norm, 100']], pick='worst',
                       metric='pretraining.contrastive_accuracy_percent'),
             right=dict(at=[['norm, 0.05', 'norm, 0.1', 'norm, 0.5', 'norm, 1']], pick='best',
                        metric='pretraining.contrastive_accuracy_percent')),
    ])
