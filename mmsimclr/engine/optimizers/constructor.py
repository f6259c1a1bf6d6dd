"""Parameter groups for LARS: norms and biases skip scaling and weight decay."""

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmsimclr.registry import OPTIM_WRAPPER_CONSTRUCTORS

NORM_LAYERS = (_NormBase, nn.GroupNorm, nn.LayerNorm, *([nn.RMSNorm] if hasattr(nn, 'RMSNorm') else []))


def is_skipped(module: nn.Module, name: str) -> bool:
    """Whether LARS scaling and weight decay skip a module's own parameter: those of norms, and every bias.

    Source:
        Chen et al. 2020, appendix B.9; google-research/simclr, tf2/model.py, ``build_optimizer``.
    """
    return isinstance(module, NORM_LAYERS) or name.endswith('bias')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LARSOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Put norms and biases, wherever they are, in a group without weight decay and LARS scaling.

    A ``paramwise_cfg``, such as the OpenMMLab recipes' ``custom_keys={'bn': dict(decay_mult=0,
    lars_exclude=True), ...}``, replaces the rule. Parameters with equal settings share one group, so that
    the optimizer updates them together.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self._by_rule = not paramwise_cfg
        # MMEngine asks for groups only if the paramwise_cfg is not empty.
        super().__init__(optim_wrapper_cfg, paramwise_cfg or dict(custom_keys={}))

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '',
                   is_dcn_module: int | float | None = None) -> None:
        if not self._by_rule:
            super().add_params(params, module, prefix, is_dcn_module)
            return
        groups = [dict(params=[]), dict(params=[], weight_decay=0.0, lars_exclude=True)]
        seen = set()
        for child in module.modules():
            for name, parameter in child.named_parameters(recurse=False):
                if parameter.requires_grad and id(parameter) not in seen:
                    seen.add(id(parameter))
                    groups[is_skipped(child, name)]['params'].append(parameter)
        params.extend(group for group in groups if group['params'])

    def __call__(self, model: nn.Module):
        wrapper = super().__call__(model)
        merged = []
        for group in wrapper.optimizer.param_groups:
            equal = next((other for other in merged
                          if {**other, 'params': None} == {**group, 'params': None}), None)
            if equal is None:
                merged.append(group)
            else:
                equal['params'] = [*equal['params'], *group['params']]
        wrapper.optimizer.param_groups[:] = merged
        return wrapper
