"""A disk that is soon full."""

import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """Yield the folder of a file system of 1 MiB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', str(folder)],
                      capture_output=True).returncode:
        pytest.skip('only root may mount a file system')
    yield folder
    subprocess.run(['umount', '-l', str(folder)], check=True)
