"""The commands that documents tell their readers to type, and whether the project accepts them."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from unittest import mock

import click
from click.testing import CliRunner

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
# Those that may be run as they stand, in an empty folder.
RUN = ('mmsimclr configs list', 'mmsimclr configs copy', 'mmsimclr doctor', 'mmsimclr zoo list',
       'mmsimclr zoo info')
# Those of the README's first screen and of the tutorials, with what makes them small, which
# tests/e2e/test_tutorials.py runs in the order in which a reader comes by.
_SMALL = ('protocol.resize_px=32', 'protocol.crop_px=32')
REHEARSED = {
    'make quickstart': (
        'epochs=1', 'width=4', 'train_dataloader.dataset.num_images=256',
        'custom_hooks.2.bank.num_images=100', 'custom_hooks.2.queries.num_images=50',
        'custom_hooks.3.num_images=16', 'custom_hooks.3.held_out.num_images=16'),
    'mmsimclr explore photos --minutes 10': ('--minutes', '0.02'),
    'mmsimclr explore photos --minutes 10 --labels labels.csv': ('--minutes', '0.02'),
    'mmsimclr report work_dirs/photos --images photos': ('--map', 'pca'),
    'mmsimclr benchmark knn_folder work_dirs/photos data_root=labelled': _SMALL,
    'mmsimclr benchmark linear_1xb64-coslr-40e_folder work_dirs/photos data_root=labelled': (
        'train_cfg.max_epochs=1', 'train_dataloader.batch_size=8', 'train_dataloader.num_workers=0',
        'test_dataloader.num_workers=0'),
    'mmsimclr benchmark knn_folder --init random random_encoder.depth=18 random_encoder.base_channels=32 '
    'protocol.crop_px=96 data_root=labelled --work-dir work_dirs/random': _SMALL,
    'mmsimclr benchmark knn_folder resnet18.pth data_root=labelled --work-dir work_dirs/theirs': _SMALL,
    'mmsimclr compare work_dirs/knn_folder/result.json work_dirs/theirs/result.json': (),
    'mmsimclr summarize work_dirs --out summary.html': (),
}


class _Parsed(BaseException):
    """Carries the arguments out of a command before it does anything."""


def fenced_commands(markdown: str) -> Iterator[list[str]]:
    """Yield the words of every command in the fenced shell blocks of a Markdown text."""
    for block in FENCE.findall(markdown):
        for line in block.replace('\\\n', ' ').splitlines():
            lexer = shlex.shlex(line.strip().removeprefix('$ '), posix=True, punctuation_chars='&;')
            lexer.whitespace_split = True
            for joint, group in groupby(lexer, lambda word: word in ('&&', ';')):
                words = [] if joint else list(group)
                while words and re.fullmatch(r'[A-Z_]+=.*', words[0]):
                    words.pop(0)                             # variables of the environment
                if words:
                    yield [words[0].removeprefix('.venv/bin/'), *words[1:]]



def run_command(words: list[str]) -> None:
    """Run a command of the package in this process; fail if it fails."""
    from mmsimclr.cli import main
    program, *args = words
    command = main
    if program.startswith('python') and args[0] == '-m':
        args = [args[1].rpartition('.')[2], *args[2:]]
    elif program.startswith('python'):
        name, *args = args
        command = next(value for value in runpy.run_path(str(ROOT / name)).values()
                       if isinstance(value, click.Command))
    done = CliRunner(catch_exceptions=False).invoke(command, args)
    assert done.exit_code == 0, (words, done.output[-2000:])


def check_command(words: list[str]) -> str:
    """Fail if the project would refuse a command; return what kind of command it is."""
    program, *args = words
    if program == 'make':
        targets = set(re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
        unknown = [arg for arg in args if '=' not in arg and arg not in targets]
        assert not unknown, f'the Makefile has no target {unknown}'
        return 'make'
    if program in OTHERS:
        OTHERS[program](args)
        return program
    if program == 'mmsimclr':
        from mmsimclr.cli import main
        _parse(main, 'mmsimclr', args)
        return 'mmsimclr'
    if program.startswith('python'):
        if args[0] == '-c':
            return 'python -c'
        if args[0] == '-m':
            return _check_module(args[1])
    if program.startswith('python') or program == 'bash':
        program, *args = args
    path = ROOT / program
    assert path.is_file(), f'{program} does not exist'
    if path.name in LAUNCHERS:
        _check_launcher(path, args)
    elif path.suffix == '.py' and path.is_relative_to(ROOT / 'tools'):
        _check_tool(path, args)
    return path.name


def _check_pip(args: list[str]) -> None:
    from pip._internal.commands import create_command
    create_command(args[0]).parse_args(args[1:])


def _check_uv(args: list[str]) -> None:
    """Let uv judge: behind wrong options it does not come to explain itself."""
    uv = shutil.which('uv', path=f'{Path(sys.executable).parent}:{os.environ["PATH"]}')
    if uv:
        done = subprocess.run([uv, *args, '--help'], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def _check_docker(args: list[str]) -> None:
    """Compare with the stages of the Dockerfile; what runs in a container is a command of mmsimclr."""
    if args[0] == 'build':
        stage = args[args.index('--target') + 1]
        assert re.search(rf'^FROM .* AS {stage}$', (ROOT / 'Dockerfile').read_text(), re.MULTILINE), stage
    else:
        image = next(place for place, word in enumerate(args) if word.startswith('mmsimclr'))
        check_command(['mmsimclr', *args[image + 1:]])


def _check_sbatch(args: list[str]) -> None:
    """Check the script, with its arguments; the options before it are Slurm's."""
    script = next(place for place, word in enumerate(args) if word.startswith('tools/'))
    check_command(args[script:])


def _check_tensorboard(args: list[str]) -> None:
    from tensorboard.program import TensorBoard
    TensorBoard().configure(['tensorboard', *args])


def _check_source(args: list[str]) -> None:
    assert args == [re.search(r'^VENV \?= (.*)$', (ROOT / 'Makefile').read_text(), re.MULTILINE)[1]
                    + '/bin/activate']


OTHERS = {'pip': _check_pip, 'uv': _check_uv, 'docker': _check_docker, 'sbatch': _check_sbatch,
          'tensorboard': _check_tensorboard, '.': _check_source}


def _check_module(name: str) -> str:
    if name.startswith('mmsimclr'):
        assert (ROOT / name.replace('.', '/')).with_suffix('.py').is_file(), f'{name} does not exist'
    return name


def _check_launcher(path: Path, args: list[str]) -> None:
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
    _check_tool(ROOT / tool, [*named, *args[len(usage):], '--launcher', 'pytorch'])


def _check_tool(path: Path, args: list[str]) -> None:
    """Let the command that a tool calls judge the arguments."""
    commands = [value for value in runpy.run_path(str(path)).values() if isinstance(value, click.Command)]
    if commands:                                             # the pages' tools have none
        _parse(commands[0], path.name, args)


def _parse(command: click.Command, name: str, args: list[str]) -> None:
    """Let a command parse arguments, and the config check its options."""
    def stop(self, context: click.Context) -> None:
        if not isinstance(self, click.Group):
            raise _Parsed(context.params)

    with mock.patch.object(click.Command, 'invoke', stop):
        try:
            command.main(list(args), name, standalone_mode=False)
            return                                           # --help
        except _Parsed as parsed:
            values = parsed.args[0]
        except click.UsageError as refused:
            raise AssertionError(f'{name} refuses {args}: {refused.format_message()}') from refused
    config = values.get('config')
    # CONFIG stands for any, and the copies of a reader are in folders of their own.
    if config and not config.isupper() and not config.startswith('mine/'):
        from mmsimclr.config import load_config
        from mmsimclr.studies import load_study
        here = ROOT / config if (ROOT / config).exists() else config          # else it is a name
        if 'past_gate' in values:                            # of `study`
            if str(config).startswith('configs/'):           # one of yours is not here
                load_study(here, values['preset'], values['cfg_options'])
        else:
            load_config(here, values['cfg_options'])
