"""Table 3: what h knows of the transformation of an image, and g(h) does not.

Command: mmsimclr study configs/studies/table3.py
"""

_base_ = './_base_/cifar10.py'


def _views(*steps, size=32, area=0.2, strength=0.5, blur=False, step=0):
    return {f'train_dataloader.dataset.pipeline.{step}.transforms': [
        dict(type='SimCLRView', size=size, strength=strength, blur=blur, scale=(area, 1.0)), *steps]}


def _axes(**setting):
    # Each of the last three is added to the views by itself, as in the paper.
    return {'added to the views': {
        'nothing': _views(**setting),
        'rotation': _views(dict(type='Rotate90'), **setting),
        'noise': _views(dict(type='GaussianNoise', prob=0.5), **setting),
        'sobel': _views(dict(type='Sobel', prob=0.5), **setting),
    }}


def _metric(task, stage):
    return f'predict.{task}_{stage}_accuracy_percent'


study = dict(
    title='What the projection head discards (Table 3)',
    source='Chen et al. 2020, Table 3: ImageNet, ResNet-50; MLPs on h and g(h), both 2048 wide',
    text='An MLP on h can tell which transformation an image went through; on g(h), which was trained to be '
         'the same for all of them, it can do so much less. The head is as wide as h here, as in the paper.',
    finding='As in the paper, what the views vary is lost in the head: of rotations h knows 21 points more '
            'than g(h), of Sobel filters 18, of noise 9, of colour 2. Only what was added to the views is '
            'lost so: without rotations among the views, g(h) knows them almost as well as h does.',
    setting='A ResNet-18 a quarter as wide, 10,000 images of CIFAR-10, 6 epochs at a batch of 128; accuracy '
            'of MLPs of equal width on h and on g(h), on all 10,000 test images.',
    options={'model.neck.out_channels': 128},
    axes=_axes(),
    measure=[
        dict(name='predict', config='../benchmarks/classification/transform-prediction_cifar10.py'),
        dict(name='probe', config='../benchmarks/classification/logistic_cifar10.py',
             options={'protocol.tasks.0.train.num_images': 10_000}),
    ],
    metric=_metric('rotation', 'pooled'),
    columns={f'{task}, {name}': _metric(task, stage) for task in ('colour', 'rotation', 'noise', 'sobel')
             for name, stage in (('h', 'pooled'), ('g(h)', 'projection'))},
    published='table_3_predict_transformation_accuracy',
    claims=[
        dict(text='rotation is told from h by 15 points more than from g(h)', by=15.0,
             left=dict(at='rotation', metric=_metric('rotation', 'pooled')),
             right=dict(at='rotation', metric=_metric('rotation', 'projection'))),
        dict(text='noise is told better from h than from g(h)',
             left=dict(at='noise', metric=_metric('noise', 'pooled')),
             right=dict(at='noise', metric=_metric('noise', 'projection'))),
        dict(text="Sobel's filter is told better from h than from g(h)",
             left=dict(at='sobel', metric=_metric('sobel', 'pooled')),
             right=dict(at='sobel', metric=_metric('sobel', 'projection'))),
        dict(text='colour is told better from h than from g(h)',
             left=dict(at='nothing', metric=_metric('colour', 'pooled')),
             right=dict(at='nothing', metric=_metric('colour', 'projection'))),
    ],
    presets=dict(
        smoke=dict(
            axes={'added to the views': {'rotation': _views(dict(type='Rotate90'), size=16)}}, seeds=1,
            measure=[dict(name='predict',
                          config='../benchmarks/classification/transform-prediction_shapes.py')]),
        full=dict(
            # The head is as wide as h in the paper.
            options={'train_cfg.max_epochs': 100, 'default_hooks.checkpoint.interval': 10,
                     'model.neck.out_channels': 2048},
            axes=_axes(size=224, area=0.08, strength=1.0, blur=True, step=1),
            measure=[dict(name='predict',
                          config='../benchmarks/classification/transform-prediction_in1k.py')])))
