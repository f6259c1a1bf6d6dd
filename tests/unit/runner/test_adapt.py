"""Views on the device: the same policy, and the same run whatever the loader does."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from tiny_run import PACK_IMAGE, tiny_config, tiny_runner

from mmsimclr.config import ConfigError, check_config, load_config
from mmsimclr.datasets import InMemoryImages, UnlabeledImageFolder
from mmsimclr.engine import SampleIndex
from mmsimclr.runner import RunError, build_runner
from mmsimclr.runner.build import adapt, place_views, share_batch
from mmsimclr.transforms import (
    DeviceViews,
    LoadImage,
    LoadImageForCrops,
    MultiView,
    PackViews,
    Rotate90,
    SimCLRView,
    Sobel,
)

VIEW = dict(type=SimCLRView, size=16, strength=0.5, blur=False, scale=(0.5, 1.0))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Sixteen photographs, so to speak, of several sizes."""
    root = tmp_path_factory.mktemp('folder')
    generator = np.random.default_rng(0)
    for i in range(16):
        pixels = generator.integers(0, 256, (20 + i % 3, 24 - i % 5, 3), np.uint8)
        Image.fromarray(pixels).save(root / f'{i:02d}.jpg')
    return root


def on_files(folder, reader=LoadImage):
    pipeline = [dict(type=reader), dict(type=MultiView, num_views=2, transforms=[VIEW]), dict(type=PackViews)]
    return dict(type=UnlabeledImageFolder, data_root=str(folder), pipeline=pipeline)


def loader_of(dataset, **changes):
    return dict(batch_size=8, drop_last=True, sampler=dict(type='SeededSampler', shuffle=True),
                dataset=dataset, **{'num_workers': 0, **changes})


def weights(runner):
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def assert_same(left, right):
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_images_in_memory_train_without_loader_processes_and_with_online_knn(tmp_path):
    images = dict(type='Shapes', num_images=20, image_size=16, pipeline=PACK_IMAGE)
    config = tiny_config(tmp_path, views='device')
    config.train_dataloader.update(num_workers=2, persistent_workers=True, pin_memory=True, prefetch_factor=4)
    config.custom_hooks += [dict(type='OnlineKNNHook', bank=images, queries={**images, 'split': 'test'})]
    check_config(config)
    runner = build_runner(config)
    runner.train()
    loader = runner.train_dataloader
    assert isinstance(loader.dataset, InMemoryImages) and loader.num_workers == 0
    assert isinstance(runner.model.data_preprocessor.views, DeviceViews)
    assert runner.iter == 2 and 0 <= runner.message_hub.get_info('knn_accuracy') <= 100


def test_the_policy_and_the_number_of_views_are_the_configs(folder, tmp_path):
    config = tiny_config(tmp_path, train_dataloader=loader_of(on_files(folder)))
    config.train_dataloader.dataset.pipeline[1].num_views = 3
    config.model.data_preprocessor = dict(type='ViewPreprocessor', mean=(1, 2, 3), channels_last=True)
    config.views = 'device'
    place_views(config)
    preprocessor = config.model.data_preprocessor
    assert preprocessor.pop('views') == {**VIEW, 'type': DeviceViews, 'num_views': 3}
    assert preprocessor == dict(type='ViewPreprocessor', mean=(1, 2, 3), channels_last=True)
    before = config.pretty_text
    place_views(config)                                         # what was dumped can be run again
    assert config.pretty_text == before and 'views' not in config


@pytest.mark.parametrize('views', [None, 'loader'])
def test_views_stay_in_the_loader_unless_asked_for(tmp_path, views):
    config = tiny_config(tmp_path, **({} if views is None else {'views': views}))
    plain = tiny_config(tmp_path)
    place_views(config)
    assert config.pretty_text == plain.pretty_text


def test_another_place_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r'views must be .*loader, device, .*gpu'):
        place_views(tiny_config(tmp_path, views='gpu'))


def test_bad_images_need_files(tmp_path):
    with pytest.raises(ConfigError, match='bad_images'):
        build_runner(tiny_config(tmp_path, views='device', bad_images=dict(max_fraction=0.1)))


@pytest.fixture(scope='module')
def of_folder(folder, tmp_path_factory):
    """The weights after training on the folder, without loader processes."""
    runner = tiny_runner(tmp_path_factory.mktemp('of') / 'folder', views='device',
                         train_dataloader=loader_of(on_files(folder)))
    runner.train()
    return weights(runner)


@pytest.mark.parametrize('reader', [LoadImage, LoadImageForCrops])
def test_loader_processes_and_reduced_reading_change_nothing(folder, tmp_path, of_folder, reader):
    dataset = on_files(folder, reader)
    runner = tiny_runner(tmp_path, views='device', train_dataloader=loader_of(dataset, num_workers=2))
    runner.train()
    assert_same(weights(runner), of_folder)


def test_views_of_an_epoch_do_not_depend_on_the_size_of_a_batch(tmp_path):
    found = []
    for batch_size in (8, 3):
        config = tiny_config(tmp_path, views='device')
        config.train_dataloader.batch_size = batch_size
        runner = build_runner(config)
        loader = runner.build_dataloader(runner._train_dataloader, seed=0)
        views = {}
        for batch in loader:
            data = runner.model.data_preprocessor(batch, True)
            for place, *own in zip(data['data_samples']['sample_idx'].tolist(), *data['inputs'], strict=True):
                views[place] = torch.stack(own)
        found.append(views)
    assert len(found[0]) == 16 and len(found[1]) == 15
    for place, views in found[1].items():
        torch.testing.assert_close(views, found[0][place], rtol=0, atol=1e-5)


@pytest.mark.parametrize('steps', [
    [dict(type=SimCLRView, size=16), dict(type='RandomSolarize')], [dict(type='RandomResizedCrop', size=16)],
    [[dict(type=SimCLRView, size=16)], [dict(type=SimCLRView, size=8)]], []])
def test_other_views_are_refused(tmp_path, steps):
    config = tiny_config(tmp_path, views='device')
    config.train_dataloader.dataset.pipeline[0] = dict(type='MultiView', transforms=steps)
    with pytest.raises(ConfigError, match="needs a pipeline that ends in MultiView of one SimCLRView"):
        place_views(config)


def test_shared_steps_are_refused_by_name(tmp_path):
    config = tiny_config(tmp_path, views='device')
    config.train_dataloader.dataset.pipeline[0].shared = [dict(type='RandomResizedCrop', size=16)]
    with pytest.raises(ConfigError, match=r"shared.*make these views in the loader"):
        place_views(config)


def test_operators_after_the_policy_go_to_the_device(tmp_path):
    config = tiny_config(tmp_path, views='device')
    steps = config.train_dataloader.dataset.pipeline[0].transforms
    steps += [dict(type='Rotate90'), dict(type=Sobel, prob=0.5)]
    check_config(config)
    runner = build_runner(config)
    assert [type(step) for step in runner.model.data_preprocessor.views.operators] == [Rotate90, Sobel]
    runner.train()
    assert runner.iter == 2


@pytest.mark.parametrize('change', [dict(style='official'), dict(antialias=False)])
def test_variants_that_the_device_does_not_have_are_refused(tmp_path, change):
    config = tiny_config(tmp_path, views='device')
    config.train_dataloader.dataset.pipeline[0].transforms[0].update(change)
    with pytest.raises(ValueError, match="make these views in the loader"):
        build_runner(config)


def test_one_option_switches_a_published_config(root, tmp_path):
    config = load_config(root / 'configs/simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py',
                         {'views': 'device'}, tmp_path)
    place_views(config)
    item = {'img': np.zeros((300, 400, 3), np.uint8), 'sample_idx': SampleIndex(0, 0, 0)}
    *reading, pack = config.train_dataloader.dataset.pipeline
    assert [step['type'].__name__ for step in reading] == ['LoadImage']
    assert tuple(pack['type']().transform(item)['inputs'].shape) == (512, 512, 3)
    assert config.model.data_preprocessor['views']['interpolation'] == 'bilinear'


@pytest.mark.parametrize('given, set_to', [(dict(num_workers=2), 600), (dict(num_workers=2, timeout=9), 9),
                                           (dict(num_workers=0, timeout=9), 0)])
def test_loader_processes_that_fall_silent_are_not_waited_for_forever(given, set_to, tmp_path):
    config = tiny_config(tmp_path)
    config.train_dataloader.update(given)
    adapt(config)
    assert config.train_dataloader.timeout == set_to


class Unsendable:
    """A batch that cannot be sent: as one that finds no room, torch's queue drops it without an error."""

    def __reduce__(self):
        raise OSError(28, 'No space left on device')


def lose_batch(items):
    return Unsendable()


@pytest.mark.slow
def test_a_batch_that_is_lost_between_processes_ends_the_run(tmp_path):
    config = tiny_config(tmp_path)
    config.train_dataloader.update(num_workers=1, timeout=3, collate_fn=dict(type=lose_batch))
    with pytest.raises(RunError, match=r'sent nothing for 3 s \(train_dataloader\.timeout\)'):
        build_runner(config).train()


@pytest.mark.parametrize('ranks, own', [(1, 24), (2, 12), (3, 8), (4, 6)])
def test_an_elastic_run_shares_its_batch_out_to_the_ranks_there_are(ranks, own, monkeypatch):
    monkeypatch.setenv('MMSIMCLR_ELASTIC_RANKS', '4')
    monkeypatch.setattr('mmsimclr.distributed.world_size', lambda: ranks)
    config = Config(dict(train_dataloader=dict(batch_size=6)))
    share_batch(config)
    assert config.train_dataloader.batch_size == own


def test_a_batch_that_does_not_divide_is_refused_and_another_run_keeps_its_own(monkeypatch):
    monkeypatch.setattr('mmsimclr.distributed.world_size', lambda: 5)
    config = Config(dict(train_dataloader=dict(batch_size=6)))
    share_batch(config)
    assert config.train_dataloader.batch_size == 6
    monkeypatch.setenv('MMSIMCLR_ELASTIC_RANKS', '4')
    with pytest.raises(ValueError, match=r'24 images, 6 on each of 4.*shared out to 5'):
        share_batch(config)
