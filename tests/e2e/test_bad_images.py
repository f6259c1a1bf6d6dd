"""tools/train.py on a folder with unusual and broken files, by each policy and with views made anywhere."""

import json
import re
from pathlib import Path

import pytest
import torch
from image_corpus import bad_files, good_files
from processes import run_tool
from tiny_run import tiny_config

GOOD, BAD = good_files(), bad_files()
NUM_IMAGES = len(GOOD) + len(BAD)
TAKEN = 'another image is taken in its place'


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Path:
    """Write the corpus, and a config that trains on it for two epochs of five steps."""
    folder = tmp_path_factory.mktemp('corpus')
    (folder / 'images').mkdir()
    for name, content in {**{name: file.content for name, file in GOOD.items()}, **BAD}.items():
        (folder / 'images' / name).write_bytes(content)
    config = tiny_config(folder, train_cfg=dict(by_epoch=True, max_epochs=2))
    config.pop('experiment_name')
    loader = config.train_dataloader
    loader.batch_size = NUM_IMAGES // 5
    loader.dataset = dict(type='UnlabeledImageFolder', data_root=str(folder / 'images'),
                          extensions=['.jpg', '.png', '.tif', '.webp', '.gif'],
                          pipeline=[dict(type='LoadImage'), *loader.dataset.pipeline])
    config.dump(folder / 'config.py')
    return folder / 'config.py'


def train(config, work_dir, *options: str) -> tuple[int, str]:
    """Train; return status and output."""
    status, log = run_tool(work_dir.with_suffix('.log'), 'train.py', config, '--work-dir', work_dir,
                           '--cfg-options', *options)
    assert 'Traceback' not in log, log
    return status, log


def allow(number: int) -> str:
    """Return the option that allows so many images to be bad."""
    return f'bad_images.max_fraction={(number + 0.5) / NUM_IMAGES:.4f}'


@pytest.fixture(params=['loader', 'loader with a process', 'device'])
def place(request) -> list[str]:
    """Return the options that say where views are made, and by how many loader processes."""
    return [f'views={request.param.partition(" ")[0]}',
            f'train_dataloader.num_workers={int("process" in request.param)}']


def test_the_first_bad_image_ends_the_run_by_its_name(place, config, tmp_path):
    status, log = train(config, tmp_path / 'run', *place)
    last = log.strip().splitlines()[-1]
    assert status == 1 and last.startswith('error: cannot read image ')
    assert re.search(r'/images/([\w.]+): ', last)[1] in BAD
    assert not (tmp_path / 'run' / 'result.json').exists() and not list(tmp_path.glob('run/*.pth'))


def test_more_than_are_allowed_end_the_run(place, config, tmp_path):
    allowed = len(BAD) - 1
    status, log = train(config, tmp_path / 'run', *place, allow(allowed))
    last = log.strip().splitlines()[-1]
    assert status == 1 and f'{len(BAD)} of {NUM_IMAGES} training images cannot be read' in last
    assert f'allows {allowed}: the log names them' in last
    assert not (tmp_path / 'run' / 'result.json').exists()


def test_as_many_as_are_allowed_are_replaced_named_and_counted(place, config, tmp_path):
    status, log = train(config, tmp_path / 'run', *place, allow(len(BAD)))
    assert status == 0, log
    lines = [line for line in log.splitlines() if TAKEN in line]
    assert sorted(re.search(r'/images/([\w.]+): ', line)[1] for line in lines) == sorted(BAD)
    assert log.count(f'{len(BAD)} of {NUM_IMAGES} training images cannot be read; others are taken') == 1
    result = json.loads((tmp_path / 'run' / 'result.json').read_text())
    assert result['num_images'] == dict(train=NUM_IMAGES, train_unreadable=len(BAD))
    assert result['settings']['iterations'] == 10
    saved = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=False)['message_hub']['runtime_info']
    assert len(saved['unreadable_images']) == len(BAD)
