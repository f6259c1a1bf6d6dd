"""``mmsimclr benchmark``: measure an encoder by a protocol."""

import click

from mmsimclr.cli.options import (
    allow_changed_option,
    command,
    command_line,
    config_options,
    device_option,
    launcher_options,
)


@command()
@click.argument('config')
@click.argument('checkpoint', required=False)
@click.option('--init', type=click.Choice(['checkpoint', 'random']), default='checkpoint',
              help="random: measure the config's `random_encoder` at random initialisation.")
@click.option('--check', is_flag=True, help='Read the annotations of a detection or segmentation config, and '
              'the CHECKPOINT if there is one, and stop.')
@click.option('--work-dir', help='Folder of result and logs.  [default: work_dirs/CONFIG]')
@click.option('--select', help='Address of the encoder, where the checkpoint has several.')
@click.option('--feature-cache', help='Folder of extracted features.  [default: beside the work dir]')
@click.option('--resume', is_flag=True,
              help='Go on with an interrupted training from the newest checkpoint in the work dir.')
@click.option('--dedupe', is_flag=True, help='List test images that show the same picture as a training '
              'image, in duplicates.csv in the work dir.')
@allow_changed_option
@device_option
@config_options
@launcher_options
def benchmark(config: str, checkpoint: str | None, init: str, check: bool, work_dir: str | None,
              select: str | None, feature_cache: str | None, resume: bool, dedupe: bool,
              allow_changed: tuple[str, ...], device: str, cfg_options: dict, launcher: str) -> None:
    """Measure an encoder by a protocol.

    CONFIG is a file, or a name of `mmsimclr configs list`; CHECKPOINT a file, a work directory, an address
    or a model-zoo name.
    """
    if not check and (checkpoint is None) == (init == 'checkpoint'):
        raise click.UsageError('name a CHECKPOINT, or ask for --init random, not both')
    from mmsimclr import distributed
    from mmsimclr.config import load_config
    from mmsimclr.protocols import check_benchmark, run_benchmark
    from mmsimclr.reporting import result_text
    from mmsimclr.runner import resume_command
    settings = load_config(config, cfg_options, work_dir)
    if check:
        click.echo(check_benchmark(settings, checkpoint, select))
        return
    settings.launcher, settings.resume = launcher, resume or settings.get('resume', False)
    settings.allow_changed, settings.go_on = list(allow_changed), resume_command(command_line())
    result = run_benchmark(settings, checkpoint, config_path=settings.filename, select=select,
                           cache_dir=feature_cache, device=device, command=command_line(),
                           dedupe=dedupe)
    if distributed.rank() == 0:
        click.echo(result_text(result))
        click.echo(f'{settings.work_dir}/result.json')
    distributed.stop()
