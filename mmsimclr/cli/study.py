"""``mmsimclr study``: run a sweep and draw its table and figure."""

import click

from mmsimclr.cli.options import command, config_options


@command(interrupted='interrupted; the same command goes on where it stopped')
@click.argument('config')
@click.option('--preset', default='cpu', help='Size: smoke (seconds), cpu (hours on two cores), full (the '
              "paper's setting), or one of the config's own.")
@click.option('--work-dir', default='work_dirs/studies', help='Folder of all cells; workers on several hosts '
              'may share it.')
@click.option('--dry-run', is_flag=True, help='List the cells and estimate the time.')
@click.option('--jobs', default=1, help='Cells at a time; the cores are dealt out among them.')
@click.option('--shard', default='0/1', metavar='K/N', help='Run each N-th cell only, from the K-th on '
              '(counted from 0).')
@click.option('--submit', type=click.Choice(['slurm', 'local']), help='Run as an array of jobs, as many as '
              '--num-tasks, through submitit.')
@click.option('--num-tasks', default=8, help='Jobs of --submit.')
@click.option('--retry-failed', is_flag=True, help='Run cells again that have failed.')
@click.option('--past-gate', is_flag=True, help='Go on although the first cells do not show the effect.')
@click.option('--pause/--go-on', 'pause', default=None, help='Have all workers on the work dir save and '
              'stand still, or go on; SIGUSR1 to a worker switches as well.')
@click.option('--results', 'results_dir', default='results/studies', help='Folder of NAME.json: its cells '
              'are taken as done.')
@click.option('--record', is_flag=True, help='Write finished cells into --results too.')
@click.option('--pages', metavar='FOLDER', help='Run nothing: write NAME.md and its figure into a folder, '
              'from the cells that have run.')
@config_options
def study(config: str, preset: str, work_dir: str, dry_run: bool, shard: str, submit: str | None,
          num_tasks: int, pause: bool | None, results_dir: str, record: bool, pages: str | None,
          cfg_options: dict, **arguments: int | bool) -> None:
    """Run every cell of a study, and write its table, its figure and what became of the paper's claims.

    CONFIG is a file or a name, e.g. table5. Options KEY=VALUE are for every pre-training;
    data_root is for the benchmarks too.
    """
    import re
    from pathlib import Path

    from mmsimclr.environment import hardware
    from mmsimclr.reporting.study_page import write_page, write_study
    from mmsimclr.studies import Worker, load_study, read_records, submit_study
    from mmsimclr.studies.study import seconds_of
    pause_file = Path(work_dir) / 'paused'
    if pause is not None:
        Path(work_dir).mkdir(parents=True, exist_ok=True)
        pause_file.touch() if pause else pause_file.unlink(missing_ok=True)
        click.echo(f'{pause_file}: {"workers stand still" if pause else "workers go on"}')
        return
    if not (parts := re.fullmatch(r'(\d+)/(\d+)', shard)):
        raise click.BadParameter(f'--shard must be K/N such as 0/4, got {shard}')
    planned = load_study(config, preset, cfg_options)
    recorded = Path(results_dir) / f'{planned.name}.json'
    out = Path(work_dir) / planned.name / preset
    if record and (preset != 'cpu' or set(cfg_options) - {'data_root'}):
        raise click.UsageError('--record keeps results of preset cpu without other options')
    known = recorded if preset == 'cpu' else out / 'study.json'

    def write(results: list) -> None:
        write_study(planned, results, out)
        if record:
            write_study(planned, results, recorded.parent, only_json=True)

    arguments['shard'] = tuple(map(int, parts.groups()))
    worker = Worker(planned, Path(work_dir), read_records(known), report=click.echo, finished=write,
                    **arguments)
    if pages:
        cells, results, _ = worker.results()
        click.echo(write_page(planned, [results[each.name] for each in cells if each.name in results], pages))
        return
    if dry_run:
        cells, results, note = worker.results()
        left = [cell for cell in cells if cell.name not in results]
        for cell in cells:
            done = results.get(cell.name)
            state = 'to do' if done is None else f'failed: {done.failure}' if done.failure else 'done'
            click.echo(f'{cell.name}  {cell.title}  {state}')
        seconds = seconds_of(list(results.values()))
        time = f'{seconds:.0f} s a cell, {len(left) * seconds / 3600:.1f} h in all' if seconds else (
            'no cell has been timed yet: run one, or see docs/studies')
        click.echo(f'{len(left)} of {len(cells)} cells to run ({time}; {hardware()["cores"]} cores here)'
                   + (f'; {note}' if note else ''))
        return
    if submit:
        click.echo(submit_study(config, preset, cfg_options, work_dir, str(known), submit, num_tasks,
                                arguments) + '; run the same command without --submit for the pages')
        return
    Path(work_dir).mkdir(parents=True, exist_ok=True)
    results, note = worker.run()
    click.echo((out / 'README.md').read_text(encoding='utf-8'))
    click.echo(f'{out}/study.json, README.md' + (f'\n{note}' if note else ''))
    if failed := [each for each in results if each.failure]:
        raise click.ClickException(f'{len(failed)} cells failed; --retry-failed runs them again')
