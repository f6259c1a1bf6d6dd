"""Two runs that are started in one work directory: one trains, the other is told so."""

from killable_runs import log, start, wait_until

from mmsimclr.runner import newest_checkpoint

EPOCHS = 3


def test_of_two_runs_in_one_folder_one_ends_well_and_one_is_refused(tmp_path):
    (tmp_path / 'alias').symlink_to(tmp_path / 'run')           # by another name, with a log of its own
    (tmp_path / 'run').mkdir()
    runs = {name: start(tmp_path / name, EPOCHS) for name in ('run', 'alias')}
    for process in runs.values():
        process.join(150)
    refused, = (name for name, process in runs.items() if process.exitcode == 1)
    trained, = (name for name, process in runs.items() if process.exitcode == 0)
    last = log(tmp_path / refused).strip().splitlines()[-1]
    assert f'{tmp_path}/run is in use by process {runs[trained].pid} on' in last and 'Traceback' not in last
    assert newest_checkpoint(tmp_path / 'run').iteration == EPOCHS * 4


def test_a_killed_ones_folder_is_free_at_once(tmp_path):
    process = start(tmp_path / 'run', 100)
    assert wait_until(lambda: (tmp_path / 'run' / 'iter_2.pth').is_file(), process)
    refused = start(tmp_path / 'run', EPOCHS)
    refused.join(60)
    assert refused.exitcode == 1 and process.is_alive()
    process.kill()
    process.join()
    again = start(tmp_path / 'run', 100)
    assert wait_until(lambda: 'resuming from the newest intact checkpoint' in log(tmp_path / 'run'), again)
    again.kill()
    again.join()
