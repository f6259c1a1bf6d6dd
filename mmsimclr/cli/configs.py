"""``mmsimclr configs`` and ``doctor``: what comes with the package, and what works here."""

import ast
import fnmatch
import shutil
import sys
from pathlib import Path

import click

from mmsimclr.cli.options import HELP, command


@click.group(context_settings=HELP)
def configs() -> None:
    """List, show and copy the configs that come with it."""


@command('list')
@click.argument('pattern', default='*')
def list_(pattern: str) -> None:
    """Print the configs whose name or folder matches PATTERN, e.g. '*_folder' or simclr; all without it."""
    from mmsimclr.files.shipped import shipped_configs, shipped_root
    folder = None
    for name, path in shipped_configs().items():
        parent = path.parent.relative_to(shipped_root() / 'configs').as_posix()
        if not any(fnmatch.fnmatch(each, pattern) for each in (name, parent)):
            continue
        if parent != folder:
            click.echo(f'{parent}:')
            folder = parent
        text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
        click.echo(f'  {name}\n      {text.partition(chr(10))[0]}')


@command()
@click.argument('name')
def show(name: str) -> None:
    """Print a config: what it is for, what it needs, and what can be changed at its top."""
    from mmsimclr.files.shipped import find_config
    click.echo(find_config(name).read_text(encoding='utf-8'), nl=False)


@command()
@click.argument('name')
@click.argument('folder', default='configs')
def copy(name: str, folder: str) -> None:
    """Copy a config, and the bases that it reads, into FOLDER, to be changed there.

    It keeps the place that it has below configs/. A base that is there already stays as it is.
    """
    from mmsimclr.config.load import bases_of
    from mmsimclr.errors import ExistingFileError
    from mmsimclr.files.shipped import find_config, shipped_root
    source, root = find_config(name).resolve(), (shipped_root() / 'configs').resolve()
    to_copy, copies = [source], []
    for path in to_copy:
        copied = Path(folder) / path.relative_to(root)
        if path == source and copied.exists():
            raise ExistingFileError(f'{copied} is there: name another FOLDER, or remove it')
        copies.append(copied)
        to_copy += [base for each in bases_of(path) if (base := each.resolve()) not in to_copy]
    for path, copied in zip(to_copy, copies, strict=True):
        if not copied.exists():
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)
    click.echo(copies[0])


for each in (list_, show, copy):
    configs.add_command(each)


@click.command()
def doctor() -> None:
    """Print what is installed and what works.

    It exits with 1 if pre-training is unusable.
    """
    from mmsimclr.doctor import main
    sys.exit(main())
