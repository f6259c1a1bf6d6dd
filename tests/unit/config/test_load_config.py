"""Config files of both dialects, options of the command line, and errors with file and line."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config, DictAction
from tiny_run import tiny_config

from mmsimclr.config import ConfigError, load_config, parse_options, parse_value
from mmsimclr.errors import InputError
from mmsimclr.studies import load_study

LAZY = '''
from mmengine.config import read_base
from mmsimclr.engine import LARS
from mmsimclr.models import NTXentLoss

with read_base():
    from .lazy_base import *

global_batch = 512
model.head.update(temperature=0.2)
optim_wrapper.optimizer.update(lr=0.3 * global_batch / 256)
train_cfg.update(max_epochs=max_epochs)
'''
LAZY_BASE = '''
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop
from mmsimclr.engine import LARS
from mmsimclr.models import ContrastiveHead, NonLinearNeck, NTXentLoss, ResNet, SimCLR

max_epochs = 3
neck = dict(type=NonLinearNeck, in_channels=32, hid_channels=16, out_channels=8)
model = dict(
    type=SimCLR, backbone=dict(type=ResNet, depth=18, base_channels=4), neck=neck,
    head=dict(type=ContrastiveHead, loss=dict(type=NTXentLoss), temperature=0.1))
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=LARS, lr=0.3))
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=1)
'''
TEXT = '''
_base_ = ['text_base.py']
model = dict(head=dict(temperature=0.2))
train_cfg = dict(max_epochs=3)
'''


@pytest.fixture
def lazy(tmp_path) -> Path:
    (tmp_path / 'lazy_base.py').write_text(LAZY_BASE)
    (tmp_path / 'lazy_leaf.py').write_text(LAZY)
    return tmp_path / 'lazy_leaf.py'


@pytest.fixture
def text(tmp_path) -> Path:
    base = tiny_config(tmp_path)
    base.pop('work_dir')
    base.pop('default_scope')
    base.dump(tmp_path / 'text_base.py')
    (tmp_path / 'text_leaf.py').write_text(TEXT)
    return tmp_path / 'text_leaf.py'


@pytest.mark.parametrize('dialect', ['lazy', 'text'])
def test_both_dialects_load_with_what_they_inherit_and_override(dialect, request):
    config = load_config(request.getfixturevalue(dialect))
    assert (config.model.head.temperature, config.train_cfg.max_epochs) == (0.2, 3)
    assert config.model.neck.out_channels == 8
    assert (config.default_scope, config.launcher) == ('mmsimclr', 'none')


@pytest.mark.parametrize('dialect', ['lazy', 'text'])
def test_options_override_values_by_dotted_keys(dialect, request):
    config = load_config(request.getfixturevalue(dialect), {
        'train_cfg.max_epochs': 7, 'model.head.loss.normalize': False, 'model.head.loss.type': 'NTXentLoss'})
    assert config.train_cfg.max_epochs == 7
    assert config.model.head.loss.normalize is False
    assert config.model.head.temperature == 0.2


def test_work_dir_is_the_given_one_or_the_configs_or_named_after_the_config(text):
    assert load_config(text).work_dir == str(Path('work_dirs') / 'text_leaf')
    assert load_config(text, {'work_dir': 'elsewhere'}).work_dir == 'elsewhere'
    assert load_config(text, {'work_dir': 'elsewhere'}, Path('here')).work_dir == 'here'


@pytest.mark.parametrize('options, message', [
    ({'optim_wraper.x': 1}, "'optim_wraper' .*did you mean 'optim_wrapper'"),
    ({'optim_wrapper.optimizer.lrr': 1}, "'lrr' in optim_wrapper.optimizer; did you mean 'lr'"),
    ({'train_dataloader.dataset.pipeline.0.num_viws': 1}, "'num_viws' .*'num_views'"),
    ({'model.backbone.type': 'ResNett'}, "'ResNett'.*did you mean 'ResNet'"),
    ({'model.backbone.depth.0': 1}, 'model.backbone.depth.0'),
    ({'param_scheduler.7.warmup': 1}, 'param_scheduler.7.warmup'),
    ({'param_scheduler.first.warmup': 1}, 'param_scheduler.first.warmup'),
    ({'data_root': '/mnt'}, "no variable 'data_root'")])
def test_an_option_that_goes_nowhere_is_refused(text, options, message):
    with pytest.raises(ConfigError, match=message):
        load_config(text, options)


def test_an_option_that_overrides_a_variable_of_a_base_is_refused(lazy):
    with pytest.raises(ConfigError, match=r"'max_epochs' is a variable .*train_cfg\.max_epochs"):
        load_config(lazy, {'max_epochs': 9})
    with pytest.raises(ConfigError, match=r'model\.neck'):
        load_config(lazy, {'neck.num_layers': 3})


def test_a_variable_of_the_file_changes_what_is_computed_from_it(lazy, text):
    before = sorted(path.name for path in lazy.parent.iterdir())
    config = load_config(lazy, {'global_batch': 128, 'model.head.temperature': 0.4})
    assert config.optim_wrapper.optimizer.lr == 0.3 * 128 / 256 and config.model.head.temperature == 0.4
    assert config.filename == str(lazy) and sorted(path.name for path in lazy.parent.iterdir()) == before
    assert load_config(lazy).optim_wrapper.optimizer.lr == 0.6
    changed = TEXT.replace('train_cfg =', 'epochs = 3\ntrain_cfg =').replace('=3)', '=2 * epochs)')
    text.write_text(changed)
    assert load_config(text, {'epochs': 5}).train_cfg.max_epochs == 10
    with pytest.raises(ConfigError, match=r'lazy_leaf\.py.*global_batch=None'):
        load_config(lazy, {'global_batch': None})


LEAVES = sorted((Path(__file__).parents[3] / 'configs/simclr').glob('*.py'))


@pytest.mark.parametrize('leaf', LEAVES, ids=lambda path: path.stem)
def test_epochs_batch_size_and_learning_rate_of_each_leaf_have_short_names(leaf):
    config = load_config(leaf, {'epochs': 3, 'batch_size': 16, 'lr': 0.125})
    assert config.train_cfg.max_epochs == 3 and config.train_dataloader.batch_size == 16
    assert config.optim_wrapper.optimizer.lr == 0.125
    half, whole = (load_config(leaf, {'batch_size': size}) for size in (16, 32))
    assert whole.auto_scale_lr.base_batch_size == 2 * half.auto_scale_lr.base_batch_size


def test_an_unknown_key_in_the_file_is_refused_in_either_dialect(lazy, text):
    lazy.write_text(LAZY + '\nmodel.head.update(temprature=0.1)\n')
    text.write_text(TEXT + '\nmodle = dict(head=dict(temperature=0.1))\n')
    with pytest.raises(ConfigError, match=r"'temprature' in model\.head; did you mean 'temperature'"):
        load_config(lazy)
    with pytest.raises(ConfigError, match=r"'modle' at the top level.*did you mean 'model'"):
        load_config(text)


def test_a_missing_file_is_refused_with_the_nearest_one(text):
    with pytest.raises(FileNotFoundError, match=r'did you mean .*text_leaf\.py'):
        load_config(text.with_name('text_laef.py'))


def test_a_loaded_config_can_be_dumped_and_loaded_again(lazy, tmp_path):
    load_config(lazy).dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').model.head.temperature == 0.2
    assert load_config(tmp_path / 'dumped.py').optim_wrapper.optimizer.lr == 0.6


def test_data_root_moves_every_path_of_the_data_and_nothing_else(tmp_path):
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(
        "data_root = 'data/voc'\n"
        "sampler = dict(type='DefaultSampler', shuffle=False)\n"
        "train_dataloader = dict(batch_size=1, sampler=sampler, dataset=dict("
        "type='mmsimclr.UnlabeledImageFolder', data_root=data_root))\n"
        "test_dataloader = dict(batch_size=1, sampler=sampler, dataset=dict(type='ConcatDataset', datasets=["
        "dict(type='mmsimclr.UnlabeledImageFolder', data_root='data/voc/sub'), "
        "dict(type='mmsimclr.UnlabeledImageFolder', data_root='data/voc2')]))\n")
    moved = load_config(leaf, {'data_root': '/mnt/images/', 'train_dataloader.batch_size': 2})
    assert moved.train_dataloader.dataset.data_root == '/mnt/images'
    parts = moved.test_dataloader.dataset.datasets
    assert [part.data_root for part in parts] == ['/mnt/images/sub', 'data/voc2']
    assert moved.train_dataloader.batch_size == 2
    for root in ('', 3):
        with pytest.raises(ConfigError, match='data_root must be'):
            load_config(leaf, {'data_root': root})


def test_an_option_may_complete_what_the_file_leaves_open(text):
    text.write_text(TEXT.replace('temperature=0.2)', "temperature=0.2), neck=dict(_delete_=True, "
                                 "hid_channels=16, out_channels=8)"))
    with pytest.raises(ConfigError, match=r'model\.neck lacks type'):
        load_config(text)
    assert load_config(text, {'model.neck.type': 'NonLinearNeck'}).model.neck.hid_channels == 16


@pytest.mark.parametrize('scope', ['default_scope = None', ''])
def test_without_a_scope_the_scope_is_ours(text, scope):
    text.write_text(f'{TEXT}{scope}\n')
    assert load_config(text).default_scope == 'mmsimclr'


@pytest.mark.parametrize('value', [
    '3', '-3', '1e-3', '0.5', 'true', 'False', 'None', 'text', 'a/b.py', '1,2,3', '[1,2,3]', '(1,2)', '(1,)',
    '[]', '[a, b, c]', '[(1, 2, 3), [a, b], c]', '[[1,2],[3,4]]', '(1,2),(3,4)', '"quoted"', "'quoted'",
    'a,', '', 'none', 'TRUE', '[true,None,0.1]'])
def test_values_of_options_are_those_of_mmengine(value):
    want = [(1, 2), (3, 4)] if value == '(1,2),(3,4)' else DictAction._parse_iterable(value)
    got = parse_value(value)
    assert got == want and type(got) is type(want)


@pytest.mark.parametrize('value, want', [
    ('/data/my images', '/data/my images'), ("COCO with VOC's classes", "COCO with VOC's classes"),
    ("'/data/a, b'", '/data/a, b'), ('["a b", c d]', ['a b', 'c d']), ("['x, y', z]", ['x, y', 'z']),
    ('"3"', '3'), ('a(b)c', 'a(b)c'), ('  3 ', 3), ("it's, isn't", ["it's", "isn't"])])
def test_spaces_and_quoted_commas_are_left(value, want):
    assert parse_value(value) == want


@pytest.mark.parametrize('option, message', [
    ('train_cfg', "KEY=VALUE, got 'train_cfg'"), ('=3', 'KEY=VALUE'), ('a=[1,2', r'a: \] is missing'),
    ('a=(1,[2,3)', 'a: .* is missing')])
def test_options_that_cannot_be_read_are_refused(option, message):
    with pytest.raises(InputError, match=message):
        parse_options([option])


def test_options_split_at_the_first_equals_sign_and_the_last_of_a_key_counts():
    assert parse_options(['a.b=1', 'c=x=y', 'a.b=2']) == {'a.b': 2, 'c': 'x=y'}


READS_BASE = 'from mmengine.config import read_base\n\nwith read_base():\n    from .base import *\n'
BASE = "model = dict(type='SimCLR')\n"
FUNCTION = 'def double(x):\n    return 2 * x.lr\n\n\nlr = double(1)\n'
READS_TEXT_BASE = "_base_ = ['base.py']\n"
# The content of leaf.py and base.py, which of them is wrong, in which line, and a part of the message.
WRONG = {
    'a call in a base': (READS_BASE, f'{BASE}neck = dict(1, 2)\n', 'base.py', 2,
                         r"in 'neck = dict\(1, 2\)': TypeError: "),
    'arithmetic in a base': (READS_BASE, f"{BASE}\nlr = 0.3 * '256' / 256\n", 'base.py', 3, 'TypeError: '),
    'a name of a base that is not there': (
        READS_BASE.replace('*', 'modle'), BASE, 'leaf.py', 4, r"'modle'; did you mean 'model'\?"),
    'an attribute that is not there': (f'{READS_BASE}\nmodel.backbnoe.update(depth=50)\n', BASE, 'leaf.py', 6,
                                       "'backbnoe'"),
    'a variable that is not there': (f'{READS_BASE}lr = batch / 256\n', BASE, 'leaf.py', 5, "'batch'"),
    'a base that is not there': (READS_BASE.replace('.base', '.bsae'), BASE, 'leaf.py', 4,
                                 r"bsae\.py; did you mean 'base\.py'\?"),
    'a folder that is not there': (READS_BASE.replace('.base', '.bases.base'), BASE, 'leaf.py', 4,
                                   r'/bases/base\.py$'),
    'the syntax of the file': (f'{READS_BASE}model = dict(\n', BASE, 'leaf.py', 5, 'SyntaxError'),
    'the syntax of a base': (READS_BASE, f'{BASE}\nlr = = 1\n', 'base.py', 3, 'SyntaxError'),
    'a statement outside a function': (READS_BASE, f'{BASE}return\n', 'base.py', 2, 'SyntaxError: '),
    'a call of what is imported': (
        READS_BASE, f'from mmsimclr.engine import scaled_lr\n{BASE}lr = scaled_lr(1)\n', 'base.py', 3,
        'not called'),
    'a star of a package': (READS_BASE, f'from mmsimclr.engine import *\n{BASE}', 'base.py', None, 'import'),
    'a word that MMEngine keeps': (f"{READS_BASE}filename = 'x'\n", BASE, 'leaf.py', None, 'filename'),
    'a function of the file': (READS_BASE + FUNCTION, BASE, 'leaf.py', 6, "no attribute 'lr'"),
    'a base of itself': (READS_BASE, READS_BASE.replace('.base', '.leaf'), 'base.py', 4, 'itself'),
    'a call in a text base': (READS_TEXT_BASE, f'{BASE}neck = dict(1, 2)\n', 'base.py', 2, 'TypeError: '),
    'a text base that is not there': (f"{BASE}\n_base_ = ['bsae.py']\n", BASE, 'leaf.py', 3,
                                      r"bsae\.py; did you mean 'base\.py'\?"),
    'a number for a text base': ("_base_ = ['base.py', 3]\n", BASE, 'leaf.py', 1, 'written out'),
    'a text base that is looked up': ("_base_ = {'key': 'base.py'}['key']\n", BASE, 'leaf.py', 1,
                                      'written out'),
    'the syntax of a text base': (READS_TEXT_BASE, f'{BASE}lr = = 1\n', 'base.py', 2, 'SyntaxError'),
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
    assert message.startswith(f'{tmp_path}/{file}' + (f', line {line}, in ' if line else ': ')), message
    assert re.search(said, message), message
    assert '\n' not in message


def test_a_base_of_a_base_in_another_folder_is_named_by_its_own_path(tmp_path):
    (tmp_path / '_base_').mkdir()
    (tmp_path / '_base_' / 'deep.py').write_text(f'{BASE}lr = 1 / 0\n')
    message = refusal(tmp_path, READS_BASE, READS_BASE.replace('.base', '._base_.deep'))
    assert message.startswith(f"{tmp_path}/_base_/deep.py, line 2, in 'lr = 1 / 0': ZeroDivisionError")


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / 'base.py').write_bytes(b'model = "\xff"\n')
    (tmp_path / 'leaf.py').write_text(READS_BASE)
    with pytest.raises(ConfigError, match=rf'{tmp_path}/base\.py: UnicodeDecodeError'):
        load_config(tmp_path / 'leaf.py')


@pytest.mark.parametrize('module, content, said', [
    ('raises', "raise TypeError('of the module')\n", 'of the module'),
    ('lacks_it', 'x = 1\n', 'Failed to import Neck from lacks_it')])
def test_an_own_module_that_cannot_be_imported_is_named_with_the_line_that_wants_it(
        module, content, said, tmp_path, monkeypatch):
    (tmp_path / f'{module}.py').write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    leaf = f'{READS_BASE}from {module} import Neck\nmodel.neck = dict(type=Neck)\n'
    message = refusal(tmp_path, leaf, BASE)
    assert f'{tmp_path}/leaf.py, line 5' in message and said in message


def test_a_config_whose_data_were_moved_is_dumped_as_readable_python(root, tmp_path):
    leaf = root / 'configs/benchmarks/classification/linear_1xb64-coslr-40e_folder.py'
    load_config(leaf, {'data_root': '/mnt/photos'}).dump(tmp_path / 'dumped.py')
    again = load_config(tmp_path / 'dumped.py')
    assert again.train_dataloader.dataset.data_root == '/mnt/photos'
    assert again.train_dataloader.collate_fn.type.rpartition('.')[2] == 'default_collate'


YAML = '!!python/object/apply:os.system ["touch {proof}"]\n'


@pytest.mark.parametrize('read', [load_config, load_study])
@pytest.mark.parametrize('name', ['hostile.yml', 'hostile.yaml', 'hostile.json', 'hostile'])
@pytest.mark.parametrize('through_base', [None, "_base_ = '{}'", "_base_ = ['base.py', './{}']",
                                          "_base_ = './' + '{}'", "_base_ = 'mmpretrain::{}'"])
def test_a_format_that_is_no_python_is_refused_and_not_run(tmp_path, name, through_base, read):
    proof = tmp_path / 'proof'
    (tmp_path / name).write_text(YAML.format(proof=proof))
    (tmp_path / 'base.py').write_text('')
    leaf = tmp_path / name
    if through_base is not None:
        (tmp_path / 'middle.py').write_text(through_base.format(name))
        leaf = tmp_path / 'leaf.py'
        leaf.write_text("_base_ = 'middle.py'")
    with pytest.raises(ConfigError, match=r'must be Python \(\.py\)'):
        read(leaf)
    assert not proof.exists()


@pytest.mark.parametrize('source', ["seed = {{$SEED:0}}", "x = '{{$SEED:0}}'", 'x = {{"$SEED:0"}}',
                                    "# {{ $SEED:0 }}", "x = {{\n'$SEED:0'}}"])
@pytest.mark.parametrize('in_base', [False, True])
@pytest.mark.parametrize('read', [load_config, load_study])
def test_environment_variables_are_not_pasted_into_source(tmp_path, monkeypatch, source, in_base, read):
    monkeypatch.setenv('SEED', f"\nopen({str(tmp_path / 'proof')!r}, 'w')")
    leaf = tmp_path / 'leaf.py'
    leaf.write_text("_base_ = 'base.py'" if in_base else source)
    (tmp_path / 'base.py').write_text(source)
    with pytest.raises(ConfigError, match=r'line 1, .*environment variable'):
        read(leaf)
    assert not (tmp_path / 'proof').exists()


@pytest.mark.parametrize('read', [load_config, load_study])
def test_a_folder_whose_name_is_source_is_not_pasted(tmp_path, read):
    folder = tmp_path / "x' + open('proof', 'w').name + '"
    folder.mkdir()
    (folder / 'leaf.py').write_text("work_dir = '{{ fileDirname }}'")
    with pytest.raises(ConfigError, match='has quotes'):
        read(folder / 'leaf.py')
