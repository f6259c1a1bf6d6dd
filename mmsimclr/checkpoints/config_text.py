"""Config text of OpenMMLab's checkpoints, parsed and never run."""

import ast
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mmsimclr.checkpoints.encoder_weights import UNIT_RANGE, InputScale

MAX_NUMBER = 1_000_000                       # of a mean or deviation; nothing is near it


def read_config_text(text: object) -> dict[str, Any]:
    """Return the config that a text assigns, with names and calls as their source; empty if it is none."""
    if not isinstance(text, str):
        return {}
    try:
        return {target.id: _value(node.value) for node in ast.parse(text).body if isinstance(node, ast.Assign)
                for target in node.targets if isinstance(target, ast.Name)}
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        return {}


def stated_scale(meta: Mapping) -> InputScale | None:
    """Return the input scale stated by the config in ``meta['cfg']``; None if there is none.

    A preprocessor of OpenMMLab 1.x counts if it swaps BGR to RGB, as the self-supervised ones do.
    ``img_norm_cfg`` of 0.x counts if it says ``to_rgb``, or scales 0 to 1 as the self-supervised pipelines
    do. Anything else leaves the order of the channels open.
    """
    config = read_config_text(meta.get('cfg'))
    preprocessor = (_dict(_dict(config.get('model')).get('data_preprocessor'))
                    or _dict(config.get('data_preprocessor')))
    normalisation = preprocessor or _dict(config.get('img_norm_cfg'))
    mean, std = (_three_numbers(normalisation.get(name)) for name in ('mean', 'std'))
    if str(preprocessor.get('type')).rpartition('.')[2] == 'ViewPreprocessor':
        return InputScale(mean or UNIT_RANGE.mean, std or UNIT_RANGE.std, stated=True)
    if not mean or not std:
        return None
    swaps = ('to_rgb', 'bgr_to_rgb') if preprocessor else ('to_rgb',)
    if not preprocessor and max(mean) <= 1:
        mean, std = (tuple(255 * value for value in values) for values in (mean, std))
    elif not any(normalisation.get(name) is True for name in swaps):
        return None
    return InputScale(mean, std, stated=True)


def _value(node: ast.expr | None) -> Any:
    """Return the value of a literal or ``dict(...)``, and the source of anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords if keyword.arg}
    if isinstance(node, ast.Dict):
        return {key.value: _value(value) for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant)}
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Name) and node.id in ('inf', 'nan'):
        return float(node.id)
    try:
        return ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        with suppress(RecursionError):
            return ast.unparse(node)
        return None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _three_numbers(values: Any) -> tuple[float, float, float] | None:
    if not isinstance(values, list) or len(values) != 3:
        return None
    are_numbers = all(type(value) in (int, float) and abs(value) <= MAX_NUMBER for value in values)
    return tuple(map(float, values)) if are_numbers else None
