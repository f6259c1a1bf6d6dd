"""Mixed precision in bfloat16, on CPUs as well as GPUs."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmsimclr.errors import InputError
from mmsimclr.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """MMEngine's ``OptimWrapper`` with the forward pass in bfloat16 autocast.

    bfloat16 has float32's range and needs no loss scaling. For fp16 use MMEngine's ``AmpOptimWrapper``.
    ``enabled`` is True, False, or 'auto': where it is native; emulated it is slow. On a CPU, convolutions
    that oneDNN gets wrong in bfloat16 are found at the first step, and computed in float32; so is attention.
    """

    def __init__(self, enabled: bool | str = True, **kwargs) -> None:
        super().__init__(**kwargs)
        if enabled not in (True, False, 'auto'):
            raise InputError(f"enabled must be True, False or 'auto', got {enabled!r}")
        self.enabled = enabled
        self._checked = False

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        device = next(model.parameters()).device.type
        enabled = native_bfloat16(device) if self.enabled == 'auto' else self.enabled
        checks = [] if self._checked or not enabled or device != 'cpu' else [
            module.register_forward_hook(partial(_check, name)) for name, module in model.named_modules()
            if getattr(type(module), 'forward', None) is nn.Conv2d.forward]
        self._checked = True
        has_attention = enabled and device == 'cpu' and any(
            'Attention' in type(module).__name__ for module in model.modules())
        try:
            with super().optim_context(model), torch.autocast(device, torch.bfloat16, enabled=enabled), \
                    _AttentionInFloat32() if has_attention else nullcontext():
                yield
        finally:
            for check in checks:
                check.remove()


class _AttentionInFloat32(TorchFunctionMode):
    """Compute attention in float32: in bfloat16, torch 2.11 goes back through it slowly on CPUs.

    It makes oneDNN's primitives anew for each image and head. A step through four blocks of ViT-Tiny, on 64
    images of 64 patches, takes 0.36 s on one core, and 0.6 s without this.
    """

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not nn.functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        query = args[0] if args else kwargs['query']
        with torch.autocast('cpu', enabled=False):
            return func(*map(_as_float32, args), **{
                key: _as_float32(value) for key, value in kwargs.items()}).to(query.dtype)


def _as_float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def _check(name: str, conv: nn.Conv2d, args: tuple[Tensor], output: Tensor) -> Tensor | None:
    """Compare what a convolution gives with float32; return the right output where oneDNN's is wrong.

    Known of torch 2.11 on CPUs with AMX (tests/unit/engine/test_autocast.py): where a strided kernel at its
    first place sticks out at the far side, the gradient of its weights has memory that nobody wrote; and
    4 x 4 kernels with a stride of 4, from 16 channels to 16, give wrong numbers.
    """
    if torch.compiler.is_compiling() or not isinstance(conv.padding, tuple):
        return None
    sticks_out = any(
        stride > 1 and side + padding <= dilation * (kernel - 1)
        for side, kernel, stride, padding, dilation in zip(
            args[0].shape[2:], conv.kernel_size, conv.stride, conv.padding, conv.dilation, strict=True))
    with torch.no_grad():
        exact = _in_float32(conv, args[0][:4])
        is_off = (output[:4] - exact).abs().max() > 0.1 * exact.abs().max()
    if not (sticks_out or is_off):
        return None
    print_log(f'{name} is computed in float32: for {list(args[0].shape)} this CPU is wrong in bfloat16',
              'current', logging.WARNING)
    conv.forward = partial(_in_float32, conv)
    return _in_float32(conv, args[0])


def _in_float32(conv: nn.Conv2d, images: Tensor) -> Tensor:
    with torch.autocast('cpu', enabled=False):
        return nn.Conv2d.forward(conv, images.float())


def native_bfloat16(device: str) -> bool:
    """Whether a device type ('cpu' or 'cuda') has instructions for bfloat16."""
    if device == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == 'cpu' and any(
        getattr(torch.cpu, name, lambda: False)()
        for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'))
