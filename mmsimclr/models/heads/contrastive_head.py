"""The contrastive head: projections of views in, loss and metrics out."""

from collections.abc import Sequence
from itertools import combinations

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmsimclr.errors import InputError
from mmsimclr.models.losses.nt_xent_loss import check_temperature
from mmsimclr.registry import MODELS


@MODELS.register_module()
class ContrastiveHead(BaseModule):
    """Contrastive loss, accuracy and entropy of the projections of two or more views.

    Args:
        loss: Config of the loss, a module called as ``loss(view_1, view_2, temperature)``. If it has a
            method ``metrics`` with the same arguments, what that returns is logged too. If it has a method
            ``all_pairs(views, temperature)``, the views go there instead: it returns a dict with the ``loss``
            averaged over all pairs and the metrics of the first two views, for which it gathers once.
        temperature: Softmax temperature, dimensionless, > 0; None for a loss that has none, with
            ``has_temperature = False``, such as MarginTripletLoss.
    """

    def __init__(self, loss: dict | None = None, temperature: float | None = 0.1,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.loss_module = MODELS.build(loss or dict(type='mmsimclr.NTXentLoss'))
        name = type(self.loss_module).__name__
        if not getattr(self.loss_module, 'has_temperature', True):
            if temperature is not None:
                raise InputError(f'temperature must be None for {name}, which has none, got {temperature}; '
                                 'set model.head.temperature=None')
        else:
            check_temperature(temperature)
        self.temperature = temperature

    def loss(self, views: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the ``loss`` averaged over all pairs of views, and metrics such as ``contrastive_accuracy``.

        ``views`` are the projections of V >= 2 views, each float [N, D], rows aligned by image.
        """
        module, temperature = self.loss_module, self.temperature
        if getattr(module, 'all_pairs', None):
            metrics = module.all_pairs(views, temperature)
            loss = metrics.pop('loss')
        else:
            losses = [module(first, second, temperature) for first, second in combinations(views, 2)]
            loss = torch.stack(losses).mean()
            metrics = module.metrics(*views[:2], temperature) if hasattr(module, 'metrics') else {}
        return dict(loss=loss, **{f'contrastive_{name}': value for name, value in metrics.items()})
