import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmsimclr.engine import BFloat16OptimWrapper
from mmsimclr.engine.optimizers import autocast, native_bfloat16
from mmsimclr.registry import OPTIM_WRAPPERS


def wrapper_of(model: nn.Module, **kwargs) -> BFloat16OptimWrapper:
    return BFloat16OptimWrapper(optimizer=torch.optim.SGD(model.parameters(), 0.1), **kwargs)


def model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(16, 4)


@pytest.mark.parametrize('enabled, native, dtype', [
    (True, False, torch.bfloat16), (False, True, torch.float32),
    ('auto', True, torch.bfloat16), ('auto', False, torch.float32)])
def test_forward_pass_is_in_bfloat16_where_enabled(monkeypatch, enabled, native, dtype):
    monkeypatch.setattr(autocast, 'native_bfloat16', lambda device: native)
    linear = model()
    with wrapper_of(linear, enabled=enabled).optim_context(linear):
        assert linear(torch.ones(2, 16)).dtype == dtype
    assert linear(torch.ones(2, 16)).dtype == torch.float32


def test_weights_and_gradients_stay_float32_and_close_to_the_exact_ones():
    exact, rounded = model(), model()
    inputs = torch.linspace(-1, 1, 32).view(2, 16)
    exact(inputs).square().sum().backward()
    wrapper = wrapper_of(rounded)
    with wrapper.optim_context(rounded):
        loss = rounded(inputs).float().square().sum()
    wrapper.backward(loss)
    assert rounded.weight.grad.dtype == torch.float32
    assert_close(rounded.weight.grad, exact.weight.grad, rtol=0.02, atol=0.02)
    assert not torch.equal(rounded.weight.grad, exact.weight.grad)


def test_gradients_are_accumulated_over_as_many_steps_as_asked_for():
    linear = model()
    before = linear.weight.detach().clone()
    wrapper = wrapper_of(linear, accumulative_counts=2)
    wrapper.initialize_count_status(linear, 0, 4)
    changed = []
    for _ in range(4):
        with wrapper.optim_context(linear):
            loss = linear(torch.ones(2, 16)).sum()
        wrapper.update_params(loss)
        changed.append(not torch.equal(linear.weight, before))
        before = linear.weight.detach().clone()
    assert changed == [False, True, False, True]


def test_accumulated_gradients_are_added_in_float32():
    """Each forward pass casts the weights anew, so that nothing is added up in bfloat16."""
    linear, wanted = model(), torch.zeros(4, 16, dtype=torch.float64)
    wrapper = wrapper_of(linear, accumulative_counts=128)         # a power of 2, by which no digit is lost
    wrapper.initialize_count_status(linear, 0, 128)
    for step in range(100):
        inputs = torch.randn(2, 16, generator=torch.Generator().manual_seed(step))
        with wrapper.optim_context(linear):
            loss = linear(inputs).float().square().sum()
        gradient, = torch.autograd.grad(loss, linear.weight, retain_graph=True)
        wanted += gradient
        wrapper.update_params(loss)
    assert_close(128 * linear.weight.grad.double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('enabled', ['yes', None, 'Auto'])
def test_unknown_setting_is_refused(enabled):
    with pytest.raises(ValueError, match="True, False or 'auto'"):
        wrapper_of(model(), enabled=enabled)


def test_unknown_devices_have_no_native_bfloat16_and_the_cpus_is_known(monkeypatch):
    assert not native_bfloat16('meta')
    for name, supported in (('_is_avx512_bf16_supported', False), ('_is_amx_tile_supported', True)):
        monkeypatch.setattr(torch.cpu, name, lambda supported=supported: supported, raising=False)
    assert native_bfloat16('cpu')
    monkeypatch.setattr(torch.cpu, '_is_amx_tile_supported', lambda: False, raising=False)
    assert not native_bfloat16('cpu')


def test_is_found_by_name():
    assert OPTIM_WRAPPERS.get('BFloat16OptimWrapper') is BFloat16OptimWrapper


def gradient(conv: nn.Conv2d, images: torch.Tensor, bfloat16: bool) -> torch.Tensor:
    conv.zero_grad()
    unused = [torch.full((size,), float('nan')) for size in (64, 256, 1024, 4096, 16384, 65536)]
    del unused                                          # memory that is given out again is not zero
    wrapper = wrapper_of(conv, enabled=bfloat16)
    with wrapper.optim_context(conv):
        loss = conv(images).float().square().sum()
    wrapper.backward(loss)
    return conv.weight.grad.clone()


@pytest.mark.parametrize('kernel, stride, side', [(3, 2, 1), (7, 4, 2), (5, 2, 1)])
def test_kernels_that_stick_out_of_tiny_maps_have_right_gradients(kernel, stride, side):
    """The last stage of a ResNet has such maps for views of 16 pixels; oneDNN's gradients were up to 1e34."""
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 32, kernel, stride, kernel // 2)
    images = torch.randn(8, 16, side, side)
    exact = gradient(conv, images, bfloat16=False)
    for _ in range(5):
        got = gradient(conv, images, bfloat16=True)
        assert_close(got, exact, rtol=0, atol=0.03 * float(exact.abs().max()))


def test_a_convolution_that_is_wrong_in_bfloat16_is_computed_in_float32_and_others_are_not():
    torch.manual_seed(0)
    pair = nn.ModuleList([nn.Conv2d(16, 16, 4, 4), nn.Conv2d(16, 16, 3, 2, 1)])
    images = torch.ones(4, 16, 8, 8)
    right = pair[0]._conv_forward
    pair[0]._conv_forward = lambda *args: right(*args) * (not torch.is_autocast_enabled('cpu'))
    exact, wrapper = pair[0](images).detach(), wrapper_of(pair)
    for _ in range(2):
        with wrapper.optim_context(pair):
            assert pair[1](images).dtype == torch.bfloat16
            assert_close(pair[0](images), exact, rtol=0, atol=0)


@pytest.mark.parametrize('shape', [(16, 16, 4, 4), (3, 16, 3, 2), (16, 32, 3, 1)])
def test_convolutions_are_right_in_bfloat16_or_computed_in_float32(shape):
    """Those from 16 channels to 16 by 4 x 4 kernels with a stride of 4 are wrong on CPUs with AMX."""
    torch.manual_seed(0)
    conv, images = nn.Conv2d(*shape), torch.randn(8, shape[0], 16, 16)
    exact = conv(images).detach()
    with wrapper_of(conv).optim_context(conv):
        assert_close(conv(images).float(), exact, rtol=0, atol=0.02 * float(exact.abs().max()))


class OneHeadAttention(nn.Module):
    """Attention of tokens [N, T, 8] to one another."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 8)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        rows = self.project(tokens)[:, None]
        return nn.functional.scaled_dot_product_attention(
            rows, rows, value=rows, attn_mask=torch.zeros(5, 5, dtype=rows.dtype))


@pytest.mark.parametrize('enabled', [True, False])
def test_attention_is_computed_in_float32_and_goes_on_as_it_was(enabled):
    torch.manual_seed(0)
    attention, tokens = OneHeadAttention(), torch.randn(2, 5, 8)
    exact = attention(tokens)
    with wrapper_of(attention, enabled=enabled).optim_context(attention):
        found = attention(tokens)
    assert found.dtype == (torch.bfloat16 if enabled else torch.float32)
    node = found.grad_fn.next_functions[0][0] if enabled else found.grad_fn
    assert node._saved_query.dtype == torch.float32
    assert_close(found.float(), exact, rtol=0.02, atol=0.02)
    found.float().sum().backward()
    assert attention.project.weight.grad.isfinite().all()
