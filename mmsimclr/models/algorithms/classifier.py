"""Linear classifiers on an encoder that is frozen (a probe) or trained along (fine-tuning)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmsimclr.encoders import build_backbone, features_by_stage, require_stages
from mmsimclr.errors import InputError, check_choice
from mmsimclr.models.backbones.resnet import STAGE_INDICES
from mmsimclr.registry import MODELS, in_own_scope

MODES = ('tensor', 'loss', 'predict')


@MODELS.register_module()
class Classifier(BaseModel):
    """Classify images by one or several heads on one forward pass of the encoder; their losses are summed.

    No head sees another's loss, so on a frozen encoder each learns as it would alone.

    Args:
        backbone: Config of the encoder, which returns the maps of the heads' features.
        heads: Configs of the heads by name, such as :class:`LinearHead`; each has a ``feature``.
        frozen: Whether the encoder stays as it is: in eval mode, without gradients.
        neck: Config of the projection head, for heads on one of its layers; it belongs to the encoder.
        data_preprocessor: Config of what moves and scales the images; :class:`ViewPreprocessor` by default.
    """

    def __init__(self, backbone: dict, heads: Mapping[str, dict], frozen: bool = False,
                 data_preprocessor: dict | None = None, init_cfg: dict | list | None = None,
                 neck: dict | None = None) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='mmsimclr.ViewPreprocessor')),
                         in_own_scope(init_cfg))
        if not heads:
            raise InputError("heads must name at least one head, e.g. dict(pooled=dict(type='LinearHead'))")
        self.backbone = build_backbone(backbone)
        self.heads = nn.ModuleDict({name: MODELS.build(head) for name, head in heads.items()})
        self.neck = MODELS.build(neck) if neck else None
        self.frozen = frozen
        for name, head in self.heads.items():
            index = STAGE_INDICES.get(head.feature, STAGE_INDICES['pooled'])
            returned = self.backbone.out_indices if hasattr(self.backbone, 'stage_names') else (index,)
            if index not in returned:
                raise InputError(f'the head {name!r} needs the map of {head.feature!r}, and the encoder '
                                 f'returns {returned}; put {index!r} in its out_indices')
            layers = self.neck.layer_names if self.neck else []
            if head.feature not in (*STAGE_INDICES, *layers):
                raise InputError(f'the head {name!r} needs {head.feature!r}, and the projection head has '
                                 f'{", ".join(layers) or "no layer, since there is no neck"}')
        if frozen:
            self.encoder.requires_grad_(False)
        self.to(memory_format=getattr(self.data_preprocessor, 'memory_format', torch.preserve_format))

    @property
    def encoder(self) -> nn.Module:
        """The backbone, with the projection head where there is one."""
        return self.backbone if self.neck is None else nn.ModuleList([self.backbone, self.neck])

    def train(self, mode: bool = True) -> 'Classifier':
        """Switch the mode, except of a frozen encoder, whose norms keep their statistics."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, inputs: Tensor, data_samples: Mapping[str, Tensor] | None = None,
                mode: str = 'tensor') -> dict[str, Tensor] | list[BaseDataElement]:
        """Run the model in one of MMEngine's modes on preprocessed images, float [N, 3, H, W].

        ``'tensor'``: logits by head, each [N, num_classes]; ``'loss'``: losses in nats, and accuracies in
        percent, from ``gt_label``, int64 [N], or [N, num_classes] with 1 present, 0 absent, -1 where the
        image does not count; ``'predict'``: for each image, as mmpretrain's metrics take them, ``pred_score``
        [num_classes], the probabilities of the last head, ``pred_label`` and a known ``gt_label``.
        """
        check_choice(mode, 'mode', MODES)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = features_by_stage(self.backbone, inputs)
            if self.neck is not None:
                features |= self.neck.named_layers(features['pooled'])
        require_stages(self.backbone, features, [head.feature for head in self.heads.values()])
        logits = {name: head(features[head.feature]) for name, head in self.heads.items()}
        if mode == 'tensor':
            return logits
        labels = (data_samples or {}).get('gt_label')
        if mode == 'loss':
            return self._losses(logits, labels)
        scores = list(logits.values())[-1].softmax(dim=1)
        predictions = [BaseDataElement(pred_score=row, pred_label=row.argmax().view(1)) for row in scores]
        if labels is not None:
            for prediction, label in zip(predictions, labels, strict=True):
                prediction.gt_label = label.view(1)
        return predictions

    @staticmethod
    def _losses(logits: Mapping[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        losses = {}
        for name, rows in logits.items():
            if labels.ndim == 2:                 # summed over the classes that an image counts for
                each = F.binary_cross_entropy_with_logits(
                    rows, labels.clamp_min(0).to(rows.dtype), reduction='none')
                losses[f'loss_{name}'] = (each * (labels >= 0)).sum() / len(rows)
            else:
                losses[f'loss_{name}'] = F.cross_entropy(rows, labels)
                losses[f'accuracy_{name}'] = 100 * (rows.argmax(dim=1) == labels).float().mean()
        return losses
