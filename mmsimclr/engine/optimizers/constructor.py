"""Which parameters LARS scaling and weight decay skip: a rule on parameters, not on names."""

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmsimclr.registry import OPTIM_WRAPPER_CONSTRUCTORS

NORM_LAYERS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)


def is_skipped(module: nn.Module, name: str) -> bool:
    """Whether LARS scaling and weight decay skip a parameter: those of norms, and every bias.

    Args:
        module: The module that holds the parameter itself.
        name: The parameter's name in that module.

    Source:
        Chen et al. 2020, appendix B.9 (batch norm parameters and biases are left out of weight decay
        and of LARS); google-research/simclr, tf2/model.py, ``build_optimizer``.
    """
    return isinstance(module, NORM_LAYERS) or name == 'bias'


def skipped_names(model: nn.Module) -> list[str]:
    """Return the full names of the trainable parameters that the rule skips, in model order."""
    return [f'{prefix}.{name}'.lstrip('.') for prefix, module in model.named_modules()
            for name, parameter in module.named_parameters(recurse=False)
            if parameter.requires_grad and is_skipped(module, name)]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LARSOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Put norms and biases, wherever they are, in a group without weight decay and LARS scaling.

    A ``paramwise_cfg``, such as the OpenMMLab recipes' ``custom_keys={'bn': dict(decay_mult=0,
    lars_exclude=True), ...}``, is followed instead of the rule. Either way,
    parameters with equal settings share one group, so that the optimizer updates them together.
    """

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '',
                   is_dcn_module: int | float | None = None) -> None:
        """Add the parameters of a module tree to the list of groups."""
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
        """Build the optimizer wrapper, with one group for each distinct setting."""
        self._by_rule = not self.paramwise_cfg
        if self._by_rule:
            self.paramwise_cfg = dict(custom_keys={})        # MMEngine asks for groups only if not empty
        wrapper = super().__call__(model)
        _merge_equal_groups(wrapper.optimizer.param_groups)
        return wrapper


def _merge_equal_groups(groups: list[dict]) -> None:
    merged = []
    for group in groups:
        settings = {key: value for key, value in group.items() if key != 'params'}
        for other in merged:
            if {key: value for key, value in other.items() if key != 'params'} == settings:
                other['params'] = [*other['params'], *group['params']]
                break
        else:
            merged.append(group)
    groups[:] = merged
