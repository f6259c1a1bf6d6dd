"""The page of performance says what the measurements say, and the committed page is the one they make."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MACHINE = dict(hardware={'cpu': 'a CPU', 'cores': 2, 'gpus': []}, versions={'torch': '2.11.0'},
               peers={'lightly': None})


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    from page import performance_page
    return performance_page


def write(folder: Path, name: str, **record) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f'{name}.json').write_text(json.dumps({**MACHINE, **record}))


def verdict(text: str, goal: str) -> list[str]:
    row, = (line for line in text.splitlines() if line.startswith('|') and goal in line)
    return [cell.strip() for cell in row.strip('|').split('|')][2:]


@pytest.mark.parametrize('sgd, said', [(0.9, ['1.11 x', 'met']), (0.8, ['1.25 x', 'not met'])])
def test_a_goal_with_an_upper_bound(page, tmp_path, sgd, said):
    write(tmp_path, 'lars', rows={'ours': {'times_ours': 1.0}, 'torch SGD, foreach': {'times_ours': sgd}})
    assert verdict(page(tmp_path), "torch's foreach SGD") == said


@pytest.mark.parametrize('peer, said', [(2.31, ['2.31 x', 'met']), (2.29, ['2.29 x', 'not met'])])
def test_a_goal_with_a_lower_bound(page, tmp_path, peer, said):
    write(tmp_path, 'step', rows={'ours': {'times_ours': 1.0}, 'mmpretrain': {'times_ours': peer}})
    assert verdict(page(tmp_path), 'a training step, ResNet-18') == said


def test_a_missing_peer_leaves_its_goal_open(page, tmp_path):
    write(tmp_path, 'step', rows={'ours': {'times_ours': 1.0}})
    text = page(tmp_path)
    assert verdict(text, 'a training step, ResNet-18') == ['not measured here; python benchmarks/step.py', '']
    assert 'lightly not installed' in text


def test_what_ran_on_a_gpu_counts_for_the_gpus_goal_alone(page, tmp_path):
    rows = {'ours': {'times_ours': 1.0}, 'torch SGD, foreach': {'times_ours': 1.0},
            'mmpretrain': {'times_ours': 12.0}}
    write(tmp_path / 'gpu', 'lars', rows=rows, device='cuda')
    text = page(tmp_path)
    assert verdict(text, 'LARS on ResNet-50 on a GPU') == ['12 x', 'met']
    assert verdict(text, "torch's foreach SGD")[1] == ''
    write(tmp_path, 'lars', rows={**rows, 'mmpretrain': {'times_ours': 0.5}})
    text = page(tmp_path)
    assert verdict(text, 'LARS on ResNet-50 on a GPU') == ['12 x', 'met']
    assert verdict(text, "torch's foreach SGD") == ['1 x', 'met']
    assert text.count("and mmpretrain's LARS\n") == text.count("and mmpretrain's LARS (on a GPU)\n") == 1
    assert 'benchmarks/lars.py`' not in text.split('## Not measured yet')[1]


def test_tables_hold_the_values_and_settings_of_the_files(page, tmp_path):
    write(tmp_path, 'views', images=64, rows={
        'small': {'ours': {'times_ours': 1.0, 'images_per_s': 3456.7}},
        'large': {'ours': {'times_ours': 1.0, 'images_per_s': 45.67}}})
    text = page(tmp_path)
    assert text.index('**small**') < text.index('3,457') < text.index('**large**') < text.index('45.7')
    assert '* settings: images 64\n' in text and '2 cores of a CPU' in text
    missing = text.split('## Not measured yet')[1]
    assert 'benchmarks/views.py`' not in missing
    assert '* `.venv/benchmark/bin/python benchmarks/step.py`' in missing


def test_the_committed_page_is_made_of_the_committed_files(page):
    assert (ROOT / 'docs' / 'performance.md').read_text(encoding='utf-8') == page(
        ROOT / 'benchmarks' / 'results'), 'run python benchmarks/page.py'
