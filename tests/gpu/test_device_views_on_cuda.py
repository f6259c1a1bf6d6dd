"""Views made on a GPU: those of the CPU, without a wait. Skipped where there is none."""

import numpy as np
import pytest
import torch
from tiny_run import tiny_config
from torch.testing import assert_close
from torch.utils.data import default_collate

from mmsimclr.config import set_precision
from mmsimclr.datasets import InMemoryImages
from mmsimclr.engine import SampleIndex
from mmsimclr.models import ViewPreprocessor
from mmsimclr.runner import build_runner
from mmsimclr.transforms import Cutout, DeviceViews, GaussianNoise, PackForDevice, Rotate90, Sobel
from mmsimclr.transforms.batch import sample_seeds

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs an NVIDIA GPU')


def packed(count=24, canvas_px=128):
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(256, (60 + i, 128 - i, 3), dtype=torch.uint8, generator=generator).numpy()
              for i in range(count)]
    return default_collate([PackForDevice(canvas_px)({'img': img, 'sample_idx': SampleIndex(i, 1, 2)})
                            for i, img in enumerate(images)])


def make(views, batch, device):
    samples = batch['data_samples']
    return views(batch['inputs'].to(device), *(samples[key] for key in (
        'image_size', 'seed', 'epoch', 'sample_idx')))


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
def test_views_equal_the_cpus(interpolation):
    views, batch = DeviceViews(size=96, interpolation=interpolation, chunk_size=7), packed()
    for on_cpu, on_gpu in zip(make(views, batch, 'cpu'), make(views, batch, 'cuda'), strict=True):
        difference = (on_gpu.cpu() - on_cpu).abs()
        assert difference.mean() < 0.01                         # of 255 levels
        assert difference.flatten()[::7].quantile(0.999) < 0.5  # next to grey, the last digits decide the hue


@pytest.mark.parametrize('step', [
    Rotate90(), Cutout((0.2, 0.6)), GaussianNoise(prob=0.5), Sobel(0.5)], ids=repr)
def test_operators_equal_the_cpus(step):
    images = 255 * torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    seeds = sample_seeds(np.full(40, 3), np.full(40, 1), np.arange(40))
    found = step.apply_batch(images.cuda(), seeds)
    assert found.is_cuda
    assert_close(found.cpu(), step.apply_batch(images, seeds), rtol=0, atol=0.01)


@pytest.mark.parametrize('operators', [(), (Rotate90(), Cutout(), GaussianNoise(), Sobel())])
def test_nothing_waits_for_the_device(operators):
    views, batch = DeviceViews(size=32, operators=operators), packed()
    batch = {**batch, 'inputs': batch['inputs'].cuda()}
    make(views, batch, 'cuda')                                  # what is set up once
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        make(views, batch, 'cuda')
    finally:
        torch.cuda.set_sync_debug_mode('default')


def test_views_come_normalised_in_bfloat16_and_channels_last():
    settings = dict(views=dict(type='DeviceViews', size=32), channels_last=True)
    single = ViewPreprocessor(**settings).cuda()(packed(), training=True)['inputs']
    half = ViewPreprocessor(**settings, dtype='bfloat16').cuda()(packed(), training=True)['inputs']
    for view, rounded in zip(single, half, strict=True):
        assert rounded.is_cuda and rounded.is_contiguous(memory_format=torch.channels_last)
        assert_close(rounded, view.bfloat16())


def test_images_in_memory_lie_on_the_gpu_and_train(tmp_path):
    config = tiny_config(tmp_path, views='device')
    config.train_dataloader.pin_memory = True
    set_precision(config, 'bf16')
    runner = build_runner(config)
    runner.train()
    dataset = runner.train_dataloader.dataset
    assert isinstance(dataset, InMemoryImages) and dataset.images.is_cuda
    assert runner.iter == 2 and all(torch.isfinite(p).all() for p in runner.model.parameters())
