"""Mixed precision in bfloat16, on CPUs as well as GPUs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmsimclr.errors import InputError
from mmsimclr.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """MMEngine's ``OptimWrapper`` with the forward pass in bfloat16 autocast.

    bfloat16 has float32's range and needs no loss scaling. For fp16 use MMEngine's ``AmpOptimWrapper``.
    ``enabled`` is True, False, or 'auto': where it is native; emulated it is slow.
    """

    def __init__(self, enabled: bool | str = True, **kwargs) -> None:
        super().__init__(**kwargs)
        if enabled not in (True, False, 'auto'):
            raise InputError(f"enabled must be True, False or 'auto', got {enabled!r}")
        self.enabled = enabled

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        device = next(model.parameters()).device.type
        enabled = native_bfloat16(device) if self.enabled == 'auto' else self.enabled
        with super().optim_context(model), torch.autocast(device, torch.bfloat16, enabled=enabled):
            yield


def native_bfloat16(device: str) -> bool:
    """Whether a device type ('cpu' or 'cuda') has instructions for bfloat16."""
    if device == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == 'cpu' and any(
        getattr(torch.cpu, name, lambda: False)()
        for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'))
