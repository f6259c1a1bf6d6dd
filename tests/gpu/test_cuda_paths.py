"""Paths that need a GPU, skipped if there is none."""

import copy

import pytest
import torch
from tiny_run import tiny_config

from mmsimclr.config import set_precision
from mmsimclr.engine import LARS
from mmsimclr.models import NonLinearNeck
from mmsimclr.models.losses import contrastive_metrics, nt_xent_loss
from mmsimclr.runner import build_runner

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs an NVIDIA GPU')


@pytest.mark.parametrize('dtype', ['bf16', 'fp16'])
def test_mixed_precision_trains(dtype, tmp_path):
    config = tiny_config(tmp_path)
    set_precision(config, dtype)
    runner = build_runner(config)
    runner.train()
    assert runner.iter == 2
    assert all(torch.isfinite(p).all() for p in runner.model.parameters())


def test_loss_gradient_and_metrics_equal_the_cpus():
    views = [torch.randn(37, 16, generator=torch.Generator().manual_seed(s), dtype=torch.float64)
             for s in (0, 1)]
    found = []
    for device in ('cpu', 'cuda'):
        first, second = (view.to(device).requires_grad_() for view in views)
        loss = nt_xent_loss(first, second, 0.2)
        loss.backward()
        metrics = contrastive_metrics(first.detach(), second.detach(), 0.2)
        found.append([t.detach().cpu() for t in (loss, first.grad, second.grad, *metrics.values())])
    for on_cpu, on_gpu in zip(*found, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-9, atol=1e-12)


def test_the_loss_does_not_wait_for_the_device():
    views = [torch.randn(48, 16, device='cuda', requires_grad=True) for _ in range(2)]
    for mode in ('default', 'error'):                           # the first sets up what is set up once
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode(mode)
        try:
            nt_xent_loss(*views, 0.2).backward()
            contrastive_metrics(*(view.detach() for view in views), 0.2)
        finally:
            torch.cuda.set_sync_debug_mode('default')


def test_lars_makes_the_cpus_steps_without_reading_from_the_device():
    torch.manual_seed(0)
    start = [torch.randn(8, 4), torch.randn(4), torch.zeros(3, 3)]
    gradients = [[torch.randn_like(p) for p in start] for _ in range(3)]
    found = []
    for device in ('cpu', 'cuda'):
        params = [p.clone().to(device).requires_grad_() for p in start]
        optimizer = LARS(params, lr=0.3, weight_decay=1e-4)
        for step in gradients:
            for param, gradient in zip(params, step, strict=True):
                param.grad = gradient.to(device)
            torch.cuda.set_sync_debug_mode('error' if device == 'cuda' else 'default')
            try:
                optimizer.step()
            finally:
                torch.cuda.set_sync_debug_mode('default')
        found.append([p.detach().cpu() for p in params])
    for on_cpu, on_gpu in zip(*found, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-5, atol=1e-7)


def test_a_head_without_last_shift_becomes_globally_normed():
    neck = NonLinearNeck(8, 8, 4, num_layers=3, with_last_bn_affine='scale')
    converted = torch.nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(neck)).cuda()
    assert isinstance(converted.bn2, torch.nn.SyncBatchNorm) and converted.bn2.bias is None
    features = torch.randn(16, 8)
    torch.testing.assert_close(converted.eval()((features.cuda(),))[0].cpu(), neck.eval()((features,))[0])
