"""Pre-training teaches something: the tools, called as a user does, measure it."""

import json

import pytest
from processes import ROOT, run_tool

from mmsimclr.config import load_config

LEAVES = ROOT / 'configs' / 'benchmarks' / 'classification'
ENCODER = dict(depth=18, stem='cifar', base_channels=8, zero_init_residual=False)
IMAGES = ['protocol.train.num_images=500', 'protocol.test.num_images=500']
PROTOCOLS = {
    'knn': ([*IMAGES, 'protocol.k=[10]'], 'top_1_accuracy_k10_percent'),
    'transfer-linear': (['protocol.tasks.0.train.num_images=500', 'protocol.tasks.0.test.num_images=500',
                         'protocol.l2=[0.001,0.01,0.1]'], 'top_1_accuracy_percent'),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory, quickstart_config):
    """Pre-train for a few epochs; return the folder of the run.

    Views have no colours: those of an image are unrelated to its class, and until they are exhausted, which
    takes more steps than there are here, a network learns them rather than shapes.
    """
    folder = tmp_path_factory.mktemp('pretrained')
    view = [dict(type='RandomResizedCrop', size=32, scale=(0.6, 1.0)), dict(type='RandomHorizontalFlip'),
            dict(type='ColorJitter', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, prob=1.0),
            dict(type='RandomGrayscale', prob=1.0)]
    config = load_config(quickstart_config, {
        'model.backbone.base_channels': ENCODER['base_channels'], 'model.neck.in_channels': 64,
        'model.neck.hid_channels': 64, 'train_dataloader.batch_size': 64,
        'train_dataloader.dataset.num_images': 2000, 'train_dataloader.dataset.pipeline.0.transforms': [view],
        'custom_hooks.2.interval': 14, 'custom_hooks.2.bank.num_images': 500,
        'custom_hooks.2.queries.num_images': 500, 'custom_hooks.3.num_images': 64,
        'optim_wrapper.optimizer.lr': 5.0,
        'train_cfg.max_epochs': 14})
    config.dump(folder / 'config.py')
    status, log = run_tool(folder / 'log', 'train.py', folder / 'config.py', '--work-dir', folder / 'run',
                           timeout_s=300)
    assert status == 0, log
    return folder


def measure(folder, protocol: str, name: str, *encoder) -> float:
    options, metric = PROTOCOLS[protocol]
    work_dir = folder / f'{protocol}_{name}'
    status, log = run_tool(
        folder / f'{protocol}_{name}.log', 'benchmark.py', LEAVES / f'{protocol}_shapes.py', *encoder,
        '--work-dir', work_dir, '--cfg-options', *options,
        *(f'encoder.{key}={value}' for key, value in ENCODER.items()))
    assert status == 0, log
    return json.loads((work_dir / 'result.json').read_text())['metrics'][metric]


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_a_trained_encoder_is_far_above_a_random_one(protocol, folder):
    trained = measure(folder, protocol, 'trained', folder / 'run')
    random = measure(folder, protocol, 'random', '--init', 'random')
    assert trained > random + 12, f'{trained} trained, {random} random'


def test_a_trained_encoder_is_far_above_itself_at_its_start(folder):
    metrics = json.loads((folder / 'run' / 'result.json').read_text())['metrics']
    at_start, trained = metrics['knn_accuracy_at_start_percent'], metrics['knn_accuracy_percent']
    # The distance depends on the processor's rounding: 12 to 20 points were seen.
    assert trained > at_start + 12, f'{trained} trained, {at_start} at its start'
