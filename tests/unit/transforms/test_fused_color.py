"""The colours of one Triton kernel, interpreted on the CPU, and compiled for a GPU that need not be there."""

import os
import subprocess
import sys

import pytest
import torch

from mmsimclr.transforms import DeviceViews
from mmsimclr.transforms.batch import device_views

pytest.importorskip('triton')
PARITY = '''
import itertools
import numpy, torch
from torch.utils.data import default_collate
from mmsimclr.engine import SampleIndex
from mmsimclr.transforms import DeviceViews, PackForDevice
from mmsimclr.transforms.batch import adjust_batch, to_grey
from mmsimclr.transforms.batch.fused_color import BLOCK, adjust_fused

rng = numpy.random.default_rng(0)
order = numpy.array(list(itertools.permutations(range(4))))             # every order of the four operations
images = 255 * torch.rand(len(order), 41, 3, 37, generator=torch.Generator().manual_seed(0))
assert images[0, :, 0].numel() > BLOCK
images[3], images[4, ..., 1, :] = 100, 0                                # no chroma; a channel that is nothing
factors = numpy.stack([*rng.uniform(0.2, 1.8, (3, len(order))), rng.uniform(-0.2, 0.2, len(order))], axis=1)
factors[5], factors[6] = (1, 1, 1, 0), (0, 1, 1, 0.1)                    # nothing; black
grey = numpy.arange(len(order)) % 3 == 1
want = adjust_batch(images.clone(), order, factors)
want[torch.from_numpy(grey)] = to_grey(want[torch.from_numpy(grey)])
got = adjust_fused(images.clone(), order, factors, grey)
torch.testing.assert_close(got, want, rtol=0, atol=0.01)                # of 255 grey levels
torch.testing.assert_close(got[5], to_grey(images[5:6])[0] if grey[5] else images[5], rtol=0, atol=0)
assert (got - images).abs().mean() > 10

batch = default_collate([PackForDevice(64)({
    'img': rng.integers(256, size=(40 + i, 50, 3), dtype=numpy.uint8), 'sample_idx': SampleIndex(i, 1, 2)})
    for i in range(6)])
made = [DeviceViews(size=24, fused=fused)(batch['inputs'], *(batch['data_samples'][key] for key in (
    'image_size', 'seed', 'epoch', 'sample_idx'))) for fused in (False, True)]
for plain, fused in zip(*made):
    torch.testing.assert_close(fused, plain, rtol=0, atol=0.01)
'''


@pytest.mark.slow
def test_the_kernel_makes_the_colours_of_the_operations_one_by_one():
    done = subprocess.run([sys.executable, '-c', PARITY], env={**os.environ, 'TRITON_INTERPRET': '1'},
                          capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='Triton compiles for NVIDIA on Linux')
def test_the_kernel_compiles_for_a_gpu():
    compiling = '''
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from mmsimclr.transforms.batch.fused_color import BLOCK, _jitter
kinds = dict(images='*fp32', orders='*i32', factors='*fp32', greys='*i32', pixels='i32', width='i32',
             BLOCK='constexpr')
source = ASTSource(fn=_jitter, signature=kinds, constexprs=dict(BLOCK=BLOCK))
print(len(triton.compile(source, target=GPUTarget('cuda', 90, 32)).asm['cubin']))
'''
    done = subprocess.run([sys.executable, '-c', compiling], capture_output=True, text=True, timeout=200,
                          env={key: value for key, value in os.environ.items() if key != 'TRITON_INTERPRET'})
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 1000


def test_without_triton_the_kernel_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, 'triton', None)
    monkeypatch.delitem(sys.modules, 'mmsimclr.transforms.batch.fused_color', raising=False)
    with pytest.raises(ValueError, match='fused=True needs the package triton'):
        DeviceViews(fused=True)
    DeviceViews()


def test_tf32_is_for_the_views_alone(monkeypatch):
    settings, filtered = [], device_views.filter_rows_and_columns

    def spied(*args):
        settings.append(torch.backends.cuda.matmul.allow_tf32)
        return filtered(*args)
    monkeypatch.setattr(device_views, 'filter_rows_and_columns', spied)
    places = torch.arange(4)
    for matmul in ('tf32', 'float32'):
        DeviceViews(size=8, matmul=matmul)(torch.zeros(4, 9, 9, 3, dtype=torch.uint8),
                                           torch.full((4, 2), 9), places, places, places)
        assert not torch.backends.cuda.matmul.allow_tf32
    assert settings[0] is True and settings[-1] is False
    with pytest.raises(ValueError, match=r'matmul must be one of.*tf33'):
        DeviceViews(matmul='tf33')
