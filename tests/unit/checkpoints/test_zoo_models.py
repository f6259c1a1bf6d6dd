"""Models of the zoo by name: listed, verified, built, and filled with weights completely or not at all."""

import hashlib
import io

import pytest
import torch
from tiny_zoo import TinyZoo

import mmsimclr
from mmsimclr.checkpoints import CheckpointError, zoo_index
from mmsimclr.checkpoints.zoo import verify_file
from mmsimclr.checkpoints.zoo_index import find_entry
from mmsimclr.config import ConfigError

SMALL = 'simclr_resnet18-w16_1xb128-coslr-5e_shapes'


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
    assert SMALL in everything and len(everything) == len(set(everything)) == 12
    assert mmsimclr.list_models('*_cifar10') == [name for name in everything if name.endswith('_cifar10')]
    assert len(mmsimclr.list_models(pretrained=True)) == 3
    assert mmsimclr.list_models('RESNET*') == []


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(CheckpointError, match=(
            r"no model 'simclr_resnet50_8xb32-coslr-200_in1k' in the zoo; did you mean "
            r"'simclr_resnet50_8xb32-coslr-200e_in1k'\?")):
        find_entry('simclr_resnet50_8xb32-coslr-200_in1k')
    with pytest.raises(CheckpointError, match=r"no model 'zzz' in the zoo \(all names"):
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
        with pytest.raises(CheckpointError, match='no weights of tiny-untrained were published'):
            mmsimclr.get_model('tiny-untrained', pretrained=True)


def test_a_file_is_verified_by_its_name_and_by_the_zoo(tmp_path, quickstart_config):
    content = b'weights'
    digest = hashlib.sha256(content).hexdigest()
    with TinyZoo(tmp_path, content, ['http://127.0.0.1:9'], quickstart_config).in_use() as zoo:
        def verdict(name, content):
            (tmp_path / name).write_bytes(content)
            found = verify_file(tmp_path / name)
            assert found.sha256 == hashlib.sha256(content).hexdigest()
            return found.verified, found.model, found.message.removeprefix(f'{tmp_path / name} ')

        other = hashlib.sha256(b'other').hexdigest()
        assert verdict(zoo.file_name, content) == (
            True, 'tiny', 'is the published weights of tiny, and the one its name promises. '
                          f'SHA-256: {digest}')
        assert verdict('renamed.pth', content) == (
            True, 'tiny', f'is the published weights of tiny. SHA-256: {digest}')
        assert verdict(f'a-{other[:8]}.pth', b'other') == (
            True, None, 'is no file of the model zoo, and the one its name promises. '
                        f'SHA-256: {other}')
        assert verdict('a.pth', b'other') == (
            False, None, 'is no file of the model zoo, and its name promises no hash: nothing to hold it '
                         f'against. SHA-256: {other}')
        verified, model, message = verdict(f'a-{other[:8]}.pth', content)
        assert (verified, model) == (False, 'tiny')
        assert message.startswith(f'is not the file its name promises: its SHA-256 begins with {digest[:8]}, '
                                  f'not {other[:8]}; it is the published weights of tiny')
        assert verdict(zoo.file_name, content[:-1])[:2] == (False, None)
    with pytest.raises(FileNotFoundError, match='no file at'):
        verify_file(tmp_path / 'absent')


def test_the_index_in_the_package_goes_before_one_beside_it(tmp_path, monkeypatch):
    package = tmp_path / 'mmsimclr'
    monkeypatch.setattr(zoo_index, 'PACKAGE', package)
    for folder in (package / '.mim', tmp_path):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'model-index.yml').touch()
    for folder in (package / '.mim', tmp_path):
        assert zoo_index._root() == folder
        (folder / 'model-index.yml').unlink()
    with pytest.raises(FileNotFoundError, match='install mmsimclr again'):
        zoo_index._root()
