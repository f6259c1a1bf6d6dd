"""Sources of images that a user may name: folders with and without classes, datasets in configs."""

import numpy as np
import pytest
from extraction_samples import InMemory, make_folder, save_image

from mmsimclr.config import ConfigError
from mmsimclr.datasets import Shapes
from mmsimclr.features import ImageFolder, list_images, named_images

CONFIG = """
default_scope = 'mmsimclr'
shapes = dict(type='Shapes', image_size=16, pipeline=[dict(type='MultiView', num_views=2, transforms=[
    dict(type='SimCLRView', size=16)]), dict(type='PackViews')])
train_dataloader = dict(batch_size=2, dataset=dict(shapes, num_images=30))
custom_hooks = [dict(type='OnlineKNNHook', bank=dict(shapes, num_images=20),
                     queries=dict(shapes, num_images=10))]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(CONFIG)
    return path


def test_class_folders_give_labels_in_the_order_of_their_names(tmp_path):
    make_folder(tmp_path / 'images')
    for root in (tmp_path / 'images', f'{tmp_path}/images/'):
        images = named_images(root)
        infos = [images.get_data_info(i) for i in range(len(images))]
        assert images.metainfo == {'classes': ('a', 'b', 'c')}
        assert [info['gt_label'] for info in infos] == [0] * 3 + [1] * 4 + [2] * 4
        assert all(info['img_path'].split('/')[-2] == 'abc'[info['gt_label']] for info in infos)


def test_many_classes_are_numbered_by_name(tmp_path):
    names = [f'{chr(97 + 7 * i % 26)}{i}' for i in range(26)]
    for name in names:
        save_image(tmp_path / name / '1.png', 1)
    assert ImageFolder(tmp_path).metainfo['classes'] == tuple(sorted(names))


@pytest.mark.parametrize('names', [('1.png', '2.png'), ('a/1.png', '2.png'), ('a/1.png', 'b/c/2.png')])
def test_other_trees_have_no_labels(tmp_path, names):
    for number, name in enumerate(names):
        save_image(tmp_path / name, number)
    images = ImageFolder(tmp_path)
    assert images.metainfo == {} and 'gt_label' not in images.get_data_info(0)
    assert list_images(images).labels is None


def test_a_config_names_its_training_images_by_default_and_others_by_key(config):
    assert isinstance(named_images(config), Shapes)
    assert [len(named_images(config, key)) for key in (None, 'custom_hooks.0.queries')] == [30, 10]
    assert len(named_images(config, options={'train_dataloader.dataset.num_images': 7})) == 7


def test_the_projects_own_configs_work(quickstart_config):
    size = {'train_dataloader.dataset.num_images': 3}
    assert named_images(quickstart_config, options=size).get_data_info(2)['img'].shape == (32, 32, 3)


def test_test_and_validation_images_go_before_training_images(config):
    for loader, number in (('val_dataloader', 40), ('test_dataloader', 50)):
        with config.open('a') as file:
            file.write(f'{loader} = dict(batch_size=2, dataset=dict(shapes, num_images={number}))\n')
        assert len(named_images(config)) == number


@pytest.mark.parametrize('key, message', [
    ('train_dataloader.datset', r"has no train_dataloader\.datset: where 'datset' .* batch_size, dataset"),
    ('custom_hooks.1.bank', r"where '1' should be there is 0$"),
    ('train_dataloader.batch_size.x', "where 'x' should be there is nothing"),
    ('train_dataloader', "'train_dataloader' of .* must be a dict with the type of a dataset"),
    ('train_dataloader.batch_size', 'got int')])
def test_a_key_that_leads_nowhere_is_refused_with_what_is_there(config, key, message):
    with pytest.raises(ConfigError, match=message):
        named_images(config, key)


def test_a_config_without_datasets_asks_for_a_key(tmp_path):
    (tmp_path / 'config.py').write_text("default_scope = 'mmsimclr'\n")
    with pytest.raises(ConfigError, match='has none of test_dataloader, val_dataloader, train_dataloader'):
        named_images(tmp_path / 'config.py')


def test_a_key_or_options_of_a_folder_are_refused(tmp_path):
    save_image(tmp_path / '1.png', 1)
    for arguments in (('train_dataloader.dataset', None), (None, {'x': 1})):
        with pytest.raises(ValueError, match=r'is no config \(\.py\)'):
            named_images(tmp_path, *arguments)


def test_the_hash_of_images_follows_their_order_pixels_and_labels():
    hashes = {list_images(dataset).sha256 for dataset in (
        InMemory(5), InMemory(4), InMemory(5, [0, 1, 2, 3, 4]), InMemory(5, [0, 1, 2, 4, 3]))}
    assert len(hashes) == 4
    darker = InMemory(5)
    darker.get_data_info = lambda index: dict(img=np.full((4, 4, 3), 4 - index, np.uint8))
    assert list_images(darker).sha256 not in hashes
    assert list_images(InMemory(5)).sha256 in hashes
