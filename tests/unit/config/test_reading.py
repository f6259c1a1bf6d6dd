"""Whatever is wrong in a config or its bases is a ConfigError that names file, line and what it says."""

import re

import pytest

from mmsimclr.config import ConfigError, load_config

LAZY = 'from mmengine.config import read_base\n\nwith read_base():\n    from .base import *\n'
BASE = "model = dict(type='SimCLR')\n"
LEAF, OWN_BASE = 'leaf.py', 'base.py'
TEXT = "_base_ = ['base.py']\n"
FUNCTION = 'def double(x):\n    return 2 * x.lr\n\n\nlr = double(1)\n'
# What the two files hold, which of them is wrong, in which line, and what is said.
WRONG = {
    'a call in a base': (LAZY, f'{BASE}neck = dict(1, 2)\n', OWN_BASE, 2,
                         r"in 'neck = dict\(1, 2\)': TypeError: dict expected at most 1 argument, got 2"),
    'arithmetic in a base': (LAZY, f"{BASE}\nlr = 0.3 * '256' / 256\n", OWN_BASE, 3, 'TypeError: '),
    'a name of a base that is not there': (
        LAZY.replace('*', 'modle'), BASE, LEAF, 4,
        r"the base config \.base has no 'modle'; did you mean 'model'\?"),
    'an attribute that is not there': (f'{LAZY}\nmodel.backbnoe.update(depth=50)\n', BASE, LEAF, 6,
                                       r"in 'model\.backbnoe.*AttributeError: .*'backbnoe'"),
    'a key that is not there': (f"{LAZY}depth = model['neck']\n", BASE, LEAF, 5, "KeyError: 'neck'"),
    'a variable that is not there': (f'{LAZY}lr = batch / 256\n', BASE, LEAF, 5,
                                     "NameError: name 'batch' is not defined"),
    'a base that is not there': (LAZY.replace('.base', '.bsae'), BASE, LEAF, 4,
                                 r"there is no base config /.*/bsae\.py; did you mean 'base\.py'\?"),
    'a folder that is not there': (LAZY.replace('.base', '.bases.base'), BASE, LEAF, 4,
                                   r'there is no base config /.*/bases/base\.py$'),
    'the syntax of the file': (f'{LAZY}model = dict(\n', BASE, LEAF, 5, r"SyntaxError: '\(' was never"),
    'the syntax of a base': (LAZY, f'{BASE}\nlr = = 1\n', OWN_BASE, 3, 'SyntaxError: invalid syntax'),
    'a statement outside a function': (LAZY, f'{BASE}return\n', OWN_BASE, 2, 'SyntaxError: '),
    'a call of what is imported': (LAZY, f'from mmsimclr.engine import scaled_lr\n{BASE}lr = scaled_lr(1)\n',
                                   OWN_BASE, 3, 'can be named in a config, but not called'),
    'a star of a package': (LAZY, f'from mmsimclr.engine import *\n{BASE}', OWN_BASE, 1, r'from xxx import'),
    'a file that is not there': (f"{LAZY}with open('x') as file:\n    pass\n", BASE, LEAF, 5, 'FileNotFound'),
    'a word that MMEngine keeps': (f"{LAZY}filename = 'x'\n", BASE, LEAF, None, 'filename is reserved'),
    'a function of the file': (LAZY + FUNCTION, BASE, LEAF, 6, "'int' object has no attribute 'lr'"),
    'a call in a text base': (TEXT, f'{BASE}neck = dict(1, 2)\n', OWN_BASE, 2, 'TypeError: '),
    'a text base that is not there': (f"{BASE}\n{TEXT.replace('base.', 'bsae.')}", BASE, LEAF, 3,
                                      r"there is no base config /.*/bsae\.py; did you mean 'base\.py'\?"),
    'the syntax of a text base': (TEXT, f'{BASE}lr = = 1\n', OWN_BASE, 2, 'SyntaxError: invalid syntax'),
}


def refusal(folder, leaf: str, base: str) -> str:
    (folder / 'base.py').write_text(base)
    (folder / 'leaf.py').write_text(leaf)
    with pytest.raises(ConfigError) as error:
        load_config(folder / 'leaf.py')
    return str(error.value)


@pytest.mark.parametrize('case', WRONG)
def test_file_and_line_and_what_is_wrong_are_named(case, tmp_path):
    leaf, base, file, line, said = WRONG[case]
    message = refusal(tmp_path, leaf, base)
    assert message.startswith(f'{tmp_path}/{file}' + (f', line {line}' if line else '') + (
        ', in ' if line else ': ')), message
    assert re.search(said, message), message
    assert '\n' not in message


def test_a_base_of_a_base_in_another_folder_is_named_by_its_own_path(tmp_path):
    (tmp_path / '_base_').mkdir()
    (tmp_path / '_base_' / 'deep.py').write_text(f'{BASE}lr = 1 / 0\n')
    message = refusal(tmp_path, LAZY, LAZY.replace('.base', '._base_.deep'))
    assert message == (f"{tmp_path}/_base_/deep.py, line 2, in 'lr = 1 / 0': "
                       'ZeroDivisionError: division by zero')


def test_files_that_read_each_other_are_no_endless_matter(tmp_path):
    message = refusal(tmp_path, LAZY, LAZY.replace('.base', '.leaf'))
    assert 'RecursionError' in message and 'do its bases read one another?' in message


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / 'base.py').write_bytes(b'model = "\xff"\n')
    (tmp_path / 'leaf.py').write_text(LAZY)
    with pytest.raises(ConfigError, match=rf'{tmp_path}/base\.py: UnicodeDecodeError'):
        load_config(tmp_path / 'leaf.py')


@pytest.mark.parametrize('module, content, said', [
    ('raises', "raise TypeError('of the module')\n", 'of the module'),
    ('lacks_it', 'x = 1\n', 'Failed to import Neck from lacks_it')])
def test_a_module_of_ones_own_that_cannot_be_imported_is_named_with_the_line_that_wants_it(
        module, content, said, tmp_path, monkeypatch):
    (tmp_path / f'{module}.py').write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    message = refusal(tmp_path, f'{LAZY}from {module} import Neck\nmodel.neck = dict(type=Neck)\n', BASE)
    assert message.startswith(f'{tmp_path}/leaf.py cannot be read: ') and said in message
    assert f'{tmp_path}/leaf.py, line 5' in message
