"""Section A: the default policy without flips, and without blur.

Command: mmsimclr study configs/studies/appendix_a.py
"""

_base_ = './_base_/cifar10.py'

_steps = 'train_dataloader.dataset.pipeline.0.transforms'


def _policy(flip, blur):
    steps = [dict(type='RandomResizedCrop', size=32, scale=(0.2, 1.0), interpolation='bicubic')]
    if flip:
        steps.append(dict(type='RandomHorizontalFlip', prob=0.5))
    steps += [dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, prob=0.8),
              dict(type='RandomGrayscale', prob=0.2)]
    if blur:
        steps.append(dict(type='GaussianBlur', sigma=(0.1, 2.0), prob=0.5, kernel_size_fraction=0.1))
    return {_steps: steps}


study = dict(
    title='Flip and blur (section A)',
    source='Chen et al. 2020, section A: ImageNet, ResNet-50, 100 epochs',
    text='Random flips and Gaussian blur each add about a point. At 32 pixels the blur of a kernel of 10 % of '
         'the side is three pixels wide.',
    axes={'policy': {
        'default policy, 100 epochs': _policy(True, True),
        'without flip': _policy(False, True),
        'without blur': _policy(True, False),
    }},
    published='section_3_ablation_top1',
    figure=dict(type='Bars'),
    claims=[
        dict(text='flips help', left=dict(at='default policy, 100 epochs'), right=dict(at='without flip')),
        dict(text='blur helps', left=dict(at='default policy, 100 epochs'), right=dict(at='without blur')),
    ])
