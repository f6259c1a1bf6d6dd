"""All that is installed or run from elsewhere is named by its digest."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / 'requirements').glob('*.lock'))
WORKFLOWS = sorted((ROOT / '.github/workflows').glob('*.yml'))


def entries_of(lock: Path) -> list[str]:
    """Return the requirements of a lock file, each with its hashes on one line."""
    lines = [line for line in lock.read_text().replace('\\\n', ' ').splitlines()
             if line.strip() and not line.lstrip().startswith('#')]
    assert lines
    return lines


@pytest.mark.parametrize('lock', LOCKS, ids=lambda lock: lock.name)
def test_every_pinned_file_has_its_sha256_and_no_index_is_named(lock):
    for entry in entries_of(lock):
        assert re.fullmatch(r'[\w.-]+==[\w.!+]+( ; .*?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*', entry), entry
    assert '://' not in lock.read_text() and 'index-url' not in lock.read_text()


def test_every_input_has_its_lock_and_the_locks_agree():
    assert {lock.stem for lock in LOCKS} == {path.stem for path in (ROOT / 'requirements').glob('*.in')}
    core, full = ({entry.split()[0]: entry for entry in entries_of(ROOT / f'requirements/{name}.lock')}
                  for name in ('core', 'full'))
    assert core.keys() <= full.keys()
    assert all(set(re.findall('sha256:[0-9a-f]+', entry)) <= set(re.findall('sha256:[0-9a-f]+', full[name]))
               for name, entry in core.items() if ';' not in entry)


def test_nothing_is_installed_without_comparing_hashes():
    commands = (ROOT / 'tools/install.sh').read_text().replace('\\\n', ' ').splitlines()
    commands += (ROOT / 'Makefile').read_text().replace('\\\n', ' ').splitlines()
    installing = [line for line in commands if re.search(r'(pip_install|pip (install|wheel)) ', line)
                  and '$@' not in line]
    assert len(installing) >= 6
    for line in installing:
        # This package itself, the wheel that was built here, and the index that the user names.
        assert any(part in line for part in ('--require-hashes', '-e .', '"$wheels"/*.whl', '"$INDEX"')), line
        assert '--no-deps' in line, line


@pytest.mark.parametrize('workflow', WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_may_only_read(workflow):
    text = workflow.read_text()
    used = re.findall(r'uses: *(\S+)', text)
    assert used and all(re.fullmatch(r'[\w.-]+/[\w./-]+@[0-9a-f]{40}', action) for action in used), used
    plan = yaml.safe_load(text)
    assert plan['permissions'] == {'contents': 'read'}
    for job in plan['jobs'].values():
        if 'write' in str(job.get('permissions')):           # such a job runs no code of the repository
            assert workflow.name == 'release.yml' and 'checkout' not in str(job['steps'])
            assert job['permissions'] in ({'id-token': 'write'}, {'contents': 'write'})


def test_the_installer_reads_its_version_of_mmcv_from_the_lock():
    script = (ROOT / 'tools/install.sh').read_text()
    line, = [line for line in script.splitlines() if line.startswith('MMCV=')]
    got = subprocess.run(['bash', '-c', f'{line}; echo "$MMCV"'], cwd=ROOT, capture_output=True, text=True)
    assert re.fullmatch(r'onedl-mmcv==[\d.]+\n', got.stdout)


@pytest.mark.parametrize('target', ['sbom', 'security'])
def test_the_list_of_what_is_installed_and_the_audit_are_of_all_of_it(target):
    """The full lock has the core's, as is tested above; the audit's own tools are not of the package."""
    script = subprocess.run(['make', '-n', '-B', target], cwd=ROOT, capture_output=True, text=True).stdout
    command, = [line for line in script.replace('\\\n', ' ').splitlines()
                if re.search('bin/(cyclonedx-py|pip-audit)', line)]
    assert set(re.findall(r'requirements/(\w+)\.lock', command)) == {'full', 'mmcv'}


def test_a_list_of_all_locks_has_each_package_with_its_hashes(tmp_path):
    program = shutil.which('cyclonedx-py', path=f'{ROOT}/.venv/audit/bin:{os.environ["PATH"]}')
    if program is None:
        pytest.skip('cyclonedx-py is not installed (make sbom)')
    locks = ''.join((ROOT / f'requirements/{name}.lock').read_text() for name in ('full', 'mmcv'))
    subprocess.run([program, 'requirements', '--output-reproducible', '--output-format', 'JSON',
                    '--output-file', tmp_path / 'sbom.json', '-'], input=locks, text=True, check=True)
    listed = {each['name']: each for each in json.loads((tmp_path / 'sbom.json').read_text())['components']}
    assert {'onedl-mmcv', 'torch', 'numpy', 'hypothesis'} <= listed.keys()
    assert all('hash' in json.dumps(each) for each in listed.values())
