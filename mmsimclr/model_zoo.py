"""Models of the zoo by name: ``mmsimclr.list_models()`` and ``mmsimclr.get_model(name)``."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mmengine.model import BaseModel

from mmsimclr.checkpoints import load_model
from mmsimclr.checkpoints.zoo import fetch_model
from mmsimclr.checkpoints.zoo_index import find_entry, model_entries
from mmsimclr.config import load_config
from mmsimclr.registry import MODELS


def list_models(pattern: str | None = None, pretrained: bool = False) -> list[str]:
    """Return the names of the models of the zoo, in the order of the metafile.

    Args:
        pattern: A shell pattern, e.g. ``'*_in1k'``; None for all.
        pretrained: Whether to leave out those without published weights.
    """
    return [entry.name for entry in model_entries()
            if (pattern is None or fnmatchcase(entry.name, pattern)) and (entry.urls or not pretrained)]


def get_model(name: str, pretrained: bool | str | Path = False,
              options: dict[str, Any] | None = None) -> BaseModel:
    """Build a model of the zoo from its config: encoder, projection head and loss.

    For the encoder alone, from a file of any library, see :func:`mmsimclr.checkpoints.build_encoder`.

    Args:
        name: A name of :func:`list_models`.
        pretrained: False for random weights; True to fetch the published ones; or a checkpoint of the whole
            model: a file, folder or address. Every tensor is filled, or it is an error.
        options: Values of the config to override, keys dotted: ``{'model.head.temperature': 0.2}``.

    Returns:
        The model, on the CPU and in eval mode.

    Raises:
        CheckpointError: If there is no such model, no weights of it were published, or the checkpoint does
            not fill it.
        ConfigError: If an option is unknown.
    """
    config = load_config(find_entry(name).config, options)
    checkpoint = fetch_model(name) if pretrained is True else pretrained
    model = MODELS.build(config.model).eval()
    if checkpoint is not False:
        load_model(model, checkpoint)
    return model
