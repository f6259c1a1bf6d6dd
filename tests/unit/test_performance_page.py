"""The page of performance: its goals are judged by the measurements, and the committed page is current."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    from page import performance_page
    return performance_page


@pytest.mark.parametrize('name, goal, rows, verdict', [
    ('lars', "torch's foreach SGD", {'torch SGD, foreach': 0.9}, ['1.11 x', 'met']),
    ('lars', "torch's foreach SGD", {'torch SGD, foreach': 0.8}, ['1.25 x', 'not met']),
    ('step', 'a training step, ResNet-18', {'mmpretrain': 2.31}, ['2.31 x', 'met']),
    ('step', 'a training step, ResNet-18', {'mmpretrain': 2.29}, ['2.29 x', 'not met'])])
def test_a_goal_is_held_against_the_measurement(page, tmp_path, name, goal, rows, verdict):
    record = dict(hardware={'cpu': 'a CPU', 'cores': 2, 'gpus': []}, versions={'torch': '2.11.0'}, peers={},
                  rows={row: {'times_ours': value} for row, value in {'ours': 1.0, **rows}.items()})
    (tmp_path / f'{name}.json').write_text(json.dumps(record))
    line, = (line for line in page(tmp_path).splitlines() if line.startswith('|') and goal in line)
    assert [cell.strip() for cell in line.strip('|').split('|')][2:] == verdict


def test_the_committed_page_is_made_of_the_committed_files(page):
    assert (ROOT / 'docs' / 'performance.md').read_text(encoding='utf-8') == page(
        ROOT / 'benchmarks' / 'results'), 'run python benchmarks/page.py'
