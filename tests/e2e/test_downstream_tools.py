"""The tools on detection and segmentation: nothing is installed, several ranks agree, pictures are drawn."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from PIL import Image

from mmsimclr.config import load_config
from mmsimclr.datasets import Shapes
from mmsimclr.models import ResNet
from mmsimclr.prepare.shapes import write_coco, write_voc
from mmsimclr.protocols import Benchmark, EncoderSource
from mmsimclr.protocols.downstream import FineTuning
from mmsimclr.reporting.predictor import Predictor

pytest.importorskip('mmdet', reason='needs mmdet (tools/install.sh full)')
pytest.importorskip('mmseg', reason='needs mmseg (tools/install.sh full)')

FASTER_RCNN = 'configs/benchmarks/detection/faster-rcnn-c4_1xb8-steplr-400_shapes.py'
MASK_RCNN = 'configs/benchmarks/detection/mask-rcnn-fpn_1xb8-steplr-400_shapes.py'
FCN = 'configs/benchmarks/segmentation/fcn-d8_1xb16-polylr-400_shapes.py'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    # 7, so that one of two ranks tests an image more than there are.
    splits = {split: Shapes(num_images=number, image_size=64, split='train', seed=number, objects='multi')
              for split, number in (('train', 6), ('val', 7))}
    root = tmp_path_factory.mktemp('data')
    return dict(voc=write_voc(splits, root / 'voc'), coco=write_coco(splits, root / 'coco'))


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('encoder') / 'encoder.pth'
    torch.manual_seed(0)
    torch.save(ResNet(depth=18, base_channels=4, stem='cifar', zero_init_residual=False).state_dict(), path)
    return path


@pytest.fixture
def environment(root, tmp_path):
    """Return an environment in which every call of pip leaves a mark and fails."""
    blocked, mark = tmp_path / 'blocked', tmp_path / 'pip_was_called'
    (blocked / 'pip').mkdir(parents=True)
    (blocked / 'pip/__init__.py').write_text(f'open({str(mark)!r}, "w").close()\nraise SystemExit(9)\n')
    for name in ('pip', 'pip3'):
        (blocked / name).with_suffix('.sh').write_text(f'#!/bin/sh\ntouch {mark}; exit 9\n')
        (blocked / name).with_suffix('.sh').chmod(0o755)
        if name == 'pip3':
            os.symlink(blocked / 'pip3.sh', blocked / 'pip3')
    return dict(os.environ, PATH=f'{blocked}:{os.path.dirname(sys.executable)}:{os.environ["PATH"]}',
                PYTHONPATH=f'{blocked}:{root}', PIP_NO_INDEX='1', OMP_NUM_THREADS='1',
                PYTHON=sys.executable), mark


def options(kind, data):
    values = {f'{part}_dataloader.{key}': value for part in ('train', 'test') for key, value in (
        ('num_workers', 0), ('persistent_workers', False), ('batch_size', 1 + (part == 'train')),
        ('dataset.data_root', data[kind]))}
    if kind == 'coco':
        values['test_evaluator.ann_file'] = f'{data[kind]}/annotations/instances_val2017.json'
    return ['--cfg-options', 'train_cfg.max_iters=2', *(f'{key}={value}' for key, value in values.items())]


def run(words, root, environment, status=0):
    done = subprocess.run([str(word) for word in words], cwd=root, env=environment, errors='surrogateescape',
                          capture_output=True, timeout=280)
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def test_detection_runs_without_pip_and_is_drawn(root, data, checkpoint, environment, tmp_path):
    environment, mark = environment
    work_dir = tmp_path / 'run'
    run([sys.executable, 'tools/benchmark.py', MASK_RCNN, checkpoint, '--work-dir', work_dir,
         *options('coco', data)], root, environment)
    result = json.loads((work_dir / 'result.json').read_text())
    assert result['tensors_loaded'] == [120, 120] and 'mask_ap_percent' in result['metrics']
    drawn = run([sys.executable, 'tools/predict.py', MASK_RCNN, work_dir, data['coco'] / 'val2017',
                 '--out', tmp_path / 'out'], root, environment)
    pictures = sorted((tmp_path / 'out').iterdir())
    assert len(pictures) == 7 and all(str(picture) in drawn.stdout for picture in pictures)
    assert Image.open(pictures[0]).size == (512, 512), 'enlarged, so that names can be read'
    assert not mark.exists(), 'something was to be installed'

    folder = tmp_path / 'odd names'
    folder.mkdir()
    photo = next((data['coco'] / 'val2017').iterdir()).read_bytes()
    names = [b'a b.jpg', 'Ä.jpg'.encode(), b'\xff.jpg']
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(photo)
    (folder / 'half.jpg').write_bytes(photo[:len(photo) // 2])
    (folder / 'notes.txt').write_text('no image')
    done = run([sys.executable, 'tools/predict.py', MASK_RCNN, work_dir, folder, '--out', folder], root,
               environment, status=1)
    for name in names:
        assert (folder / os.fsdecode(name)).with_suffix('.png').is_file()
    *_, passed_over, total = done.stderr.strip().splitlines()
    assert passed_over.startswith('passed over: ') and 'half.jpg is not an image' in passed_over
    assert total == '1 of 4 images could not be read'


def test_segmentation_on_two_ranks_tests_every_image_once(root, data, checkpoint, environment, tmp_path):
    environment, mark = environment
    run(['bash', 'tools/dist_benchmark.sh', FCN, checkpoint, 2, '--work-dir', tmp_path / 'run',
         *options('voc', data), 'optim_wrapper.optimizer.lr=1e-4'], root, environment)
    result = json.loads((tmp_path / 'run/result.json').read_text())
    assert result['settings']['ranks'] == 2 and result['settings']['global_batch'] == 4
    assert result['num_images'] == dict(train=6, test=7)
    assert not mark.exists(), 'something was to be installed'

    # Each rank has statistics of batch norm of its own; what both tested is what was saved.
    predictor = Predictor(load_config(root / FCN), tmp_path / 'run', device='cpu')
    with np.load(tmp_path / 'run/per_image.npz') as kept:
        assert len(kept['images']) == len(set(kept['images'])) == 7
        for name, counts in zip(kept['images'], kept['predicted'], strict=True):
            labels = predictor.predict(data['voc'] / 'JPEGImages' / str(name)).pred_sem_seg.data
            np.testing.assert_allclose(np.bincount(labels.ravel(), minlength=11), counts, atol=4)
            assert (counts > 0).sum() > 1, 'one class everywhere would agree by chance'


def test_detection_on_two_ranks_measures_what_one_process_measures(root, data, checkpoint, environment,
                                                                   tmp_path):
    environment, _ = environment
    run(['bash', 'tools/dist_benchmark.sh', FASTER_RCNN, checkpoint, 2, '--work-dir', tmp_path / 'run',
         *options('voc', data), 'model.test_cfg.rcnn.score_thr=0.01'], root, environment)
    result = json.loads((tmp_path / 'run/result.json').read_text())
    assert result['settings']['ranks'] == 2 and result['num_images'] == dict(train=6, test=7)

    folder, source = tmp_path / 'alone', EncoderSource(str(checkpoint))
    config = load_config(root / FASTER_RCNN, {'data_root': str(data['voc'])}, folder)
    for loader in (config.train_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=1)
    config.model.test_cfg.rcnn.score_thr = 0.01
    config.load_from = str(next((tmp_path / 'run').glob('*.pth')))
    with DefaultScope.overwrite_default_scope('mmdet'):
        runner = FineTuning.build(Benchmark(source, config, folder, tmp_path, device='cpu'), config)
        metrics = runner.test()
    assert metrics == pytest.approx(result['metrics'], abs=1e-4)
    rows = runner.test_loop.evaluator.metrics[0].rows
    with np.load(tmp_path / 'run/per_image.npz') as kept:
        assert sorted(kept['images']) == sorted(rows['images']) and len(kept['images']) == 7
        for number, name in enumerate(kept['images']):
            mine, alone = kept['image'] == number, rows['image'] == list(rows['images']).index(name)
            assert mine.any()
            for key in ('boxes', 'scores', 'labels'):
                np.testing.assert_allclose(kept[key][mine], rows[key][alone], rtol=1e-4, atol=1e-4)


def test_the_check_stops_at_what_is_wrong_and_trains_nothing(root, data, environment, tmp_path):
    environment, _ = environment
    words = [sys.executable, 'tools/benchmark.py', FCN, '--check', '--work-dir', tmp_path / 'run',
             *options('voc', data)]
    assert 'test: 7 images' in run(words, root, environment).stdout
    path = data['voc'] / 'SegmentationClass/000001.png'
    Image.new('L', (64, 60)).save(path)
    done = run(words, root, environment, status=1)
    assert done.stderr.strip().splitlines()[-1].startswith(f'error: {path} is 64x60')
    assert not (tmp_path / 'run').exists()
