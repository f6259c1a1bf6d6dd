"""``mmsimclr train``, ``explore`` and ``quickstart``: pre-train a model."""

import copy
import sys
import webbrowser
from pathlib import Path

import click

from mmsimclr.cli import options

QUICKSTART = 'simclr_resnet18-w16_1xb128-coslr-5e_shapes'


@options.command()
@click.argument('config')
@click.option('--work-dir', help='Folder of logs and checkpoints.  [default: work_dirs/CONFIG]')
@click.option('--resume', is_flag=False, flag_value='auto', metavar='[CKPT]',
              help='Go on from a checkpoint; without CKPT, from the newest intact one in the work dir.')
@click.option('--longer', type=click.Choice(['stretch', 'restart']), default='stretch',
              help='With --resume and more epochs than before: go on at the rate of a run of that length, or '
              'restart at a tenth of the peak.')
@options.allow_changed_option
@click.option('--amp', type=click.Choice(['bf16', 'fp16']), help='The same as precision=bf16 or fp16.')
@click.option('--auto-scale-lr', is_flag=True,
              help='Scale the learning rate to the real global batch (see auto_scale_lr).')
@click.option('--deterministic', is_flag=True,
              help='Deterministic algorithms only: equal losses, bit by bit, when run again.')
@click.option('--profile', type=click.IntRange(1), metavar='N',
              help='Profile N steps: a trace and a table of the parts of a step, in WORK_DIR/profile.')
@click.option('--pictures/--no-pictures', default=True,
              help='Draw curves, views and nearest neighbours at the end.')
@options.config_options
@options.launcher_options
def train(config: str, work_dir: str | None, resume: str | None, longer: str, allow_changed: tuple[str, ...],
          amp: str | None, auto_scale_lr: bool, deterministic: bool, profile: int | None, pictures: bool,
          cfg_options: dict, launcher: str) -> None:
    """Pre-train the model of a config.

    CONFIG is a file, or a name of `mmsimclr configs list simclr`.
    """
    from mmsimclr import distributed
    from mmsimclr.config import load_config, set_precision
    from mmsimclr.files.shipped import for_cpus, hardware_of
    from mmsimclr.protocols import pretrain
    from mmsimclr.runner import resume_command, set_auto_scale_lr, set_deterministic
    settings = load_config(config, cfg_options, work_dir)
    settings.launcher, settings.allow_changed = launcher, list(allow_changed)
    settings.go_on = resume_command(options.command_line())
    settings.longer, settings.profile = longer, profile
    if amp:
        set_precision(settings, amp)
    if resume:
        settings.resume = 'auto' if resume == 'auto' else True
        settings.load_from = settings.get('load_from') if resume == 'auto' else resume
    if auto_scale_lr:
        set_auto_scale_lr(settings)
    if deterministic:
        set_deterministic(settings)
    import torch
    if not torch.cuda.is_available() and (better := for_cpus(Path(settings.filename))):
        meant_for = hardware_of(Path(settings.filename)).partition(';')[0]
        click.echo(f'no GPU here, and this config is {meant_for}. Without one:\n'
                   f'  mmsimclr train {better.stem}\n  ({hardware_of(better)})')
    images = copy.deepcopy(settings.get('train_dataloader', {}).get('dataset'))   # before it is adapted
    pretrain(settings, settings.filename, options.command_line())
    if distributed.rank() == 0 and pictures:
        from mmsimclr.reporting.figures import save_run_pictures
        for picture in save_run_pictures(settings.work_dir, images):
            click.echo(picture)
    distributed.stop()


@options.command(interrupted=options.GOES_ON)
@click.argument('images')
@click.option('--minutes', type=float, default=10, help='Time for pre-training.')
@click.option('--labels', metavar='CSV', help='Labels of some images, columns path and label: then their '
              'accuracy is printed, with an interval.')
@click.option('--checkpoint', help='Weights to use in the place of pre-training: a file, an address or a '
              'model-zoo name.')
@click.option('--work-dir', help='Folder of all that is written.  [default: work_dirs/explore_FOLDER]')
@click.option('--open/--no-open', 'opens', default=None, help='Open the page in the browser.  [default: on a '
              'terminal]')
def explore(images: str, minutes: float, labels: str | None, checkpoint: str | None, work_dir: str | None,
            opens: bool | None) -> None:
    """Pre-train on a folder of images for some minutes, and show a map of them.

    The page has a map, nearest neighbours, duplicates, outliers and a diverse subset. The same command again
    goes on where it stopped, or shows what is there.
    """
    from mmsimclr.exploration import explore as run
    from mmsimclr.quickstart import limit_threads
    limit_threads()
    page = run(images, minutes, labels=labels, checkpoint=checkpoint, work_dir=work_dir, say=click.echo)
    if opens or (opens is None and sys.stdout.isatty()):
        webbrowser.open(Path(page).resolve().as_uri())


@options.command()
@click.argument('config', default=QUICKSTART)
@click.option('--work-dir', default='work_dirs/quickstart', help='Folder of results and pictures.')
@click.option('--seed', type=click.IntRange(0, 2**32 - 1),
              help="Seed of weights and views.  [default: the config's]")
@click.option('--deterministic', is_flag=True, help='Deterministic algorithms only.')
@options.config_options
def quickstart(config: str, work_dir: str, seed: int | None, deterministic: bool, cfg_options: dict) -> None:
    """Pre-train on built-in images, show the gain."""
    from mmsimclr.quickstart import limit_threads
    from mmsimclr.quickstart import quickstart as run
    limit_threads()
    if deterministic:
        cfg_options['randomness.deterministic'] = True
    run(config, work_dir, cfg_options, seed)
