"""Detection and segmentation of a few small images, from a small encoder."""

import copy
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmsimclr.config import load_config
from mmsimclr.datasets import Shapes
from mmsimclr.models import ResNet
from mmsimclr.prepare.shapes import write_coco, write_voc
from mmsimclr.protocols import Benchmark, EncoderSource
from mmsimclr.protocols.downstream import FineTuning

ROOT = Path(__file__).parents[3]
ENCODER = dict(depth=18, base_channels=4, stem='cifar', zero_init_residual=False)
KINDS = {'c4': 'detection/faster-rcnn-c4_1xb8-steplr-400_shapes',
         'fpn': 'detection/mask-rcnn-fpn_1xb8-steplr-400_shapes',
         'fcn': 'segmentation/fcn-d8_1xb16-polylr-400_shapes'}


def write_data(root: Path) -> dict[str, Path]:
    """Write 4 images to train on and 4 to test on, in VOC's and in COCO's layout; return the folders."""
    splits = {split: Shapes(num_images=4, image_size=48, split='train', seed=seed, objects='multi',
                            max_objects=2) for seed, split in enumerate(('train', 'val'))}
    return dict(voc=write_voc(splits, root / 'voc'), coco=write_coco(splits, root / 'coco'))


def save_encoder(folder: Path) -> Path:
    """Write an encoder whose norms have statistics of their own, and which says its input scale."""
    torch.manual_seed(0)
    encoder = ResNet(**ENCODER)
    for key, value in encoder.state_dict().items():
        if 'bn' in key or 'downsample.1' in key:
            value.copy_(torch.rand(value.shape) + 0.5)
    path = folder / 'encoder.pth'
    record = dict(version=1, encoder=encoder.settings, neck={},
                  input=dict(mean=[10., 20., 30.], std=[40., 50., 60.], stated=True))
    torch.save(dict(meta=dict(mmsimclr=record), state_dict={
        f'backbone.{key}': value for key, value in encoder.state_dict().items()}), path)
    return path


def config_of(kind: str, data: dict[str, Path], work_dir: Path) -> Config:
    """Return a Shapes leaf for two steps on small data."""
    config = load_config(ROOT / f'configs/benchmarks/{KINDS[kind]}.py', work_dir=work_dir)
    folder = str(data['coco' if kind == 'fpn' else 'voc'])
    for loader in (config.train_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=2)
        loader.dataset.data_root = folder
        for step in loader.dataset.pipeline:
            if 'scale' in step:
                step.scale = (48, 48)
    if kind == 'fpn':
        config.test_evaluator.ann_file = f'{folder}/annotations/instances_val2017.json'
    if kind == 'fcn':
        config.model.data_preprocessor['size'] = (48, 48)
        config.test_dataloader.batch_size = 1
    config.train_cfg.max_iters = 2
    return config


def built(kind: str, data: dict[str, Path], source: EncoderSource, work_dir: Path) -> Runner:
    """Return the Runner of a leaf, the encoder in its model."""
    config = config_of(kind, data, work_dir)
    benchmark = Benchmark(source, config, work_dir, work_dir / 'features', device='cpu')
    return FineTuning.build(benchmark, copy.deepcopy(config))
