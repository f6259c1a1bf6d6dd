"""Tasks of ranks with a classifier, and the same on one process."""

import copy
from pathlib import Path

import torch
from mmengine.runner import Runner
from tiny_probe import probe_config, shapes

from mmsimclr import distributed
from mmsimclr.models import Classifier
from mmsimclr.protocols import evaluate, run_benchmark

NUM_IMAGES = 21                                        # on two ranks the sampler pads to 22


def evaluate_on_ranks(folder: str) -> dict:
    """Evaluate a classifier whose norm has seen other images on every rank; return answers and counts."""
    config = probe_config(Path(folder))
    torch.manual_seed(1)
    head = dict(type='mmsimclr.LinearHead', map_shape=(32, 2, 2), num_classes=10, init_std=1.0, norm=True)
    model = Classifier(dict(type='mmsimclr.ResNet', depth=18, base_channels=4, stem='cifar'),
                       dict(pooled=head), frozen=True)
    model.heads.pooled.norm.running_mean += distributed.rank()
    loader_config = copy.deepcopy(config.test_dataloader)
    loader_config.dataset = dict(shapes('test', NUM_IMAGES), type='mmsimclr.Shapes',
                                 pipeline=[dict(type='mmsimclr.PackImage')])
    loader = Runner.build_dataloader(loader_config)
    found = evaluate(model, loader)
    return dict(labels=found.labels, ranked=found.answers['pooled'], own=len(list(loader.sampler)))


def train_on_ranks(folder: str, checkpoint: str, batch_size: int, protocol: str) -> dict:
    """Run a protocol; return metrics, predictions and weights."""
    changes = {'train_dataloader.batch_size': batch_size, 'train_dataloader.sampler.shuffle': False}
    if protocol == 'LinearPerLayer':
        changes['model.heads'] = dict(layer4=dict(type='LinearHead', feature='layer4', norm=False))
    config = probe_config(Path(folder), protocol, **changes)
    if protocol == 'LinearPerLayer':
        config.model.heads.pop('pooled')
    config.launcher = 'pytorch'
    result = run_benchmark(config, checkpoint)
    state = torch.load(Path(folder) / 'epoch_2.pth', weights_only=False)['state_dict']
    return dict(metrics=result.metrics, settings=result.settings,
                heads={name: value for name, value in state.items() if name.startswith('heads')})
