"""Arguments of every command, and what the tools and the command share."""

import ast
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mmsimclr.cli import main
from mmsimclr.cli.benchmark import benchmark
from mmsimclr.cli.embed import embed
from mmsimclr.cli.options import command_line
from mmsimclr.cli.train import train

FOLDER = Path(__file__).parents[3] / 'tools'
TOOLS = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob('*.py'))


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    """Yield the names of a command and of all below it."""
    yield names
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), *names, name)


@pytest.mark.parametrize('names', list(commands(main)), ids=' '.join)
def test_every_command_explains_itself(names):
    done = CliRunner().invoke(main, [*names, '--help'])
    assert done.exit_code == 0 and done.output.startswith('Usage: '), done.output


@pytest.mark.parametrize('tool', TOOLS)
def test_every_tool_is_a_call_of_a_command(tool):
    path = FOLDER / tool
    assert ast.get_docstring(ast.parse(path.read_text()))
    if not tool.startswith('make_'):
        assert len(path.read_text().splitlines()) < 8
        assert any(isinstance(value, click.Command) for value in runpy.run_path(str(path)).values())


def test_help_of_mmsimclr_imports_nothing_heavy():
    code = ("import sys; from mmsimclr.cli import main; main(['--help'], standalone_mode=False); "
            "assert not {'torch', 'mmengine', 'numpy'} & set(sys.modules)")
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and 'quickstart' in done.stdout, done.stderr


def arguments(command: click.Command, text: str) -> dict:
    return command.make_context('x', text.split()).params


def test_config_options_may_stand_anywhere(tmp_path, monkeypatch):
    for text in ('C --cfg-options a.b=1 c=[1,2] --amp bf16', 'C a.b=1 --amp bf16 c=[1,2]',
                 'a.b=1 C --amp bf16 --cfg-options c=[1,2]'):
        given = arguments(train, text)
        assert (given['config'], given['amp'], given['cfg_options']) == ('C', 'bf16', {'a.b': 1, 'c': [1, 2]})
    given = arguments(benchmark, 'C x=1 K --select y=2')
    assert (given['checkpoint'], given['select'], given['cfg_options']) == ('K', 'y=2', {'x': 1})
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'lr=1').touch()                                              # a file is a file
    assert arguments(benchmark, 'C lr=1')['checkpoint'] == 'lr=1'


@pytest.mark.parametrize('text, resume, options', [
    ('C', None, {}), ('C --resume', 'auto', {}), ('C --resume x.pth', 'x.pth', {}),
    ('C --resume a=1', 'auto', {'a': 1}), ('--resume --amp bf16 C', 'auto', {})])
def test_resume_has_a_value_or_none(text, resume, options):
    given = arguments(train, text)
    assert (given['resume'], given['cfg_options']) == (resume, options)


def test_an_option_with_several_values_takes_all_up_to_the_next():
    given = arguments(embed, 'S C --stages pooled layer2 --out o')
    assert (given['source'], given['checkpoint'], given['stages']) == ('S', 'C', ('pooled', 'layer2'))


@pytest.mark.parametrize('text, said', [
    ('train C --cfg-options foo', 'KEY=VALUE'), ('train C --wrok-dir x', '--wrok-dir'),
    ('trian C', "'train'"), ('train', 'CONFIG'), ('benchmark C', 'random'),
    ('benchmark C K --init random', 'CHECKPOINT'), ('convert A B --to tmm', "'timm'"),
    ('summarize A --out x.txt', '.html')])
def test_a_command_that_is_wrong_is_refused_with_status_2(text, said):
    done = CliRunner().invoke(main, text.split())
    assert done.exit_code == 2 and said in done.output


@pytest.mark.parametrize('started, command', [
    (['/opt/bin/mmsimclr', 'train', 'a b'], "mmsimclr train 'a b'"),
    (['tools/train.py', 'a b'], "python tools/train.py 'a b'")])
def test_the_command_of_a_result_can_be_typed_again(started, command, monkeypatch):
    monkeypatch.setattr(sys, 'argv', started)
    monkeypatch.delenv('MMSIMCLR_COMMAND', raising=False)
    assert command_line() == command


def test_without_a_gpu_the_config_for_cpus_is_named_with_its_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    words = ['train', 'simclr_resnet50_1xb256-coslr-200e_folder', 'data_root=nowhere']
    said = CliRunner().invoke(main, words).output
    assert 'no GPU here' in said and 'mmsimclr train simclr_resnet18-w32_1xb128-coslr-120e_folder\n' in said
    assert '68.5 minutes' in said
    words[1] = 'simclr_resnet18-w32_1xb128-coslr-120e_folder'
    assert 'no GPU' not in CliRunner().invoke(main, words).output


def test_a_module_of_the_user_s_own_that_is_not_there_is_named():
    done = CliRunner().invoke(main, ['zoo', 'list'], env=dict(MMSIMCLR_IMPORTS='nothing.there'))
    assert done.exit_code == 1 and "MMSIMCLR_IMPORTS=nothing.there" in done.output
    assert 'PYTHONPATH' in done.output and 'Traceback' not in done.output
