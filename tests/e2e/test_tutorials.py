"""The README's first screen and the tutorials, from top to bottom, on a few small images."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from documented_commands import REHEARSED, fenced_commands, run_command
from PIL import Image
from processes import ROOT

PAGES = {'README.md': r'(?s)\A.*?(?=^## What it gives)', 'docs/tutorials/first_run.md': r'(?s).*',
         'docs/tutorials/your_images.md': r'(?s).*', 'docs/tutorials/what_it_learnt.md': r'(?s).*'}
FENCE = re.compile(r'^```(bash|python)\n.*?^```', re.MULTILINE | re.DOTALL)
SMALL = dict(width=4, view_size=32, workers=0, batch_size=8)
# Not commands of the package: the installer has tests of its own, and these are the tests.
ELSEWHERE = (['tools/install.sh', 'core'], ['.', '.venv/bin/activate'], ['make', 'test'])


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Go to a folder with the things that the pages take for granted."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for number in range(40):
        kind = 'ab'[number % 2]
        paths = [f'photos/2021/{number:04d}.jpg', f'labelled/train/{kind}/{number}.png',
                 f'labelled/val/{kind}/{number}.png']
        for path in map(Path, paths[:1 if number >= 24 else 3]):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (36, 40, 3), np.uint8)).save(path)
    labels = [f'2021/{number:04d}.jpg,{("cat", "dog")[number % 2]}' for number in range(6)]
    Path('labels.csv').write_text('\n'.join(['path,label', *labels]))
    Image.open('photos/2021/0000.jpg').save('photo.jpg')
    torch.save(torchvision.models.resnet18().state_dict(), 'resnet18.pth')
    return tmp_path


@pytest.mark.timeout(900)
def test_the_first_screen_and_the_tutorials_run_as_a_reader_comes_by(desk):
    done, names = set(), {}
    for page, part in PAGES.items():
        text = re.match(part, (ROOT / page).read_text(encoding='utf-8'), re.MULTILINE)[0]
        for block in FENCE.finditer(text):
            if block[1] == 'python':
                code = block[0].strip('`').removeprefix('python')
                code = code.replace('epochs=100', f'epochs=1, **{SMALL}')
                exec(compile(code, page, 'exec'), names)                     # of our own pages
                continue
            for words in fenced_commands(block[0]):
                if words in ELSEWHERE:
                    continue
                line = ' '.join(words)
                if words == ['make', 'quickstart']:
                    words = ['python', 'tools/quickstart.py']
                if line not in done:
                    run_command([*words, *REHEARSED[line]])
                done.add(line)
    assert done == set(REHEARSED)
    assert names['features'].shape == (40, 32) and np.isfinite(names['features']).all()
    for path in ('work_dirs/quickstart/neighbours.png', 'work_dirs/explore_photos/report/index.html',
                 'work_dirs/photos/report/index.html', 'work_dirs/photos/neighbours.png', 'report/index.html',
                 'work_dirs/knn_folder/result.json', 'work_dirs/theirs/result.json', 'summary.html'):
        assert (desk / path).is_file(), path
