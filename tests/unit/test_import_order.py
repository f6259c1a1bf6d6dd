"""Imports run one way: the layers in pyproject.toml hold, and would notice if they did not."""

import shutil

import pytest
from importlinter.cli import lint_imports

BREACHES = {
    'none': ('', None),
    'a sibling': ('models/heads/contrastive_head.py', 'from lintee.engine import LARS'),
    'a higher layer': ('registry.py', 'import lintee.config'),
    'a module in no layer': ('helpers.py', ''),
}


def test_every_import_runs_from_high_to_low(root):
    assert lint_imports(str(root / 'pyproject.toml'), no_cache=True) == 0


@pytest.mark.parametrize('breach', BREACHES)
def test_a_breach_is_noticed(breach, root, tmp_path, monkeypatch):
    path, line = BREACHES[breach]
    package = tmp_path / 'lintee'
    shutil.copytree(root / 'mmsimclr', package, ignore=shutil.ignore_patterns('__pycache__'))
    for file in package.rglob('*.py'):
        file.write_text(file.read_text().replace('mmsimclr', 'lintee'))
    if line is not None:
        with (package / path).open('a') as file:
            file.write(f'\n{line}\n')
    config = tmp_path / 'pyproject.toml'
    config.write_text((root / 'pyproject.toml').read_text().replace('mmsimclr', 'lintee'))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert lint_imports(str(config), no_cache=True) == (line is not None)
