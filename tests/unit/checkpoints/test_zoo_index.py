"""Models of the zoo by name: listed, built, and filled with weights completely or not at all."""

import io
import json
import os
import subprocess
import sys

import pytest
import torch
from tiny_zoo import TinyZoo

import mmsimclr
from mmsimclr.checkpoints import CheckpointError
from mmsimclr.checkpoints.zoo_index import find_entry
from mmsimclr.config import ConfigError

SMALL = 'simclr_resnet18-w16_1xb128-coslr-5e_shapes'
SCRIPT = f'''
import json, mmsimclr
from mmsimclr.checkpoints.zoo_index import find_entry
model = mmsimclr.get_model('{SMALL}')
print(json.dumps([mmsimclr.__file__, str(find_entry('{SMALL}').config), mmsimclr.list_models(),
                  model.backbone.feat_dim]))
'''


@pytest.fixture(scope='module')
def trained():
    """Return a state dict of the small model that is not its initialisation."""
    return {key: torch.rand_like(value) if value.is_floating_point() else value + 7
            for key, value in mmsimclr.get_model(SMALL).state_dict().items()}


def saved(content) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def test_names_are_listed_by_pattern():
    everything = mmsimclr.list_models()
    assert SMALL in everything and len(everything) == len(set(everything)) >= 15
    assert mmsimclr.list_models('*_cifar10') == [name for name in everything if name.endswith('_cifar10')]
    assert len(mmsimclr.list_models(pretrained=True)) == 3
    assert mmsimclr.list_models('RESNET*') == []


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(CheckpointError, match=(
            r"'simclr_resnet50_8xb32-coslr-200_in1k'.*did you mean 'simclr_resnet50_8xb32-coslr-200e_in1k'")):
        find_entry('simclr_resnet50_8xb32-coslr-200_in1k')
    with pytest.raises(CheckpointError, match=r"'zzz'.*list_models"):
        mmsimclr.get_model('zzz')


def test_whole_model_is_built_as_the_config_says_and_options_change_it():
    model = mmsimclr.get_model(SMALL)
    assert not model.training
    assert model.head.temperature == 0.2 and model.backbone.feat_dim == 128
    assert model(torch.rand(2, 3, 32, 32))[-1].shape == (2, 128, 4, 4)
    changed = mmsimclr.get_model(SMALL, options={'model.neck.out_channels': 5})
    assert changed.neck.fc1.weight.shape == (5, 128)
    with pytest.raises(ConfigError, match='did you mean'):
        mmsimclr.get_model(SMALL, options={'model.neck.out_chanels': 5})


def test_random_weights_are_drawn_anew_each_time():
    first, second = (mmsimclr.get_model(SMALL).backbone.conv1.weight for _ in range(2))
    assert not torch.equal(first, second)


def test_a_checkpoint_fills_every_tensor(trained, tmp_path):
    path = tmp_path / 'epoch_5.pth'
    path.write_bytes(saved({'state_dict': trained, 'meta': {}}))
    for given in (path, str(path)):
        loaded = mmsimclr.get_model(SMALL, pretrained=given).state_dict()
        assert loaded.keys() == trained.keys()
        assert all(torch.equal(loaded[key], trained[key]) for key in trained)


@pytest.mark.parametrize('missing', ['neck.fc1.weight', 'backbone.layer4.1.bn2.running_var'])
def test_a_checkpoint_that_leaves_a_tensor_unfilled_is_refused(trained, tmp_path, missing):
    path = tmp_path / 'epoch_5.pth'
    path.write_bytes(saved({'state_dict': {key: trained[key] for key in trained if key != missing}}))
    with pytest.raises(CheckpointError, match=missing):
        mmsimclr.get_model(SMALL, pretrained=path)


def test_published_weights_are_fetched_only_where_there_are_any(trained, tmp_path, monkeypatch, root):
    content = saved({'state_dict': trained})
    monkeypatch.setenv('MMSIMCLR_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('MMSIMCLR_OFFLINE', '1')
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path))
    config = root / 'configs' / 'simclr' / f'{SMALL}.py'
    with TinyZoo(tmp_path, content, ['http://127.0.0.1:9'], config).in_use() as zoo:
        (tmp_path / zoo.file_name).write_bytes(content)
        monkeypatch.setenv('MMSIMCLR_MIRRORS', str(tmp_path))
        # A folder of the model's name in the working directory is not taken for it.
        monkeypatch.chdir(tmp_path)
        (tmp_path / 'tiny').mkdir()
        model = mmsimclr.get_model('tiny', pretrained=True)
        assert torch.equal(model.neck.fc1.weight, trained['neck.fc1.weight'])
        with pytest.raises(CheckpointError, match='tiny-untrained'):
            mmsimclr.get_model('tiny-untrained', pretrained=True)


@pytest.mark.slow
def test_a_built_package_lists_and_builds_its_models(root, tmp_path):
    library = tmp_path / 'library'
    subprocess.run([sys.executable, 'setup.py', '-q', 'build_py', '--build-lib', str(library)], cwd=root,
                   check=True, capture_output=True, timeout=60)
    mim = library / 'mmsimclr' / '.mim'
    assert (mim / 'tools' / 'dist_train.sh').is_file()
    assert (mim / 'configs' / '_base_' / 'runtime.py').is_file()
    assert not list(mim.rglob('__pycache__'))
    ran = subprocess.run([sys.executable, '-c', SCRIPT], cwd=tmp_path, check=True, capture_output=True,
                         timeout=120, env={**os.environ, 'PYTHONPATH': str(library)})
    module, config, names, channels = json.loads(ran.stdout.splitlines()[-1])
    assert module == str(library / 'mmsimclr' / '__init__.py')
    assert config == str(mim / 'configs' / 'simclr' / f'{SMALL}.py')
    assert names == mmsimclr.list_models()
    assert channels == 128
