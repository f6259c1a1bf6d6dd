"""Types of the public API: mypy is content, and knows what the lazy names are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mmsimclr

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_mypy_is_content_and_knows_every_lazy_name(tmp_path):
    pytest.importorskip('mypy', reason='needs mypy (requirements/docs.lock)')
    user = tmp_path / 'user.py'
    names = sorted(mmsimclr._LAZY)
    user.write_text('import mmsimclr\n' + ''.join(f'reveal_type(mmsimclr.{name})\n' for name in names))
    listed = re.search(r'(?s)\[tool\.mypy\].*?files = \[(.*?)\]', (ROOT / 'pyproject.toml').read_text())[1]
    files = re.findall(r'"(.+?)"', listed)
    words = [sys.executable, '-m', 'mypy', '--cache-dir', tmp_path / 'cache', *files, user]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(revealed) == len(names)
    assert not [name for name, kind in zip(names, revealed, strict=True) if kind in ('Any', 'Unknown')]
