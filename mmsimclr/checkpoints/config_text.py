"""Input scale stated in the config text of OpenMMLab's checkpoints."""

import ast
from collections.abc import Mapping
from contextlib import suppress

from mmsimclr.checkpoints.encoder_weights import UNIT_RANGE, InputScale

MAX_NUMBER = 1_000_000                       # of a mean or deviation; nothing is near it


def stated_scale(meta: Mapping) -> InputScale | None:
    """Return the input scale stated by the config in ``meta['cfg']``; None if there is none.

    The text is parsed, never run. A preprocessor of OpenMMLab 1.x counts if it swaps BGR to RGB, as the
    self-supervised ones do. ``img_norm_cfg`` of 0.x counts if it says ``to_rgb``, or scales 0 to 1 as the
    self-supervised pipelines do. Anything else leaves the order of the channels open.
    """
    text = meta.get('cfg')
    if not isinstance(text, str):
        return None
    try:
        assigned = {target.id: node.value for node in ast.parse(text).body if isinstance(node, ast.Assign)
                    for target in node.targets if isinstance(target, ast.Name)}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    preprocessor = (_entries(_entries(assigned.get('model')).get('data_preprocessor'))
                    or _entries(assigned.get('data_preprocessor')))
    normalisation = preprocessor or _entries(assigned.get('img_norm_cfg'))
    mean, std = (_three_numbers(normalisation.get(name)) for name in ('mean', 'std'))
    if str(_literal(preprocessor.get('type'))).rpartition('.')[2] == 'ViewPreprocessor':
        return InputScale(mean or UNIT_RANGE.mean, std or UNIT_RANGE.std, stated=True)
    if not mean or not std:
        return None
    swaps = ('to_rgb', 'bgr_to_rgb') if preprocessor else ('to_rgb',)
    if not preprocessor and max(mean) <= 1:
        mean, std = (tuple(255 * value for value in values) for values in (mean, std))
    elif not any(_literal(normalisation.get(name)) is True for name in swaps):
        return None
    return InputScale(mean, std, stated=True)


def _entries(node: ast.expr | None) -> dict[str, ast.expr]:
    """Return the entries of ``dict(...)`` or ``{...}``; empty for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    if isinstance(node, ast.Dict):
        return {key.value: value for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return {}


def _literal(node: ast.expr | None) -> object:
    """Return the value of a literal, and the source of anything else."""
    try:
        return ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        with suppress(RecursionError):
            return ast.unparse(node)
        return None


def _three_numbers(node: ast.expr | None) -> tuple[float, float, float] | None:
    values = _literal(node)
    if not isinstance(values, list | tuple) or len(values) != 3:
        return None
    are_numbers = all(type(value) in (int, float) and abs(value) <= MAX_NUMBER for value in values)
    return tuple(map(float, values)) if are_numbers else None
