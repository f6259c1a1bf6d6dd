"""Section A: the default policy without flips, and without blur.

Command: mmsimclr study configs/studies/appendix_a.py
"""

_base_ = './_base_/cifar10.py'


def _policy(flip, blur, size=32, area=0.2, strength=0.5, step=0):
    """Return the pipeline's views without flip or blur; ``step`` is the place of MultiView in it."""
    steps = [dict(type='RandomResizedCrop', size=size, scale=(area, 1.0), interpolation='bicubic')]
    if flip:
        steps.append(dict(type='RandomHorizontalFlip', prob=0.5))
    steps += [dict(type='ColorJitter', brightness=0.8 * strength, contrast=0.8 * strength,
                   saturation=0.8 * strength, hue=0.2 * strength, prob=0.8),
              dict(type='RandomGrayscale', prob=0.2)]
    if blur:
        steps.append(dict(type='GaussianBlur', sigma=(0.1, 2.0), prob=0.5, kernel_size_fraction=0.1))
    return {f'train_dataloader.dataset.pipeline.{step}.transforms': steps}


def _axes(**setting):
    return {'policy': {
        'default policy, 100 epochs': _policy(True, True, **setting),
        'without flip': _policy(False, True, **setting),
        'without blur': _policy(True, False, **setting),
    }}


study = dict(
    title='Flip and blur (section A)',
    source='Chen et al. 2020, section A: ImageNet, ResNet-50, 100 epochs',
    text='Random flips and Gaussian blur each add about a point. At 32 pixels the blur of a kernel of 10 % '
         'of the side is three pixels wide.',
    axes=_axes(),
    published='section_3_ablation_top1',
    figure=dict(type='Bars'),
    claims=[
        dict(text='flips help', left=dict(at='default policy, 100 epochs'), right=dict(at='without flip')),
        dict(text='blur helps', left=dict(at='default policy, 100 epochs'), right=dict(at='without blur')),
    ],
    presets=dict(
        smoke=dict(axes=_axes(size=16)),
        full=dict(axes=_axes(size=224, area=0.08, strength=1.0, step=1))))
