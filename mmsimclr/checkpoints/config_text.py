"""How images were scaled, out of the config that OpenMMLab's checkpoints carry as text."""

import ast
from collections.abc import Mapping

from mmsimclr.checkpoints.encoder_weights import InputScale

# What a preprocessor does that states neither mean nor std, by the name of its class.
DEFAULTS = {'ViewPreprocessor': ((0., 0., 0.), (255., 255., 255.))}


def stated_scale(meta: Mapping) -> InputScale | None:
    """Return the scale that the config in a checkpoint's ``meta`` states; None if it states none.

    The text is parsed, never run. A preprocessor of OpenMMLab 1.x counts if it swaps BGR to RGB, as the
    self-supervised ones do, and ``img_norm_cfg`` of 0.x if it says ``to_rgb``, or scales 0 to 1 as its
    self-supervised pipelines do; anything else leaves the order of the channels open.

    Args:
        meta: ``meta`` of a checkpoint; the text is under ``'cfg'``.
    """
    text = meta.get('cfg')
    if not isinstance(text, str):
        return None
    try:
        assignments = {target.id: node.value for node in ast.parse(text).body if isinstance(node, ast.Assign)
                       for target in node.targets if isinstance(target, ast.Name)}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    model = _entries(assignments.get('model'))
    preprocessor = _entries(model.get('data_preprocessor')) or _entries(assignments.get('data_preprocessor'))
    if preprocessor:
        return _of_preprocessor(preprocessor)
    return _of_pipeline(_entries(assignments.get('img_norm_cfg')))


def _of_preprocessor(entries: Mapping[str, ast.expr]) -> InputScale | None:
    kind = str(_literal(entries.get('type'))).rpartition('.')[2]
    mean, std = _three(entries.get('mean')), _three(entries.get('std'))
    if kind in DEFAULTS:
        mean, std = mean or DEFAULTS[kind][0], std or DEFAULTS[kind][1]
    elif _literal(entries.get('bgr_to_rgb')) is not True and _literal(entries.get('to_rgb')) is not True:
        return None
    return InputScale(mean, std, stated=True) if mean and std else None


def _of_pipeline(entries: Mapping[str, ast.expr]) -> InputScale | None:
    mean, std = _three(entries.get('mean')), _three(entries.get('std'))
    if not mean or not std:
        return None
    if max(mean) <= 1:
        mean, std = (tuple(255 * value for value in values) for values in (mean, std))
        return InputScale(mean, std, stated=True)
    return InputScale(mean, std, stated=True) if _literal(entries.get('to_rgb')) is True else None


def _entries(node: ast.expr | None) -> dict[str, ast.expr]:
    """Return the entries of ``dict(...)`` or ``{...}``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    if isinstance(node, ast.Dict):
        return {key.value: value for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return {}


def _literal(node: ast.expr | None) -> object:
    try:
        return ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return ast.unparse(node) if node is not None else None


def _three(node: ast.expr | None) -> tuple[float, float, float] | None:
    values = _literal(node)
    if isinstance(values, list | tuple) and len(values) == 3 and all(
            type(value) in (int, float) for value in values):
        return tuple(map(float, values))
    return None
