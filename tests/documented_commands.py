"""The commands that documents tell their readers to type, and whether the project accepts them."""

import argparse
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r'^```(?:bash|sh|shell|console)[ ]*\n(.*?)^```', re.MULTILINE | re.DOTALL)
# What the scripts take before the arguments that they hand on to a tool.
LAUNCHERS = {
    'dist_run.sh': ('GPUS', 'TOOL'),
    'dist_train.sh': ('CONFIG', 'GPUS'),
    'dist_benchmark.sh': ('CONFIG', 'CHECKPOINT', 'GPUS'),
    'slurm_train.sh': ('PARTITION', 'JOB', 'CONFIG'),
    'slurm_benchmark.sh': ('PARTITION', 'JOB', 'CONFIG', 'CHECKPOINT'),
}
STARTS = ('make', 'python', 'bash', 'tools/')


class _Parsed(BaseException):
    """Carries the arguments out of a tool before it does anything."""


def fenced_commands(markdown: str) -> Iterator[list[str]]:
    """Yield the words of every command in the fenced shell blocks of a Markdown text."""
    for block in FENCE.findall(markdown):
        for line in block.replace('\\\n', ' ').splitlines():
            for part in re.split(r'&&|;', line.strip().removeprefix('$ ')):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r'[A-Z_]+=.*', words[0]):
                    words.pop(0)                             # variables of the environment
                if words and words[0].removeprefix('.venv/bin/').startswith(STARTS):
                    yield [words[0].removeprefix('.venv/bin/'), *words[1:]]


def check_command(words: list[str], monkeypatch) -> str:
    """Fail if the project would refuse a command; return what kind of command it is."""
    program, *args = words
    if program == 'make':
        targets = set(re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
        unknown = [arg for arg in args if '=' not in arg and arg not in targets]
        assert not unknown, f'the Makefile has no target {unknown}'
        return 'make'
    if program.startswith('python'):
        if args[0] == '-c':
            return 'python -c'
        if args[0] == '-m':
            return _check_module(args[1])
        script, args = args[0], args[1:]
    elif program == 'bash':
        script, args = args[0], args[1:]
    else:
        script = program
    path = ROOT / script
    assert path.is_file(), f'{script} does not exist'
    if path.suffix == '.sh':
        if path.name in LAUNCHERS:
            _check_launcher(path, args, monkeypatch)
        return path.name
    _check_tool(path, args, monkeypatch)
    return path.name


def _check_module(name: str) -> str:
    if name.startswith('mmsimclr'):
        assert (ROOT / name.replace('.', '/')).with_suffix('.py').is_file(), f'{name} does not exist'
    return name


def _check_launcher(path: Path, args: list[str], monkeypatch) -> None:
    """Check the number of GPUs, and the tool that the launcher starts with the arguments it hands on."""
    usage = LAUNCHERS[path.name]
    values = dict(zip(usage, args, strict=False))
    missing = usage[len(args):]
    assert not missing, f'{path.name} wants {" ".join(missing)} after {args}'
    gpus = values.get('GPUS', '1')
    assert gpus.isdecimal(), f'{path.name} {" ".join(usage)}: the number of GPUs is {gpus!r}'
    tool = values.get('TOOL', f'tools/{path.stem.split("_")[1]}.py')
    assert (ROOT / tool).is_file(), f'{tool} does not exist'
    named = [values[name] for name in ('CONFIG', 'CHECKPOINT') if name in values]
    _check_tool(ROOT / tool, [*named, *args[len(usage):], '--launcher', 'pytorch'], monkeypatch)


def _check_tool(path: Path, args: list[str], monkeypatch) -> None:
    """Let a tool's own parser judge the arguments, and the config check its ``--cfg-options``."""
    original = argparse.ArgumentParser.parse_args

    def parse(self, *args, **kwargs):
        raise _Parsed(original(self, *args, **kwargs))

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', parse)
        patch.setattr(sys, 'argv', [str(path), *args])
        try:
            runpy.run_path(str(path), run_name='__main__')
        except _Parsed as parsed:
            arguments = parsed.args[0]
        except SystemExit as refused:
            raise AssertionError(f'{path.name} refuses {args}') from refused
    config = getattr(arguments, 'config', None)
    if config and not config.isupper():                      # CONFIG stands for any
        from mmsimclr.config import load_config
        load_config(ROOT / config, getattr(arguments, 'cfg_options', None))
