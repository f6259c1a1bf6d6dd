"""Names, dumped configs and a run of version 0.1."""

import json
import re
import shutil
import subprocess
import sys
import warnings
from importlib import import_module

import pytest
import torch
from processes import run_tool

from mmsimclr.checkpoints import build_encoder
from mmsimclr.config import load_config
from mmsimclr.moved import MOVED, PLACES, RENAMED


def resolves(module: str, name: str) -> bool:
    try:
        getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.fixture(scope='module')
def public_names(root) -> list[str]:
    by_module = json.loads((root / 'tests/data/public_names_0.1.json').read_text())
    return [f'{module}:{name}' for module, names in by_module.items() for name in names.split()]


@pytest.fixture(scope='module')
def gone(root) -> set[str]:
    """Return the names of 0.1 that are no more; the file says why."""
    lines = (root / 'tests/data/names_gone_since_0.1.txt').read_text().splitlines()
    return {line for line in lines if line and not line.startswith('#')}


def test_every_public_name_of_0_1_resolves_or_is_known_to_be_gone(public_names, gone):
    missing = [name for name in public_names if name not in gone and not resolves(*name.split(':'))]
    assert not missing, '\n'.join(['add to mmsimclr/moved.py or names_gone_since_0.1.txt:', *missing])


def test_only_internals_are_gone_and_what_the_changelog_names(public_names, gone, root):
    changelog = (root / 'CHANGELOG.md').read_text()
    assert gone <= set(public_names)
    modules = {name.partition(':')[0] for name in public_names}
    packages = {module.rpartition('.')[0] for module in modules}
    assert not [name for name in gone if name.partition(':')[0] in packages
                and f'`{name.replace(":", ".")}`' not in changelog]


def test_the_table_names_modules_that_are_there(public_names):
    modules = {name.partition(':')[0].removeprefix('mmsimclr.') for name in public_names}
    packages = {module.rpartition('.')[0] for module in modules}
    assert set(PLACES) <= modules | packages
    for new in MOVED:
        import_module(f'mmsimclr.{new}')
    for new in RENAMED.values():
        module, name = new.split(':')
        assert name in vars(import_module(f'mmsimclr.{module}')), new


@pytest.mark.parametrize('old, new', [
    ('mmsimclr.engine.log_processor:PretrainLogProcessor', 'mmsimclr.runner:PretrainLogProcessor'),
    ('mmsimclr.config:build_runner', 'mmsimclr.runner:build_runner'),
    ('mmsimclr.config.fitting:check_widths', 'mmsimclr.runner.runner:check_widths')],
    ids=['a module that is gone', 'a package that lost it', 'a module that became two'])
def test_an_old_name_is_the_new_one_and_says_where_it_is(old, new):
    (old_module, name), (new_module, new_name) = old.split(':'), new.split(':')
    with pytest.warns(DeprecationWarning, match=rf'{old_module}\.{name} is now mmsimclr\.runner'):
        found = getattr(import_module(old_module), name)
    assert found is getattr(import_module(new_module), new_name)


@pytest.mark.parametrize('module', ['mmsimclr.engine.log_processor', 'mmsimclr.config'])
def test_an_unknown_name_is_an_attribute_error(module):
    assert not hasattr(import_module(module), 'nonsense')
    with pytest.raises(ModuleNotFoundError):
        import_module(f'{module}.nonsense')


def test_what_is_in_its_place_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert import_module('mmsimclr.config').load_config is load_config
        __import__('mmsimclr.engine', fromlist=['hooks'])


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, mmsimclr; print({'torch', 'mmengine', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == 'set()', done.stderr


def test_every_type_in_a_config_dumped_by_0_1_resolves(root):
    dumps = list((root / 'tests/data/dumps_0.1').rglob('*.py'))
    types = {name for dump in dumps for name in re.findall(r"='?(mmsimclr\.\w+\.[\w.]+)", dump.read_text())}
    assert len(types) > 25
    assert not [name for name in types if not resolves(*name.rsplit('.', 1))]


@pytest.mark.slow
@pytest.mark.parametrize('dump, package', [('fcn', 'mmseg'), ('mask_rcnn', 'mmdet')])
def test_a_downstream_config_dumped_by_0_1_is_read(dump, package, root):
    pytest.importorskip(package)
    assert load_config(root / f'tests/data/dumps_0.1/{dump}.py').default_scope == package


@pytest.mark.slow
def test_a_run_of_0_1_loads_and_resumes(root, tmp_path):
    run = shutil.copytree(root / 'tests/data/dumps_0.1/run', tmp_path / 'run')
    encoder, _ = build_encoder(run / 'epoch_1.pth')
    weights = torch.load(run / 'epoch_1.pth', weights_only=False)['state_dict']
    assert torch.equal(encoder.state_dict()['conv1.weight'], weights['backbone.conv1.weight'])
    config, = run.glob('*.py')
    status, log = run_tool(tmp_path / 'log', 'train.py', config, '--work-dir', run, '--resume',
                           'train_cfg.max_epochs=2')
    assert status == 0, log
    assert 'epoch 1/2' not in log and 'epoch 2/2' in log
    resumed = torch.load(run / 'epoch_2.pth', weights_only=False)
    assert (resumed['meta']['epoch'], resumed['meta']['iter']) == (2, 8)
    assert not torch.equal(resumed['state_dict']['backbone.conv1.weight'], weights['backbone.conv1.weight'])
