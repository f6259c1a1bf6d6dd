"""tools/extract_features.py: a folder, a config, a kill, two processes, errors in one line."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from processes import ROOT, Tool, run_tool

from mmsimclr.features import Embedder
from mmsimclr.models import ResNet

NUM_IMAGES = 20


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    network = ResNet(depth=18, base_channels=16, stem='cifar')
    path = tmp_path_factory.mktemp('checkpoint') / 'encoder.pth'
    torch.save({'state_dict': {f'backbone.{name}': value for name, value in network.state_dict().items()}},
               path)
    return path


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('images')
    for number in range(NUM_IMAGES):
        path = root / 'xy'[number % 2] / f'{number:02}.png'
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return root


def test_a_folder_becomes_an_npz_of_features_paths_and_labels(images, checkpoint, tmp_path):
    out = tmp_path / 'feats.npz'
    status, log = run_tool(tmp_path / 'log', 'extract_features.py', images, checkpoint, '--out', out,
                           '--num-workers', 0, '--batch-size', 7, '--stages', 'pooled', 'layer2')
    assert status == 0, log
    assert '20 of 20 images' in log and 'images/s' in log and '120 of 120 tensors' in log
    assert f'{out}: pooled float32 [20, 128], layer2 float32 [20, 32], labels' in log
    paths = sorted(images.rglob('*.png'))
    with np.load(out) as archive:
        assert list(archive['paths']) == list(map(str, paths))
        assert archive['labels'].tolist() == [0] * 10 + [1] * 10
        want = Embedder(checkpoint, 'cpu')(paths)
        np.testing.assert_allclose(archive['pooled'], want, rtol=1e-4, atol=1e-6)


def test_a_config_gives_the_dataset_and_float16_halves_the_file(quickstart_config, checkpoint, tmp_path):
    arguments = (quickstart_config, checkpoint, '--num-workers', 0, '--cfg-options',
                 'train_dataloader.dataset.num_images=30')
    for dtype in ('float32', 'float16'):
        status, log = run_tool(tmp_path / 'log', 'extract_features.py', *arguments, '--out', tmp_path / dtype,
                               '--dtype', dtype, '--normalise')
        assert status == 0, log
    full, half = (np.load(tmp_path / dtype / 'pooled.npy') for dtype in ('float32', 'float16'))
    assert full.shape == (30, 128) and half.dtype == np.float16
    assert np.array_equal(half, full.astype(half.dtype))
    np.testing.assert_allclose(np.linalg.norm(full, axis=1), 1, rtol=1e-5)
    assert len(np.load(tmp_path / 'float32' / 'labels.npy')) == 30


def test_killed_and_repeated_it_goes_on_and_ends_in_the_same_bytes(images, checkpoint, tmp_path):
    # 96 pixels without a stride in the stem, to be slow enough to be killed.
    command = ['extract_features.py', images / 'x', checkpoint, '--crop-px', 96, '--batch-size', 1,
               '--num-workers', 0, '--out', 'feats.npz']
    bytes_of = {}
    for name in ('want', 'got'):
        (tmp_path / name).mkdir()
        if name == 'got':
            tool = Tool(tmp_path / 'killed.log', *command, cwd=tmp_path / name)
            tool.wait_for((tmp_path / name / 'feats.npz.partial' / 'manifest.json').exists)
            tool.kill()
            assert not (tmp_path / name / 'feats.npz').exists(), 'it was through before it was killed'
        status, log = Tool(tmp_path / 'log', *command, cwd=tmp_path / name).wait()
        assert status == 0, log
        bytes_of[name] = (tmp_path / name / 'feats.npz').read_bytes()
    assert bytes_of['got'] == bytes_of['want']


def test_interrupted_it_says_so_in_a_line_and_that_it_goes_on(images, checkpoint, tmp_path):
    tool = Tool(tmp_path / 'log', 'extract_features.py', images / 'x', checkpoint, '--crop-px', 96,
                '--batch-size', 1, '--num-workers', 1, '--out', tmp_path / 'feats')
    tool.wait_for((tmp_path / 'feats.partial' / 'manifest.json').exists)
    os.killpg(tool.process.pid, signal.SIGINT)                  # as a terminal does at Ctrl-C
    status, log = tool.wait()
    # If it was just starting a reader, torch's destructor complains after that line.
    assert status == 130 and 'KeyboardInterrupt' not in log, log
    assert 'interrupted; the same command goes on from here' in log.splitlines()
    assert (tmp_path / 'feats.partial').is_dir() and not (tmp_path / 'feats.lock').exists()


def test_two_processes_write_what_one_writes(images, checkpoint, tmp_path):
    tool = ROOT / 'tools' / 'extract_features.py'
    arguments = [images, checkpoint, '--out', tmp_path / 'two', '--batch-size', 3, '--num-workers', 0]
    done = subprocess.run(
        ['bash', ROOT / 'tools' / 'dist_run.sh', '2', tool, *map(str, arguments)], capture_output=True,
        text=True, timeout=150, env={**os.environ, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '',
                          'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('two: pooled float32 [20, 128]') == 1             # one process speaks
    arguments[3] = tmp_path / 'one'
    status, log = run_tool(tmp_path / 'log', 'extract_features.py', *arguments)
    assert status == 0, log
    for name in ('pooled.npy', 'paths.npy', 'labels.npy'):
        assert (tmp_path / 'two' / name).read_bytes() == (tmp_path / 'one' / name).read_bytes()


def test_dist_run_without_arguments_shows_its_usage():
    done = subprocess.run(['bash', ROOT / 'tools' / 'dist_run.sh', '2'], capture_output=True, text=True,
                          timeout=30)
    assert done.returncode == 2 and 'tools/dist_run.sh GPUS TOOL' in done.stderr


@pytest.mark.parametrize('case', ['no encoder', 'no images', 'bad image', 'other encoder'])
def test_what_a_user_can_get_wrong_is_one_line(case, images, checkpoint, tmp_path):
    source, file, message = images, checkpoint, ''
    if case == 'no encoder':
        file, message = tmp_path / 'absent.pth', 'error: no checkpoint at'
    elif case == 'no images':
        source, message = tmp_path / 'nothing', 'does not exist'
    elif case == 'bad image':
        source, message = tmp_path / 'bad', 'bad/1.png'
        source.mkdir()
        for number, content in enumerate((next(images.rglob('*.png')).read_bytes(), b'no image')):
            (source / f'{number}.png').write_bytes(content)
    else:
        message = 'holds features of something else: encoder.'
        status, log = run_tool(tmp_path / 'log', 'extract_features.py', images, checkpoint, '--out',
                               tmp_path / 'feats', '--num-workers', 0)
        assert status == 0, log
        changed = torch.load(checkpoint)
        changed['state_dict']['backbone.bn1.bias'][0] += 1
        file = tmp_path / 'changed.pth'
        torch.save(changed, file)
    status, log = run_tool(tmp_path / 'log', 'extract_features.py', source, file, '--out', tmp_path / 'feats',
                           '--num-workers', 0)
    assert status == 1 and message in log.splitlines()[-1] and 'Traceback' not in log, log
    assert log.splitlines()[-1].startswith('error: ')
