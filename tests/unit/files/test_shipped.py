"""Configs and index that come with the package."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmsimclr.cli import main
from mmsimclr.config import load_config
from mmsimclr.errors import MissingFileError
from mmsimclr.files import find_config, shipped, shipped_configs
from mmsimclr.files.shipped import for_cpus, hardware_of

NAME = 'simclr_resnet18-w32_1xb128-coslr-120e_folder'


def test_the_index_in_the_package_goes_before_one_beside_it(tmp_path, monkeypatch):
    package = tmp_path / 'mmsimclr'
    monkeypatch.setattr(shipped, 'PACKAGE', package)
    for folder in (package / '.mim', tmp_path):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'model-index.yml').touch()
    for folder in (package / '.mim', tmp_path):
        assert shipped.shipped_root() == folder
        (folder / 'model-index.yml').unlink()
    with pytest.raises(FileNotFoundError, match=r'model-index\.yml'):
        shipped.shipped_root()


def test_every_config_has_a_name_of_its_own(root):
    files = [path for path in (root / 'configs').rglob('*.py') if '_base_' not in path.parts]
    assert len(files) > 50 and sorted(shipped_configs().values()) == sorted(files)


@pytest.mark.parametrize('name', [NAME, f'{NAME}.py', f'simclr/{NAME}', f'configs/simclr/{NAME}.py'])
def test_a_config_is_found_by_name_from_any_folder(name, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == root / 'configs' / 'simclr' / f'{NAME}.py'


def test_a_file_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).touch()
    assert find_config(NAME) == Path(NAME)


@pytest.mark.parametrize('name', [f'{NAME}s', f'benchmarks/{NAME}', f'/nowhere/{NAME}.py', 'runtime'])
def test_what_is_no_config_is_not_taken_for_one(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match=name) as error:
        find_config(name)
    assert name == 'runtime' or NAME in str(error.value)


def test_the_nearest_file_of_the_folder_is_suggested(tmp_path):
    (tmp_path / 'mine.py').touch()
    with pytest.raises(MissingFileError, match=r'did you mean .*/mine\.py'):
        find_config(tmp_path / 'mein.py')


@pytest.mark.parametrize('name', ['knn_folder', 'linear_1xb64-coslr-40e_folder', 'table5'])
def test_a_copy_has_all_bases_that_it_reads(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ['configs', 'copy', name])
    assert done.exit_code == 0
    copied = Path(done.output.strip())
    below = shipped_configs()[name].relative_to(shipped.shipped_root())
    assert copied == below and copied.read_bytes() == shipped_configs()[name].read_bytes()
    if name != 'table5':
        assert load_config(copied).to_dict() == load_config(name).to_dict()
    assert len(list(Path('configs').rglob('*.py'))) < 12
    assert CliRunner().invoke(main, ['configs', 'copy', name]).exit_code == 1         # nothing is overwritten
    shutil.rmtree('configs')


@pytest.mark.parametrize('name, better', [
    ('simclr_resnet50_1xb256-coslr-200e_folder', NAME), ('simclr_resnet50_8xb32-coslr-200e_in1k', NAME),
    ('simclr_resnet18_1xb512-coslr-1000e_cifar10', 'simclr_resnet18-w16_1xb128-coslr-20e_cifar10'),
    (NAME, None), ('simclr_resnet18-w16_1xb128-coslr-5e_shapes', None), ('knn_folder', None)])
def test_a_config_for_gpus_has_one_for_cpus_beside_it(name, better):
    path = for_cpus(shipped_configs()[name])
    assert (path and path.stem) == better
    assert path is None or 'CPU' in hardware_of(path)


def test_every_leaf_of_pre_training_says_what_it_runs_on():
    leaves = [path for path in shipped_configs().values() if path.parent.name == 'simclr']
    assert len(leaves) > 10
    assert all('CPU' in hardware_of(path) or 'GPU' in hardware_of(path) for path in leaves)


def test_the_hardware_is_the_whole_paragraph_of_the_header():
    text = hardware_of(shipped_configs()['simclr_resnet50_1xb256-coslr-200e_folder'])
    assert text.startswith('meant for one large GPU;') and text.endswith('online k-NN.')
