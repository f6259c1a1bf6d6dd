"""``init_cfg=dict(type='Pretrained', ...)`` that loads everything or stops."""

from mmengine.model import update_init_info
from torch import nn

from mmsimclr.checkpoints.load import load_encoder, load_model
from mmsimclr.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module('Pretrained')
class PretrainedInit:
    """Initialise a module from a checkpoint, where MMEngine's initialiser of that name may load nothing.

    An encoder is filled by :func:`load_encoder`, whatever library wrote the file; a module with a
    ``backbone`` by :func:`load_model`, all of it.

    Args:
        checkpoint: A file, folder, address or model-zoo name.
        prefix: Which encoder to take where the file has several, e.g. ``'backbone.'`` or an address.
        map_location: MMEngine's; files are always read on the CPU and copied to where the module is.

    Raises:
        CheckpointError: On call, if the file does not fill the module; and for damaged or unsafe files.
    """

    def __init__(self, checkpoint: str, prefix: str | None = None, map_location: str = 'cpu') -> None:
        self.checkpoint = checkpoint
        self.prefix = prefix

    def __call__(self, module: nn.Module) -> None:
        """Fill the module."""
        if hasattr(module, 'backbone'):
            load_model(module, self.checkpoint)
        else:
            load_encoder(module, self.checkpoint, self.prefix)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=f'Pretrained: load from {self.checkpoint}')
