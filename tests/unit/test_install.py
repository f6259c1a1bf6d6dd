"""The Python versions that tools/install.sh takes are those that the package allows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('version, is_taken', [
    ('3.9.19', False), ('3.10.11', False), ('3.10.12', True), ('3.11.0', False), ('3.11.3', False),
    ('3.11.4', True), ('3.12.0', True), ('3.12.11', True)])
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
