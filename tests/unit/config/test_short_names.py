"""Short names: each changes what it stands for, in a leaf's own words and on the command line."""

import importlib.util

import pytest

from mmsimclr.config import SHORT_NAMES, ConfigError, canonical, load, load_config, short_names
from mmsimclr.errors import InputError
from mmsimclr.files import shipped_configs
from mmsimclr.models import TimmEncoder
from mmsimclr.runner.build import write_types_as_text

FOLDER = 'simclr_resnet18-w32_1xb128-coslr-120e_folder'
LEAVES = sorted(name for name, path in shipped_configs().items() if path.parent.name == 'simclr')


@pytest.mark.parametrize('name', LEAVES)
def test_what_a_leaf_states_at_its_top_is_what_it_builds(name, monkeypatch):
    """A leaf is right under MMEngine alone, which knows no short names."""
    ours = canonical(load_config(name))
    source = shipped_configs()[name].read_text()
    others = {'width': '_resnet' in name, 'colour_strength': 'multiband' not in name}
    assert all(f'\n{short} = ' in source for short in SHORT_NAMES if others.get(short, True))
    monkeypatch.setattr(load, 'apply_short_names', lambda config, values: None)
    assert canonical(load_config(name)) == ours


@pytest.mark.parametrize('options, expected', [
    (dict(epochs=7, batch_size=9, lr=0.5, workers=3), {
        'train_cfg.max_epochs': 7, 'train_dataloader.batch_size': 9, 'optim_wrapper.optimizer.lr': 0.5,
        'train_dataloader.num_workers': 3}),
    (dict(view_size=64, colour_strength=0.25), {
        'train_dataloader.dataset.pipeline.1.transforms.0.size': 64,
        'train_dataloader.dataset.pipeline.1.transforms.0.strength': 0.25,
        'train_dataloader.dataset.pipeline.1.transforms.0.scale.0': 0.2}),
    (dict(encoder='resnet50'), {'model.backbone.depth': 50, 'model.neck.in_channels': 8 * 4 * 32,
                                'model.neck.hid_channels': 8 * 4 * 32}),
    (dict(width=16), {'model.backbone.base_channels': 16, 'model.neck.in_channels': 128}),
    (dict(encoder='resnet34', width=64), {'model.backbone.depth': 34, 'model.neck.in_channels': 512}),
    (dict(precision='fp32'), {'optim_wrapper.type': 'mmengine.OptimWrapper', 'optim_wrapper.enabled': None}),
    (dict(precision='bf16'), {'optim_wrapper.type': 'mmsimclr.BFloat16OptimWrapper',
                              'optim_wrapper.enabled': True})])
@pytest.mark.parametrize('from_leaf', [True, False], ids=['leaf', 'dump'])
def test_a_short_name_changes_what_it_stands_for(options, expected, from_leaf, tmp_path):
    """In a dumped config, which has no variables, as in a leaf."""
    source = FOLDER
    if not from_leaf:
        source = tmp_path / 'dumped.py'
        config = load_config(FOLDER)
        write_types_as_text(config)
        config.dump(source)
    found = canonical(load_config(source, options))
    for key, value in expected.items():
        assert found.get(key) == value, key


def test_what_a_file_computes_follows_a_short_name():
    config = load_config('simclr_resnet50_1xb256-coslr-200e_folder', dict(batch_size=1024))
    assert config.optim_wrapper.optimizer.lr == pytest.approx(0.075 * 32)


def test_a_long_path_goes_before_a_leafs_short_name_and_an_option_before_both():
    key = 'train_dataloader.dataset.pipeline.1.transforms.0.size'
    assert load_config(FOLDER, {key: 48}).train_dataloader.dataset.pipeline[1].transforms[0]['size'] == 48


def test_a_head_of_another_width_keeps_it():
    config = load_config(FOLDER, {'model.neck.hid_channels': 64})
    assert config.model.neck.hid_channels == 64
    config = load_config('simclr_resnet50_8xb32-coslr-200e_in1k', dict(encoder='resnet18'))
    assert (config.model.neck.in_channels, config.model.neck.hid_channels) == (512, 512)


def test_a_tracker_is_added_to_those_there_are():
    backends = load_config(FOLDER, dict(tracker='tensorboard')).visualizer.vis_backends
    assert [getattr(each['type'], '__name__', each['type']) for each in backends] == [
        'LocalVisBackend', 'TensorboardVisBackend']


@pytest.mark.parametrize('installed', [True, False])
def test_tensorboard_is_used_where_it_is_installed_and_another_tracker_beside_it(installed, monkeypatch):
    usual, there = importlib.util.find_spec, {'tensorboard': installed, 'wandb': True, 'mlflow': True}
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *rest: (
        there[name] or None) if name in there else usual(name, *rest))
    monkeypatch.setattr(short_names, 'find_spec', importlib.util.find_spec)
    always = ['LocalVisBackend', *(['TensorboardVisBackend'] if installed else [])]
    for tracker, added in {None: [], 'wandb': ['WandbVisBackend'], 'mlflow': ['MLflowVisBackend']}.items():
        backends = load_config(FOLDER, dict(tracker=tracker)).visualizer.vis_backends
        assert [getattr(each['type'], '__name__', each['type']) for each in backends] == always + added


@pytest.mark.parametrize('options, said', [
    (dict(encoder='resnet20'), 'resnet18'), (dict(precision='fp8'), 'bf16'), (dict(view_size=-1), 'int'),
    (dict(lr='fast'), 'lr must be a number'), (dict(tracker='tensorbord'), "did you mean 'tensorboard'"),
    (dict(width=1.5), 'width must be an integer'), (dict(precision='fp16'), 'GPU')])
def test_a_value_that_is_not_accepted_is_refused_with_what_is(options, said, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    with pytest.raises(InputError, match=said):
        load_config(FOLDER, options)


@pytest.mark.parametrize('option, said', [
    ('epohcs', "did you mean 'epochs'"), ('encoder.depth', "'encoder' is a short name, .* encoder=VALUE"),
    ('view_size.x', 'for view_size.x override')])
def test_an_option_that_is_none_of_them_is_refused(option, said):
    with pytest.raises(ConfigError, match=said):
        load_config(FOLDER, {option: 50})


def test_a_config_without_the_part_is_told_so():
    with pytest.raises(ConfigError, match=r'no optim_wrapper'):
        load_config('knn_folder', dict(lr=0.1))


def test_encoder_of_an_old_benchmark_is_its_random_encoder(tmp_path):
    source = tmp_path / 'old.py'
    source.write_text("encoder = dict(depth=18)\n_images = dict(type='Shapes', num_images=4, pipeline=[])\n"
                      "protocol = dict(type='KNN', train=_images, test=_images)\n")
    assert load_config(source).random_encoder == dict(depth=18)
    assert load_config(source, {'encoder.depth': 34}).random_encoder == dict(depth=34)
    assert canonical(load_config(source))['encoder.depth'] == 18                # so that old results stand


@pytest.mark.parametrize(('encoder', 'wanted'), [
    ('timm:convnext_atto', dict(type='mmsimclr.TimmEncoder', name='convnext_atto')),
    (dict(type=TimmEncoder, name='resnet18'), dict(type='mmsimclr.TimmEncoder', name='resnet18')),
    (dict(type='mmpretrain.MobileNetV3', arch='small_050'),
     dict(type='mmpretrain.MobileNetV3', arch='small_050'))])
@pytest.mark.parametrize('leaf', [FOLDER, 'simclr_resnet50_8xb32-coslr-200e_in1k'])
def test_encoder_may_be_of_any_kind_and_its_head_is_as_wide_as_it(encoder, wanted, leaf):
    model = load_config(leaf, dict(encoder=encoder)).model
    assert dict(model.backbone) == wanted
    assert not {'in_channels', 'hid_channels'} & set(model.neck) and model.neck.out_channels == 128


def test_a_model_of_timm_takes_as_many_channels_as_the_images_have():
    settings = dict(encoder='timm:convnext_atto', channels=6)
    assert dict(load_config(FOLDER.replace('folder', 'multiband'), settings).model.backbone) == dict(
        type='mmsimclr.TimmEncoder', name='convnext_atto', in_chans=6)


def test_a_width_given_with_another_kind_of_encoder_is_refused():
    with pytest.raises(ConfigError, match='encoder and width are those of'):
        load_config(FOLDER, dict(encoder='timm:convnext_atto', width=8))
