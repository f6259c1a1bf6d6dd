"""Values that do not fit each other are refused when the Runner is built: before any data is read."""

import pytest
from tiny_run import PACK_IMAGE, tiny_config

from mmsimclr.config import ConfigError
from mmsimclr.datasets import Shapes
from mmsimclr.models import NonLinearNeck, SimCLR
from mmsimclr.registry import DATASETS, MODELS
from mmsimclr.runner import build_runner


@DATASETS.register_module()
class UnreadShapesForFittingTest(Shapes):
    """A dataset that nobody may build."""

    def __init__(self, **settings):
        raise AssertionError('data were read')


@MODELS.register_module()
class OwnNeckForFittingTest(NonLinearNeck):
    """A neck that does not say its width as ours does."""

    def __init__(self, in_channels, hid_channels, out_channels):
        super().__init__(in_channels, hid_channels, out_channels)
        self.own, self.fc0 = self.fc0, None


@MODELS.register_module()
class MultiCropForFittingTest(SimCLR):
    """An algorithm that may take views of several sizes."""


def config_of(tmp_path, **changes):
    config = tiny_config(tmp_path)
    config.train_dataloader.dataset.type = 'UnreadShapesForFittingTest'
    config.merge_from_dict({f'model.{key}'.replace('__', '.'): value for key, value in changes.items()})
    return config


OTHERS = dict(type='mmpretrain.ResNet', depth=50, _delete_=True)
WIDTHS = [
    (dict(neck__in_channels=512), 512, 32), (dict(backbone__depth=50), 32, 128),
    (dict(backbone__width_multiplier=2), 32, 64), (dict(backbone__out_indices=(2,)), 32, 16),
    (dict(backbone__out_indices=(0, 1)), 32, 8), (dict(backbone__out_indices=('stem',)), 32, 4),
    (dict(backbone=OTHERS), 32, 2048),
    (dict(backbone=dict(OTHERS, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))), 32,
     1024)]


@pytest.mark.parametrize(('changes', 'given', 'wanted'), WIDTHS, ids=lambda value: str(value)[:40])
def test_a_projection_head_that_is_not_as_wide_as_the_encoder_is_refused(changes, given, wanted, tmp_path):
    with pytest.raises(ConfigError) as error:
        build_runner(config_of(tmp_path, **changes))
    assert f"in_channels is {given}, and the encoder's last map has {wanted} channels" in str(error.value)
    assert f'set model.neck.in_channels={wanted}' in str(error.value)


@pytest.mark.parametrize(('changes', 'given', 'wanted'), WIDTHS[1:], ids=lambda value: str(value)[:40])
def test_what_the_message_says_to_write_is_accepted(changes, given, wanted, tmp_path):
    build_runner(config_of(tmp_path, **changes, neck__in_channels=wanted))


@pytest.mark.parametrize('changes', [
    dict(neck__num_layers=0, neck__in_channels=7),                # the identity
    dict(neck__with_avg_pool=False, neck__in_channels=128),       # maps of 2 x 2
    dict(neck=dict(_delete_=True, type='OwnNeckForFittingTest', in_channels=7, hid_channels=8,
                   out_channels=8))], ids=str)
def test_where_widths_are_not_said_or_do_not_matter_nothing_is_refused(changes, tmp_path):
    build_runner(config_of(tmp_path, **changes))


@pytest.mark.parametrize(('key', 'value', 'range_'), [
    ('train_dataloader.batch_size', 0, '>= 1'), ('train_dataloader.num_workers', -1, '>= 0'),
    ('train_cfg.max_epochs', 0, '>= 1'),
    ('randomness.seed', -1, '>= 0 and <= 4294967295'), ('randomness.seed', 2**32, '>= 0 and <= 4294967295')])
def test_numbers_that_torch_would_refuse_from_the_depths_are_refused(key, value, range_, tmp_path):
    config = config_of(tmp_path)
    config.merge_from_dict({key: value})
    with pytest.raises(ConfigError, match=rf'^{key} must be {range_}, got {value}$'):
        build_runner(config)


def views(*sizes) -> list[dict]:
    pipelines = [[dict(type='SimCLRView', size=size, blur=False)] for size in sizes]
    return [dict(type='MultiView', num_views=len(sizes), transforms=pipelines), dict(type='PackViews')]


def test_views_of_several_sizes_are_refused_for_simclr_and_left_to_other_algorithms(tmp_path):
    config = config_of(tmp_path)
    config.train_dataloader.dataset.pipeline = views(16, 12)
    with pytest.raises(ConfigError, match=r'must have one size.*pipeline are 16 and 12'):
        build_runner(config)
    config.model.type = 'MultiCropForFittingTest'
    build_runner(config)
    config.model.type, config.train_dataloader.dataset.pipeline = SimCLR, views(16, 16)
    build_runner(config)


def test_views_in_a_wrapped_dataset_are_seen_and_other_pipelines_are_not_mistaken_for_views(tmp_path):
    config = config_of(tmp_path)
    inner = dict(config.train_dataloader.dataset, pipeline=views(8, 16))
    config.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=inner)
    with pytest.raises(ConfigError, match='8 and 16'):
        build_runner(config)
    config.train_dataloader.dataset = dict(inner, pipeline=PACK_IMAGE)
    build_runner(config)
