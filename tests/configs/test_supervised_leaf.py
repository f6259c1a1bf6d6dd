"""The supervised leaf is named by the grammar, and its one line of views can be any of the paper's."""

import ast
import re

import pytest
from documented_commands import check_command
from leaves import CONFIGS

from mmsimclr.config import load_config
from mmsimclr.protocols import run_benchmark

LEAF, = (CONFIGS / 'supervised').glob('*cifar10.py')
VIEWS = {
    '_crop': ['RandomResizedCrop', 'RandomHorizontalFlip'],
    '_crop + _colour': ['RandomResizedCrop', 'RandomHorizontalFlip', 'ColorJitter', 'RandomGrayscale'],
    '_crop + _colour + _blur': ['RandomResizedCrop', 'RandomHorizontalFlip', 'ColorJitter', 'RandomGrayscale',
                                'GaussianBlur'],
    '_crop + _auto': ['RandomResizedCrop', 'RandomHorizontalFlip', 'AutoAugment'],
}


def views_of(config):
    return config.train_dataloader.dataset.pipeline[0].transforms


def test_name_header_and_values_agree():
    name = re.fullmatch(r'supervised_resnet(\d+)-w(\d+)_1xb(\d+)-coslr-(\d+)e_cifar10', LEAF.stem)
    depth, width, batch, epochs = map(int, name.groups())
    config = load_config(LEAF)
    assert (config.random_encoder.depth, config.random_encoder.base_channels) == (depth, width)
    assert config.train_dataloader.batch_size == config.auto_scale_lr.base_batch_size == batch
    assert config.train_cfg.max_epochs == epochs and not config.model.frozen
    header = ' '.join(ast.get_docstring(ast.parse(LEAF.read_text())).split())
    command = re.search(r'&& (mmsimclr benchmark \S+ --init random)', header)[1]
    assert LEAF.stem in command
    check_command(command.split())


def test_crops_and_images_are_the_pre_trainings():
    ours = load_config(LEAF)
    theirs = load_config(CONFIGS / 'simclr' / 'simclr_resnet18-w16_1xb128-coslr-20e_cifar10.py')
    view = views_of(theirs)[0]
    assert (views_of(ours)[0]['size'], views_of(ours)[0]['scale']) == (view['size'], view['scale'])
    jitter = views_of(ours)[2]
    assert [jitter[key] for key in ('brightness', 'contrast', 'saturation', 'hue')] == [
        0.8 * view['strength']] * 3 + [0.2 * view['strength']]
    assert ours.train_dataloader.dataset.num_images == theirs.train_dataloader.dataset.num_images
    assert ours.train_dataloader.batch_size == theirs.train_dataloader.batch_size
    backbone = {key: value for key, value in theirs.model.backbone.items() if key != 'type'}
    assert dict(ours.random_encoder) == backbone


@pytest.mark.slow
@pytest.mark.parametrize('line', VIEWS)
def test_one_line_chooses_the_views_and_it_trains(line, tmp_path):
    text = LEAF.read_text()
    assert text.count('\n_view = ') == 1
    folder = tmp_path / 'configs' / 'supervised'
    folder.mkdir(parents=True)
    (tmp_path / 'configs' / '_base_').symlink_to(CONFIGS / '_base_')
    (folder / LEAF.name).write_text(re.sub(r'\n_view = .*', f'\n_view = {line}', text))
    config = load_config(folder / LEAF.name, work_dir=tmp_path / 'run')
    assert [step['type'].__name__ for step in views_of(config)] == VIEWS[line]
    config.random_encoder.base_channels = 4
    config.model.data_preprocessor.channels_last = False
    config.train_cfg.max_epochs = 1
    for loader in (config.train_dataloader, config.test_dataloader):
        loader.update(batch_size=10, num_workers=0, persistent_workers=False)
        loader.dataset = dict(type='Shapes', num_images=20, pipeline=loader.dataset.pipeline)
    result = run_benchmark(config, None, config_path=LEAF)
    assert result.settings['steps'] == 2 and 0 <= result.metrics['top_1_accuracy_percent'] <= 100
