"""The wheel, installed into an empty environment: configs by name, from any folder, without a checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import ROOT

FOLDERS = ('mmsimclr', 'configs', 'tools')
FILES = ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE', 'MANIFEST.in', 'model-index.yml')
FOLDER_CONFIG = 'simclr_resnet18-w32_1xb128-coslr-120e_folder'
TINY = ['epochs=1', 'batch_size=4', 'train_dataloader.num_workers=0', 'model.backbone.base_channels=4',
        'model.neck.in_channels=32', 'model.neck.hid_channels=16']


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('sources')
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__', '.mim'))
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    words = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-wdist', '.']
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=120)
    made, = (folder / 'dist').glob('*.whl')
    return made


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory) -> Path:
    """Return an environment that has the wheel, and sees the packages it stands on but no checkout."""
    folder = tmp_path_factory.mktemp('environment')
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(folder)], check=True, timeout=60)
    packages, = folder.glob('lib/python*/site-packages')
    # The .pth files of that folder, one of which may name a checkout, are not read.
    (packages / 'others.pth').write_text(sysconfig.get_path('purelib'))
    subprocess.run([sys.executable, '-m', 'pip', '--python', str(folder / 'bin' / 'python'), 'install', '-q',
                    '--no-deps', '--no-index', str(wheel)], check=True, capture_output=True, timeout=120)
    return folder


def call(installed: Path, *words: str, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    done = subprocess.run([str(installed / 'bin' / words[0]), *words[1:]], cwd=cwd, capture_output=True,
                          text=True, timeout=240, env=environment | {'CUDA_VISIBLE_DEVICES': ''})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_has_configs_index_and_the_mark_of_types(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {'mmsimclr/py.typed', 'mmsimclr/.mim/model-index.yml', 'mmsimclr/.mim/configs/_base_/runtime.py',
            f'mmsimclr/.mim/configs/simclr/{FOLDER_CONFIG}.py', 'mmsimclr/.mim/tools/dist_train.sh'} <= names
    assert not any('__pycache__' in name for name in names)


def test_a_config_by_name_trains_from_any_folder(installed, tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / 'photos').mkdir()
    for number in range(8):
        pixels = generator.integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'photos' / f'{number}.jpg')
    call(installed, 'mmsimclr', 'train', FOLDER_CONFIG, 'data_root=photos', *TINY, cwd=tmp_path)
    result = json.loads((tmp_path / 'work_dirs' / FOLDER_CONFIG / 'result.json').read_text())
    assert result['config'] == f'configs/simclr/{FOLDER_CONFIG}.py'
    assert result['num_images'] == {'train': 8} and result['settings']['iterations'] == 2


def test_configs_are_listed_shown_and_copied(installed, tmp_path):
    listed = call(installed, 'mmsimclr', 'configs', 'list', '*_folder', cwd=tmp_path)
    assert FOLDER_CONFIG in listed and 'knn_folder' in listed
    assert '_base_' not in listed and 'voc' not in listed
    shown = call(installed, 'mmsimclr', 'configs', 'show', FOLDER_CONFIG, cwd=tmp_path)
    assert shown == (ROOT / 'configs' / 'simclr' / f'{FOLDER_CONFIG}.py').read_text()
    words = 'python', '-m', 'mmsimclr', 'configs', 'copy', FOLDER_CONFIG, 'mine'
    copied = call(installed, *words, cwd=tmp_path)
    assert copied.strip() == f'mine/simclr/{FOLDER_CONFIG}.py'
    # It is read with the bases beside it: what is changed there counts.
    base = tmp_path / 'mine' / '_base_' / 'runtime.py'
    base.write_text(base.read_text().replace("log_level = 'INFO'", "log_level = 'ERROR'"))
    script = f"from mmsimclr.config import load_config; print(load_config({copied.strip()!r}).log_level)"
    assert call(installed, 'python', '-c', script, cwd=tmp_path) == 'ERROR\n'


def test_the_doctor_of_a_wheel_has_one_command_that_builds_the_ops(installed, tmp_path):
    script = ('import sys; sys.modules["mmcv.ops"] = None; from mmsimclr import doctor; '
              'print(doctor.examine()["detection"][2])')
    prepare, build = call(installed, 'python', '-c', script, cwd=tmp_path).strip().split(' && ')
    from pip._internal.commands import create_command
    for command in (prepare, build):
        tool, words = command.split(' install ')
        assert tool == f'{installed}/bin/python -m pip'                    # seen in the environment beside it
        options, named = create_command('install').parse_args(words.split())
    assert named == [f'onedl-mmcv=={metadata.version("onedl-mmcv")}']
    assert not options.build_isolation and options.ignore_dependencies and not options.cache_dir
    assert options.force_reinstall


def test_mmengine_finds_configs_of_the_package(installed, tmp_path):
    script = ('import mmsimclr; from mmengine.hub import get_config; '
              f"print(get_config('mmsimclr::simclr/{FOLDER_CONFIG}.py').epochs, "
              "get_config('mmsimclr::simclr/simclr_resnet50_8xb32-coslr-200e_in1k.py').train_cfg.max_epochs, "
              'mmsimclr.__file__)')
    folder, fourth, place = call(installed, 'python', '-c', script, cwd=tmp_path).split()
    assert (folder, fourth) == ('120', '200') and place.startswith(str(installed))
