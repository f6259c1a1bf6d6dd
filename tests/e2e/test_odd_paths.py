"""The shell scripts in and on folders with odd names: each arrives whole, and nothing in it is executed."""

import os
import shutil
import subprocess

import pytest
from processes import ROOT

ODD = ['two words', 'it\'s "quoted"', '$(touch executed) `touch executed`', '-rf', 'a;touch executed&b',
       'Übung 試験', '* ~ $HOME \\']
RECORD = '''#!/bin/sh
printf '%s\\0' "$@" > "$RECORD"
printf '%s' "$MMSIMCLR_COMMAND" > "$RECORD.command"
'''
# Makes a virtual environment of itself, and installs nothing.
PYTHON = '''#!/bin/sh
printf '%s\\0' "$@" >> "$RECORD"
[ "$2" != venv ] || { mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && touch "$3/pyvenv.cfg"; }
'''
OPTIONS = ['--work-dir', 'run', '--cfg-options', 'x=[1,2]']


@pytest.fixture(params=ODD)
def odd(request, tmp_path):
    """Return the name of a folder below ``tmp_path`` that has the scripts."""
    (tmp_path / request.param / 'tools').mkdir(parents=True)
    for script in (ROOT / 'tools').glob('*.sh'):
        shutil.copy(script, tmp_path / request.param / 'tools')
    (tmp_path / request.param / 'requirements').mkdir()
    shutil.copy(ROOT / 'requirements' / 'mmcv.lock', tmp_path / request.param / 'requirements')
    return request.param


def stand_in(path, text: str = RECORD) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def with_srun(folder) -> str:
    """Return the PATH on which ``srun`` is a stand-in."""
    stand_in(folder / 'bin' / 'srun')
    return f'{folder}/bin{os.pathsep}{os.environ["PATH"]}'


def run(folder, *words: str, **environment: str) -> list[str]:
    """Run a command of a user in a folder; return what the stand-in was given."""
    done = subprocess.run(
        ['bash', '--', *words], cwd=folder, capture_output=True, text=True, timeout=30,
        env={**os.environ, 'RECORD': str(folder / 'record'), **environment})
    assert done.returncode == 0, done.stderr
    assert not list(folder.rglob('executed'))
    return (folder / 'record').read_bytes().decode().split('\0')[:-1]


def words_of(command: str, folder) -> list[str]:
    """Return the words of a command as a shell understands it."""
    done = subprocess.run(['bash', '-c', f"printf '%s\\0' {command}"], cwd=folder, capture_output=True)
    return done.stdout.decode().split('\0')[:-1]


@pytest.mark.parametrize('launcher', ['dist', 'slurm'])
@pytest.mark.parametrize('tool', ['train', 'benchmark'])
def test_paths_arrive_whole_and_the_command_in_the_result_can_be_repeated(launcher, tool, odd, tmp_path):
    python, path = stand_in(tmp_path / odd / 'python'), with_srun(tmp_path)
    paths = [f'{odd}/config.py', *([f'{odd}/epoch 1.pth'] if tool == 'benchmark' else [])]
    typed = [f'{odd}/tools/{launcher}_{tool}.sh', *(['gpu', odd] if launcher == 'slurm' else []), *paths,
             *(['2'] if launcher == 'dist' else []), *OPTIONS]
    got = run(tmp_path, *typed, PYTHON=python, PATH=path)
    place = got.index(str(tmp_path / odd / 'tools' / f'{tool}.py')) + 1
    assert got[place:place + len(paths)] == paths
    assert [word for word in got[place:] if word in OPTIONS] == OPTIONS
    if launcher == 'slurm':
        assert got[got.index('--job-name') + 1] == odd and python in got
    repeated = words_of((tmp_path / 'record.command').read_text(), tmp_path)
    if (launcher, tool) == ('dist', 'benchmark'):                 # said by dist_run.sh
        typed = [str(tmp_path / odd / 'tools' / 'dist_run.sh'), '2', got[place - 1], *paths, *OPTIONS]
    assert repeated == ['bash', *typed]
    assert not list(tmp_path.rglob('executed'))


def test_a_batch_job_finds_the_tools_below_the_folder_it_was_submitted_from(odd, tmp_path):
    path = with_srun(tmp_path)
    (tmp_path / 'spool').mkdir()
    shutil.copy(ROOT / 'tools' / 'slurm_train.sh', tmp_path / 'spool' / 'slurm_script')
    got = run(tmp_path, 'spool/slurm_script', 'gpu', 'job', f'{odd}/config.py', SLURM_JOB_ID='17',
              SLURM_SUBMIT_DIR=str(tmp_path / odd), PATH=path)
    assert got[got.index('-u') + 1:] == [str(tmp_path / odd / 'tools' / 'train.py'), f'{odd}/config.py',
                                         '--launcher', 'slurm']


@pytest.mark.parametrize('is_absolute', [True, False])
def test_the_environment_is_made_where_it_is_wanted(is_absolute, odd, tmp_path):
    python = stand_in(tmp_path / 'bin' / 'python', PYTHON)
    (tmp_path / odd / '-env').mkdir()                             # empty: taken
    venv = str(tmp_path / odd / '-env') if is_absolute else '-env'
    got = run(tmp_path, f'{odd}/tools/install.sh', 'core', VENV=venv, PYTHON=python)
    made = tmp_path / odd / '-env'
    assert str(made) in got and (made / '.core-installed').is_file() and (made / 'bin' / 'python').is_file()
    assert got[-2:] == ['-e', '.']


def test_a_folder_that_is_no_environment_is_not_deleted(tmp_path):
    python, home = stand_in(tmp_path / 'bin' / 'python', PYTHON), tmp_path / 'home'
    home.mkdir()
    (home / 'thesis.tex').write_text('years')
    command = ['bash', str(ROOT / 'tools' / 'install.sh')]
    environment = {**os.environ, 'VENV': str(home), 'PYTHON': python, 'RECORD': str(tmp_path / 'record')}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)
    assert done.returncode == 1 and f'VENV={home} is there and no virtual environment' in done.stderr
    assert (home / 'thesis.tex').read_text() == 'years'


@pytest.mark.parametrize('number', ['a[$(touch executed)]', '0', '', 'config.py', '-1'])
def test_a_number_of_processes_that_is_none_is_refused_and_not_computed(number, tmp_path):
    done = subprocess.run(
        ['bash', str(ROOT / 'tools' / 'dist_train.sh'), 'config.py', number], cwd=tmp_path,
        capture_output=True, text=True, timeout=30, env={**os.environ, 'PYTHON': 'true'})
    assert done.returncode == 2
    assert f'GPUS must be the number of processes on this machine, got {number}' in done.stderr
    assert not list(tmp_path.iterdir())
