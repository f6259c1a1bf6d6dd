"""The projection head in an OpenMMLab model's state dict."""

import re
from collections.abc import Mapping

from torch import Tensor

LAYER = re.compile(r'(fc|bn)(\d+)\.(weight|bias|running_mean|running_var|num_batches_tracked)')


def find_projection_head(state_dict: Mapping[str, Tensor], backbone_prefix: str
                         ) -> tuple[dict[str, tuple[str, Tensor]], dict[str, object]]:
    """Return the projection head that belongs to a backbone, if it is a ``NonLinearNeck``.

    Args:
        state_dict: All tensors of a model.
        backbone_prefix: Prefix of the encoder; the head is sought where ``backbone.`` turns into ``neck.``.

    Returns:
        By NonLinearNeck's key, the name in the state dict and the tensor; and the arguments of
        ``NonLinearNeck`` that the shapes show. Both are empty if there is no such head.
    """
    if not backbone_prefix.endswith('backbone.'):
        return {}, {}
    prefix = f'{backbone_prefix.removesuffix("backbone.")}neck.'
    names = {name.removeprefix(prefix): name for name in state_dict if name.startswith(prefix)}
    if 'fc0.weight' not in names or not all(map(LAYER.fullmatch, names)):
        return {}, {}
    num_layers = sum(key.startswith('fc') and key.endswith('.weight') for key in names)
    last = num_layers - 1
    if f'fc{last}.weight' not in names:
        return {}, {}
    head = {key: (name, state_dict[name]) for key, name in names.items()}
    first, final = head['fc0.weight'][1], head[f'fc{last}.weight'][1]
    affine = 'scale' if f'bn{last}.bias' not in names else True
    return head, {
        'in_channels': first.shape[1],
        'hid_channels': first.shape[0],
        'out_channels': final.shape[0],
        'num_layers': num_layers,
        'with_bias': num_layers > 1 and 'fc0.bias' in names,
        'with_last_bn': f'bn{last}.running_mean' in names,
        'with_last_bn_affine': affine if f'bn{last}.weight' in names else False,
        'with_last_bias': f'fc{last}.bias' in names,
    }
