"""Any model of timm as an encoder."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import initialize
from torch import Tensor, nn

from mmsimclr.errors import InputError, MachineError, check_choice, did_you_mean
from mmsimclr.registry import MODELS, in_own_scope

POOLS = {'class': 'token', 'mean': 'avg'}          # as timm names them


@MODELS.register_module()
class TimmEncoder(nn.Module):
    """A model of timm by its name, without its classifier; it returns pooled features [N, C].

    Args:
        name: One of ``timm.list_models()``, e.g. ``'convnext_atto'``.
        pretrained: Whether to start from timm's published weights of that name, which are downloaded.
        tokens: Of a transformer ``'class'``, the class token, or ``'mean'`` of the other tokens; by default
            what timm takes.
        frozen_patch_embedding: Whether the patch embedding of a transformer stays as drawn, which makes its
            training stable (Chen, Xie and He 2021, An Empirical Study of Training Self-Supervised Vision
            Transformers, section 4.2).
        stages: Whether to return the maps of its stages too, before the pooled features; a model whose maps
            are all of one size, such as a plain ViT, has none.
        init_cfg: As of :class:`ResNet`.
        **arguments: Of timm's model: ``img_size=32, patch_size=4`` for a ViT, ``in_chans``, ...

    Attributes:
        img_size: The only side of images in pixels that it takes; None if it takes others too.
    """

    def __init__(self, name: str, pretrained: bool = False, tokens: str | None = None,
                 frozen_patch_embedding: bool = False, stages: bool = False,
                 init_cfg: dict | list[dict] | None = None, **arguments: Any) -> None:
        super().__init__()
        self.init_cfg = in_own_scope(init_cfg)
        try:
            import timm
        except ImportError as error:
            raise MachineError("TimmEncoder needs timm: pip install 'mmsimclr[timm]'") from error
        if not timm.is_model(name):
            raise InputError(f'timm has no model {name!r}{did_you_mean(name, timm.list_models())}')
        pool = {'global_pool': POOLS[check_choice(tokens, 'tokens', (*POOLS, None))]} if tokens else {}
        try:
            self.model = timm.create_model(name, pretrained=pretrained, num_classes=0, **pool, **arguments)
        except TypeError as error:
            raise InputError(f'timm does not build {name} with {", ".join(arguments)}: {error}') from error
        except Exception as error:                      # of whatever library fetches the weights
            if not pretrained:
                raise InputError(f'timm does not build {name}: {error}') from error
            reason = str(error).strip().partition('\n')[0]
            raise MachineError(
                f"timm's weights of {name} cannot be fetched: {reason}. Without a network, put the file here "
                "and start from it by init_cfg=dict(type='Pretrained', checkpoint=PATH)") from error
        self.settings = dict(type='mmsimclr.TimmEncoder', name=name, **({'tokens': tokens} if tokens else {}),
                             **arguments)
        sides = {info.get('reduction') for info in getattr(self.model, 'feature_info', ())}
        self.has_stages = stages and len(sides) > 1 and hasattr(self.model, 'forward_intermediates')
        patches, facts = getattr(self.model, 'patch_embed', None), self.model.pretrained_cfg
        sizes = getattr(patches, 'img_size', None) or facts['input_size'][-1:]
        self.img_size = sizes[0] if facts.get('fixed_input_size') else None
        if frozen_patch_embedding:
            if patches is None:
                raise InputError(f'{name} has no patch embedding to freeze: frozen_patch_embedding is for '
                                 'vision transformers')
            patches.requires_grad_(False)

    @staticmethod
    def arguments_for(stages: Sequence[str]) -> dict[str, Any]:
        """Return the arguments of an encoder that offers these stages."""
        return dict(stages=any(stage != 'pooled' for stage in stages))

    def init_weights(self) -> None:
        """Start from ``init_cfg`` where there is one; otherwise keep what timm drew."""
        if self.init_cfg:
            initialize(self, self.init_cfg)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return pooled features [N, C] of images, float [N, 3, H, W]; before them the maps of the stages."""
        if not self.has_stages:
            return self.model(x)
        last, maps = self.model.forward_intermediates(x, output_fmt='NCHW')
        return *maps, self.model.forward_head(last, pre_logits=True)
