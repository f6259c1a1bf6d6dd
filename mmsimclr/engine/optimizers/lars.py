"""LARS: layer-wise adaptive rate scaling, as the SimCLR code uses it."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from mmsimclr.errors import InputError
from mmsimclr.registry import OPTIMIZERS

HALF = (torch.float16, torch.bfloat16)
TRUST_RATIOS = ('official', 'openmmlab')
MOMENTUM_STYLES = ('classic', 'popular')
CACHED_VALUES = 2**18            # of a list of small tensors, 1 MiB in float32; a larger tensor goes alone
# torch adds entries of its own to a group's settings.
SETTINGS = ('lr', 'momentum', 'weight_decay', 'eta', 'nesterov', 'trust_ratio', 'momentum_style',
            'lars_exclude')


@OPTIMIZERS.register_module()
class LARS(Optimizer):
    """SGD with momentum whose step is scaled, tensor by tensor, by the norm of the weights.

    With w the weights, g the gradient, wd the weight decay and v the momentum buffer, one step is::

        d = g + wd * w
        v = momentum * v + lr * trust * d          # 'classic'; lr enters inside the buffer
        w = w - v                                  # with nesterov: w - (momentum * v + lr * trust * d)

    The trust ratio is ``eta * |w| / |d|`` in the official code and ``eta * |w| / (|g| + wd * |w| + 1e-8)`` in
    OpenMMLab's; 1 where ``|w|`` or the gradient's norm (that of d, of g) is 0. Norms stay on the device: a
    step never waits for it. Weights of half precision are updated in float32, and rounded. A parameter group
    may set its own ``weight_decay`` and ``lars_exclude=True``, which fixes trust at 1;
    :class:`LARSOptimWrapperConstructor` sets both for norms and biases.

    Args:
        params, lr, momentum, weight_decay, nesterov: As torch's SGD takes them.
        eta: Trust coefficient, > 0.
        trust_ratio: ``'official'`` or ``'openmmlab'``.
        momentum_style: ``'classic'``, or ``'popular'``: the buffer holds plain gradients and the trust ratio,
            which must be the official one, is that of the update (official code: ``classic_momentum=False``).
        lars_exclude: Default for groups that do not set it.

    Example:
        >>> import torch
        >>> from mmsimclr import LARS
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> optimizer = LARS(model.parameters(), lr=0.3, weight_decay=1e-6)
        >>> model(torch.ones(1, 2)).sum().backward()
        >>> optimizer.step()

    Source:
        You et al. 2017, https://arxiv.org/abs/1708.03888; google-research/simclr,
        tf2/lars_optimizer.py; MMSelfSup 1.x, ``mmselfsup.engine.optimizers.LARS``.
    """

    def __init__(self, params: Iterable, lr: float, momentum: float = 0.9, weight_decay: float = 0.0,
                 eta: float = 0.001, nesterov: bool = False, trust_ratio: str = 'official',
                 momentum_style: str = 'classic', lars_exclude: bool = False) -> None:
        super().__init__(params, dict(
            lr=lr, momentum=momentum, weight_decay=weight_decay, eta=eta, nesterov=nesterov,
            trust_ratio=trust_ratio, momentum_style=momentum_style, lars_exclude=lars_exclude))

    def add_param_group(self, param_group: dict) -> None:
        _check_hyper_parameters({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, default in self.defaults.items():
                group.setdefault(name, default)
            _check_hyper_parameters(group)

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Tensor | None:
        """Update every parameter that has a gradient; return the loss that a ``closure`` recomputes."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for (settings, device, _), params in self._buckets().items():
            for piece in _cached_together(params) if device.type == 'cpu' else [params]:
                self._update(piece, **dict(settings))
        return loss

    def _buckets(self) -> dict[tuple, list[Tensor]]:
        """Gather parameters of all groups that can be updated together."""
        buckets = defaultdict(list)
        for group in self.param_groups:
            settings = tuple((name, group[name]) for name in SETTINGS)
            for param in group['params']:
                if param.grad is None:
                    continue
                if param.grad.is_sparse:
                    raise InputError('LARS takes no sparse gradients: it needs norms of whole tensors')
                buckets[settings, param.device, param.dtype].append(param)
        return buckets

    def _update(self, params: list[Tensor], **settings) -> None:
        grads = [param.grad for param in params]
        for param in params:
            if 'momentum_buffer' not in self.state[param]:
                self.state[param]['momentum_buffer'] = torch.zeros_like(param)
        buffers = [self.state[param]['momentum_buffer'] for param in params]
        if params[0].dtype not in HALF:
            self._move(params, grads, buffers, **settings)
            return
        # In half precision a norm of 65,504 is infinite, and so is a trust ratio.
        weights, grads, moved = ([tensor.float() for tensor in tensors]
                                 for tensors in (params, grads, buffers))
        self._move(weights, grads, moved, **settings)
        torch._foreach_copy_(params, weights)
        torch._foreach_copy_(buffers, moved)

    @staticmethod
    def _move(params: list[Tensor], grads: list[Tensor], buffers: list[Tensor], *, lr: float, momentum: float,
              weight_decay: float, eta: float, nesterov: bool, trust_ratio: str, momentum_style: str,
              lars_exclude: bool) -> None:
        """Update weights and momentum buffers in place."""
        decayed = torch._foreach_add(grads, params, alpha=weight_decay) if weight_decay else grads

        if momentum_style == 'popular':
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, decayed)
            update = torch._foreach_add(decayed, buffers, alpha=momentum) if nesterov else buffers
            rates = _rates(lr, params, update, eta, lars_exclude)
            torch._foreach_sub_(params, torch._foreach_mul(update, rates))
            return

        if trust_ratio == 'openmmlab':
            rates = _rates(lr, params, grads, eta, lars_exclude, weight_decay, eps=1e-8)
        else:
            rates = _rates(lr, params, decayed, eta, lars_exclude)
        if weight_decay:
            torch._foreach_mul_(decayed, rates)
            step = decayed
        else:                                                   # the gradients, which stay as they are
            step = torch._foreach_mul(decayed, rates)
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, step)
        if nesterov:
            torch._foreach_add_(step, buffers, alpha=momentum)
        torch._foreach_sub_(params, step if nesterov else buffers)


def _cached_together(params: list[Tensor]) -> list[list[Tensor]]:
    """Split tensors into lists small enough for a processor's cache, which halved a step on ResNet-50."""
    pieces, room = [], 0
    for param in params:
        if param.numel() > room:
            pieces.append([])
            room = CACHED_VALUES
        pieces[-1].append(param)
        room -= param.numel()
    return pieces


def _rates(lr: float, params: list[Tensor], updates: list[Tensor], eta: float, exclude: bool,
           weight_decay: float = 0.0, eps: float = 0.0) -> float | list[Tensor]:
    """Return lr times the trust ratio of each tensor: eta * |w| / (|update| + weight_decay * |w| + eps)."""
    if exclude:
        return lr
    weight_norms = torch.stack(torch._foreach_norm(params))
    update_norms = torch.stack(torch._foreach_norm(updates))
    trust = eta * weight_norms / (update_norms + weight_decay * weight_norms + eps)
    defined = (weight_norms > 0) & (update_norms > 0)
    return list((lr * torch.where(defined, trust, 1.0)).unbind())


NUMBERS = int | float | Tensor


def _check_hyper_parameters(group: dict) -> None:
    for name, low, high in (('lr', 0, math.inf), ('momentum', 0, 1), ('weight_decay', 0, math.inf)):
        if not (isinstance(group[name], NUMBERS) and low <= group[name] < high):    # as NaN is not
            raise InputError(f'{name} must be in [{low}, {high}), got {group[name]}')
    if not (isinstance(group['eta'], NUMBERS) and 0 < group['eta'] < math.inf):
        raise InputError(f'eta must be > 0 and finite, got {group["eta"]} (SimCLR uses 0.001)')
    for name, accepted in (('trust_ratio', TRUST_RATIOS), ('momentum_style', MOMENTUM_STYLES),
                           ('lars_exclude', (True, False))):
        if group[name] not in accepted:
            raise InputError(f'{name} must be one of {", ".join(map(str, accepted))}, got {group[name]!r}')
    if group['momentum_style'] == 'popular' and group['trust_ratio'] == 'openmmlab':
        raise InputError("momentum_style='popular' goes with trust_ratio='official' only")
