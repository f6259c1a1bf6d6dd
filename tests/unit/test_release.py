"""Parts of a release: workflows and other files against their schemas, and one version everywhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from documented_commands import check_command

from mmsimclr.version import __version__

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / '.github/workflows'
SCHEMAS = {
    '.github/workflows/ci.yml': 'github-workflows', '.github/workflows/release.yml': 'github-workflows',
    '.github/ISSUE_TEMPLATE/bug.yml': 'github-issue-forms',
    '.github/ISSUE_TEMPLATE/idea.yml': 'github-issue-forms',
    '.github/ISSUE_TEMPLATE/config.yml': 'github-issue-config', '.readthedocs.yaml': 'readthedocs',
    'CITATION.cff': 'citation-file-format',
}


def scripts(workflow: str) -> list[str]:
    """Return the shell scripts of a workflow."""
    jobs = yaml.safe_load((WORKFLOWS / workflow).read_text())['jobs'].values()
    return [step['run'] for job in jobs for step in job['steps'] if 'run' in step]


def test_every_schema_is_followed():
    pytest.importorskip('check_jsonschema', reason='needs check-jsonschema (requirements/docs.lock)')
    for name in sorted(set(SCHEMAS.values())):
        files = [str(ROOT / path) for path, schema in SCHEMAS.items() if schema == name]
        words = [sys.executable, '-m', 'check_jsonschema', '--builtin-schema', f'vendor.{name}', *files]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    found = {str(path.relative_to(ROOT)) for path in (ROOT / '.github').rglob('*.yml')}
    assert found == {path for path in SCHEMAS if path.startswith('.github')}


@pytest.mark.parametrize('workflow', ['ci.yml', 'release.yml'])
def test_scripts_of_workflows_are_shell_and_their_commands_are_accepted(workflow):
    for script in scripts(workflow):
        done = subprocess.run(['bash', '-n', '-c', script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for line in script.splitlines():
            if (words := line.strip().removeprefix('.venv/bin/').split())[0] in ('mmsimclr', 'make'):
                check_command(words)


@pytest.mark.parametrize('changelog, citation, tag, passes', [
    ('(2027-01-01)', '1.2.3', 'v1.2.3', True), ('(unreleased)', '1.2.3', 'v1.2.3', False),
    ('(2027-01-01)', '1.2.2', 'v1.2.3', False), ('(2027-01-01)', '1.2.3', 'v1.2.4', False)])
def test_a_tag_is_released_if_version_changelog_and_citation_agree(tmp_path, changelog, citation, tag,
                                                                   passes):
    script, = [each for each in scripts('release.yml') if 'GITHUB_REF_NAME"' in each and 'version=' in each]
    (tmp_path / 'mmsimclr').mkdir()
    (tmp_path / 'mmsimclr/version.py').write_text("__version__ = '1.2.3'\n")
    (tmp_path / 'CHANGELOG.md').write_text(f'# Changelog\n\n## 1.2.3 {changelog}\n')
    (tmp_path / 'CITATION.cff').write_text(f'version: {citation}\n')
    environment = {'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}', 'GITHUB_REF_NAME': tag}
    done = subprocess.run(['bash', '-e', '-c', script], cwd=tmp_path, env=environment, capture_output=True)
    assert (done.returncode == 0) == passes, done.stderr


def test_the_tools_that_build_a_release_are_pinned_with_their_hashes(tmp_path):
    script, = [each for each in scripts('release.yml') if 'build.lock' in each]
    command, = [line for line in script.splitlines() if line.startswith('awk')]
    (tmp_path / 'requirements').mkdir()
    shutil.copy(ROOT / 'requirements/core.lock', tmp_path / 'requirements')
    subprocess.run(['bash', '-e', '-c', command], cwd=tmp_path, check=True)
    text = (tmp_path / 'build.lock').read_text()
    assert re.findall(r'^([\w-]+)==', text, re.MULTILINE) == ['packaging', 'setuptools', 'wheel']
    assert text.count('--hash=sha256:') >= 6


def test_the_version_is_the_same_everywhere_and_the_software_is_what_is_cited():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['version'] == __version__ and citation['type'] == 'software'
    assert 'preferred-citation' not in citation            # GitHub shows it in the place of the software
    first = re.search(r'^## (\S+) \(', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)[1]
    assert first == __version__.partition('.dev')[0]


def test_hooks_before_a_commit_are_tools_of_the_lint_target():
    hooks = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())['repos'][0]['hooks']
    makefile = (ROOT / 'Makefile').read_text()
    tools = {hook['entry'].split()[0].removeprefix('.venv/bin/') for hook in hooks}
    assert tools >= {'ruff', 'lint-imports', 'mypy'}
    assert all(f'$(BIN)/{tool}' in makefile for tool in tools - {'check-jsonschema'})
