"""Every tool that reads a config ends with one line where the config is broken, before anything is done."""

import pytest
from processes import run_tool

LEAF = 'from mmengine.config import read_base\n\nwith read_base():\n    from .base import *\n'
# The tools' other arguments.
TOOLS = {
    'train.py': [], 'benchmark.py': ['nowhere.pth'], 'browse_views.py': [], 'quickstart.py': [],
    'predict.py': ['nowhere.pth', 'nowhere.jpg', '--out', 'out'],
    'extract_features.py': ['nowhere.pth', '--out', 'out.npz'],
}


@pytest.mark.parametrize('tool', TOOLS)
def test_a_base_that_raises_is_named_with_its_line_by_every_tool(tool, tmp_path):
    (tmp_path / 'base.py').write_text("model = dict(type='SimCLR')\nneck = dict(1, 2)\n")
    (tmp_path / 'leaf.py').write_text(LEAF)
    status, log = run_tool(tmp_path / 'log', tool, tmp_path / 'leaf.py', *TOOLS[tool])
    assert status == 1 and 'Traceback' not in log, log
    assert log.strip().splitlines()[-1] == (
        f"error: {tmp_path}/base.py, line 2, in 'neck = dict(1, 2)': TypeError: dict expected at most 1 "
        'argument, got 2')
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != '__pycache__') == [
        'base.py', 'leaf.py', 'log']
