"""tools/install.sh: the Python versions it takes, and what it installs without CUDA."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('version, is_taken', [
    ('3.9.19', False), ('3.10.11', False), ('3.10.12', True), ('3.11.0', False), ('3.11.3', False),
    ('3.11.4', True), ('3.12.0', True), ('3.12.11', True),
    ('3.13.0', True)])
def test_a_python_is_taken_if_it_guards_the_unpacking_of_archives(version, is_taken, tmp_path):
    """Source: https://docs.python.org/3/library/tarfile.html#tarfile.data_filter."""
    required, = re.findall(r"python_requires='(.+)'", (ROOT / 'setup.py').read_text())
    assert SpecifierSet(required).contains(version) == is_taken
    python = tmp_path / 'python'
    numbers = tuple(map(int, version.split('.')))
    python.write_text(f'#!{sys.executable}\nimport sys\nsys.version_info = {numbers}\nexec(sys.argv[2])\n')
    python.chmod(0o755)
    suits, = re.findall(r'(?ms)^suits\(\) \{.+?^\}', (ROOT / 'tools/install.sh').read_text())
    done = subprocess.run(['bash', '-c', f'{suits}\nsuits "$0"', str(python)], timeout=60)
    assert (done.returncode == 0) == is_taken


def install(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Run the installer with a Python that writes down what it is asked, and keeps the file it is given."""
    stand_in = folder / 'venv' / 'bin' / 'python'
    stand_in.parent.mkdir(parents=True)
    stand_in.write_text('#!/bin/bash\n'
                        f'echo "$@" >>{folder}/asked\n'
                        f'case "$*" in *" -r /"*) cp "${{@: -1}}" {folder}/given;; esac\n')
    stand_in.chmod(0o755)
    settings = {'PATH': '/usr/bin:/bin', 'VENV': str(folder / 'venv'), 'TMPDIR': str(folder)}
    return subprocess.run([str(ROOT / 'tools/install.sh'), *words], capture_output=True, text=True,
                          timeout=60, env=settings)


def test_without_cuda_torch_comes_from_the_named_index_and_all_else_from_the_lock(tmp_path):
    done = install(tmp_path, 'core', '--cpu', 'https://example.org/cpu')
    assert done.returncode == 0, done.stderr
    first, second = [line for line in (tmp_path / 'asked').read_text().splitlines()
                     if (' pip ' in line and 'torch=' in line) or ' -r /' in line]
    lock = (ROOT / 'requirements/core.lock').read_text()
    torch, torchvision = (re.search(rf'^{name}==[0-9.]+', lock, re.MULTILINE)[0]
                          for name in ('torch', 'torchvision'))
    assert first.endswith(f'--no-deps --index-url https://example.org/cpu {torch} {torchvision}')
    assert '--require-hashes' in second
    entries = set(re.findall(r'^[\w-]+==', lock, re.MULTILINE))
    given = (tmp_path / 'given').read_text()
    left_out = entries - set(re.findall(r'^[\w-]+==', given, re.MULTILINE))
    assert {'torch==', 'torchvision==', 'triton==', 'nvidia-cublas=='} <= left_out
    assert all(re.match('(torch|torchvision|triton|nvidia-.*|cuda-.*)==$', name) for name in left_out)
    # No hash of what was left out is left behind.
    kept = [entry for entry in re.split(r'(?m)^(?=[\w-]+==)', lock) if not entry.startswith(tuple(left_out))]
    assert given.count('--hash') == sum(entry.count('--hash') for entry in kept)


@pytest.mark.parametrize('words', [('core', '--cpu'), ('core', '--gpu'), ('full', '--cpu', 'x'), ('cor',)])
def test_other_words_are_refused_before_anything_is_made(words, tmp_path):
    done = install(tmp_path, *words)
    assert done.returncode == 1 and 'core --cpu INDEX' in done.stderr
    assert not (tmp_path / 'asked').exists()


def test_the_extras_that_documents_name_are_extras_of_the_package():
    extras = set(re.findall(r"^        '(\w+)': \[", (ROOT / 'setup.py').read_text(), re.MULTILINE))
    named = {name for path in [ROOT / 'README.md', *(ROOT / 'docs').rglob('*.md')]
             for names in re.findall(r'mmsimclr\[([\w,]+)\]', path.read_text()) for name in names.split(',')}
    assert {'detection', 'timm', 'tensorflow'} <= named <= extras
