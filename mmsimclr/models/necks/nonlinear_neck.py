"""The projection head g(.) of SimCLR."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmsimclr.errors import InputError, check_choice, check_int
from mmsimclr.models.backbones.resnet import build_norm
from mmsimclr.registry import MODELS

MAX_LAYERS = 100                # more than anybody trains; a slip of the pen would build for hours
NORMS = {'BN': nn.BatchNorm1d, 'BN1d': nn.BatchNorm1d, 'SyncBN': nn.SyncBatchNorm}


@MODELS.register_module()
class NonLinearNeck(BaseModule):
    """fc-norm, then (num_layers - 1) times relu-fc-norm, on globally average-pooled features.

    Arguments and state-dict keys (``fc0.weight``, ``bn0.weight``, ``fc1.weight``, ...) are those of
    MMSelfSup, so that its published checkpoints load. The head of the official code is
    ``num_layers=3, hid_channels=in_channels, with_last_bn_affine='scale'``.

    Args:
        in_channels, hid_channels, out_channels: Width of the features, which :class:`SimCLR` finds where a
            config gives none; of the hidden layers, by default the same; of the projection.
        num_layers: Number of fully connected layers; 0 is the identity, 1 a linear projection.
        with_bias, with_last_bias: Whether the hidden fc layers, and whether the last one has a bias.
        with_last_bn: Whether a norm follows the last fc.
        with_last_bn_affine: Affine part of that norm: True (scale and shift), False (neither), or
            ``'scale'`` (gamma without beta).
        with_avg_pool: Whether to average [N, C, H, W] over H and W first.
        norm_cfg: Norm of the layers, ``dict(type=...)`` plus its arguments.

    Example:
        >>> import torch
        >>> from mmsimclr import NonLinearNeck
        >>> projection, = NonLinearNeck(512, 512, 128)((torch.rand(4, 512),))
        >>> projection.shape
        torch.Size([4, 128])

    Source:
        Chen et al. 2020, section 2.1; google-research/simclr, tf2/model.py, ``ProjectionHead``.
    """

    def __init__(self, in_channels: int | None = None, hid_channels: int | None = None,
                 out_channels: int = 128, num_layers: int = 2,
                 with_bias: bool = False, with_last_bn: bool = True, with_last_bn_affine: bool | str = True,
                 with_last_bias: bool = False, with_avg_pool: bool = True, norm_cfg: dict | None = None,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        if in_channels is None:
            raise InputError("in_channels must be the length of the encoder's features; a config of SimCLR "
                             'may leave it out')
        hid_channels = hid_channels or in_channels
        for name, width in (('in_channels', in_channels), ('hid_channels', hid_channels),
                            ('out_channels', out_channels)):
            check_int(width, name)
        check_int(num_layers, 'num_layers', 0, MAX_LAYERS)
        check_choice(with_last_bn_affine, 'with_last_bn_affine', (True, False, 'scale'))
        norm_cfg = norm_cfg or dict(type='BN1d')

        self.num_layers = num_layers
        self.with_avg_pool = with_avg_pool
        self.relu = nn.ReLU(inplace=True)
        widths = [in_channels, *[hid_channels] * (num_layers - 1), out_channels]
        for i in range(num_layers):
            last = i == num_layers - 1
            bias = with_last_bias if last else with_bias
            self.add_module(f'fc{i}', nn.Linear(widths[i], widths[i + 1], bias=bias))
            if not last or with_last_bn:
                affine = with_last_bn_affine if last else True
                norm = build_norm(norm_cfg, widths[i + 1], NORMS, affine=bool(affine))
                if affine == 'scale':
                    norm.register_parameter('bias', None)
                self.add_module(f'bn{i}', norm)

    def forward(self, x: Sequence[Tensor]) -> tuple[Tensor]:
        """Project features: one map [N, C, H, W], or [N, C] if already pooled, in a tuple, to ([N, D],)."""
        if len(x) != 1:
            raise InputError(f'NonLinearNeck projects one feature map, got {len(x)}; set the '
                             "backbone's out_indices to its last stage only")
        return (self.layers(x[0])[-1],)

    def layers(self, x: Tensor) -> list[Tensor]:
        """Return each hidden layer behind its ReLU, [N, hid_channels], and last the projection, [N, D].

        ``x`` is a map [N, C, H, W], or [N, C] if already pooled.
        """
        if self.with_avg_pool and x.ndim == 4:
            x = x.mean(dim=(2, 3))                                   # [N, C]
        x = x.flatten(1)
        outputs = []
        for i in range(self.num_layers):
            x = getattr(self, f'fc{i}')(x)
            norm = getattr(self, f'bn{i}', None)
            if norm is not None:
                x = norm(x)
            if i < self.num_layers - 1:
                x = self.relu(x)
            outputs.append(x)
        return outputs or [x]

    def named_layers(self, x: Tensor) -> dict[str, Tensor]:
        """Return the rows of :meth:`layers` by name: ``projection.hidden1``, ..., and ``projection``."""
        return dict(zip(self.layer_names, self.layers(x), strict=True))

    @property
    def layer_names(self) -> list[str]:
        """Names of :meth:`named_layers`."""
        return [*(f'projection.hidden{number}' for number in range(1, self.num_layers)), 'projection']
