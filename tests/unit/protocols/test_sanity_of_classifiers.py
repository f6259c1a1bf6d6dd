"""Sanity of every protocol that trains a classifier: chance for what says nothing."""

import numpy as np
import pytest
from tiny_probe import probe_config, save_encoder

from mmsimclr.datasets import Shapes
from mmsimclr.protocols import run_benchmark
from mmsimclr.registry import DATASETS

pytestmark = pytest.mark.slow
NUM_TRAIN, NUM_TEST = 200, 200


@DATASETS.register_module(force=True)
class TintedShapes(Shapes):
    """Shapes in a colour of their class, which an encoder that was never trained sees as well."""

    def get_data_info(self, idx: int) -> dict:
        info = super().get_data_info(idx)
        tint = np.random.default_rng(info['gt_label']).integers(0, 200, 3)
        return {**info, 'img': (info['img'] // 6 + tint).astype(np.uint8)}


@DATASETS.register_module(force=True)
class BlankShapes(Shapes):
    """Shapes of which nothing is to be seen."""

    def get_data_info(self, idx: int) -> dict:
        info = super().get_data_info(idx)
        return {**info, 'img': np.full_like(info['img'], 255)}


@DATASETS.register_module(force=True)
class MislabelledShapes(TintedShapes):
    """The same with each other's labels."""

    def get_data_info(self, idx: int) -> dict:
        order = np.random.default_rng(len(self)).permutation(len(self))
        return {**super().get_data_info(idx), 'gt_label': int(order[idx]) % 10}


def linear(config):
    config.protocol = dict(type='LinearEvaluation')


def per_layer(config):
    config.protocol = dict(type='LinearPerLayer')
    config.model.heads = dict(layer1=dict(type='LinearHead', feature='layer1', norm=True))
    config.optim_wrapper.optimizer.lr = 0.01


def semi_supervised(config):
    config.protocol = dict(type='SemiSupervised', labels='10%')
    config.model.update(frozen=False)
    config.model.heads.pooled.init_std = 0.01
    config.optim_wrapper.optimizer.lr = 0.05


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp('encoder'))


@pytest.fixture(params=[linear, per_layer, semi_supervised], ids=lambda protocol: protocol.__name__)
def measure(request, checkpoint, tmp_path):
    def run(train: str, test: str) -> float:
        config = probe_config(tmp_path / f'{train}_{test}', **{
            'train_cfg.max_epochs': 5, 'train_dataloader.batch_size': 20, 'test_dataloader.batch_size': 50})
        request.param(config)
        config.train_dataloader.dataset.update(type=train, num_images=NUM_TRAIN)
        config.test_dataloader.dataset.update(type=test, num_images=NUM_TEST)
        metrics = run_benchmark(config, str(checkpoint)).metrics
        return next(value for name, value in metrics.items() if name.endswith('top_1_accuracy_percent'))
    return run


def test_images_with_their_labels_are_far_above_chance(measure):
    assert measure('TintedShapes', 'TintedShapes') > 60


def test_equal_images_give_chance(measure):
    assert measure('BlankShapes', 'BlankShapes') == pytest.approx(10)          # 20 of 200 of each class


def test_shuffled_training_labels_give_chance(measure):
    # Images of a class get one answer, so it is ten guesses rather than 200: three standard deviations.
    assert measure('MislabelledShapes', 'TintedShapes') < 10 + 3 * 9.5
