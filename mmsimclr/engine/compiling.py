"""``torch.compile`` for the part of a step that it speeds up."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmengine.model import is_model_wrapper
from torch import nn


def compile_encoder(model: nn.Module, options: Mapping[str, object] | None = None) -> None:
    """Compile a model's encoder in place; its name, its parameters and their keys stay what they are.

    The encoder is nearly all of a step's computing. The loss has loops and, over ranks, communication, which
    a compiler only breaks into pieces; views, head and optimizer have fused operations of their own.

    Args:
        model: With a ``backbone``; bare, or wrapped for many processes.
        options: Arguments of ``torch.compile``, such as ``mode``.

    Raises:
        ValueError: If there is no backbone, the options are not torch's, or torch cannot compile on this
            machine.
    """
    inner = model.module if is_model_wrapper(model) else model
    options = dict(options or {})
    if not isinstance(getattr(inner, 'backbone', None), nn.Module):
        raise ValueError(f'compile: {type(inner).__name__} has no backbone to compile; compile=False trains '
                         'without it')
    device = next(inner.backbone.parameters()).device
    try:
        # What cannot be compiled at all would otherwise show only in the first step, from the depths.
        with torch.random.fork_rng(devices=[]):              # a run's random numbers stay what they are
            layer = nn.Linear(2, 2).to(device)
        torch.compile(layer, **options)(torch.zeros(2, 2, device=device)).sum().backward()
        inner.backbone.compile(**options)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        given = ', '.join(f'{name}={value!r}' for name, value in options.items()) or 'its defaults'
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f'compile: torch.compile with {given} does not work on this machine '
            f'({reason}); on a CPU it needs a C++ compiler (Debian: apt install '
            "g++), on a GPU the package triton; compile=False trains without it") from error
