"""SimCLR: two random views of an image, one encoder, one projection head, one loss."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmsimclr import distributed
from mmsimclr.encoders import build_backbone, feature_dim, last_features, pooled
from mmsimclr.errors import InputError, check_choice, check_int
from mmsimclr.models.algorithms.chunked import project_in_chunks
from mmsimclr.registry import MODELS, in_own_scope

MODES = ('tensor', 'loss', 'predict')


@MODELS.register_module()
class SimCLR(BaseModel):
    """A simple framework for contrastive learning of visual representations.

    Args:
        backbone, neck, head: The encoder f(.), any of :mod:`mmsimclr.encoders`, of whose maps the last is
            projected, the projection head g(.) and the contrastive head; each a config or a module. A config
            of the neck need not give ``in_channels``: one image shows them.
        data_preprocessor: Config of what moves and scales the views; :class:`ViewPreprocessor` by default.
        chunk_size: Images of a batch that go through the encoder at a time; None for all. Chunks need less
            memory, with the same negatives and gradient; see :func:`project_in_chunks` for their price.

    Example:
        >>> import torch, torchvision
        >>> from mmsimclr import NonLinearNeck, SimCLR
        >>> encoder = torchvision.models.resnet18()
        >>> encoder.fc = torch.nn.Identity()
        >>> model = SimCLR(encoder, NonLinearNeck(512, 512, 128))
        >>> losses = model.loss([torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)])
        >>> losses['loss'].backward()

    Source:
        Chen et al. 2020, https://arxiv.org/abs/2002.05709
    """

    def __init__(self, backbone: dict | nn.Module, neck: dict | nn.Module,
                 head: dict | nn.Module | None = None, data_preprocessor: dict | None = None,
                 chunk_size: int | None = None, init_cfg: dict | list | None = None) -> None:
        data_preprocessor = data_preprocessor or dict(type='mmsimclr.ViewPreprocessor')
        if isinstance(data_preprocessor, dict):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor, in_own_scope(init_cfg))
        self.chunk_size = None if chunk_size is None else check_int(chunk_size, 'chunk_size')
        self.backbone = backbone if isinstance(backbone, nn.Module) else build_backbone(backbone)
        if not isinstance(neck, nn.Module) and neck.get('in_channels') is None:
            channels = getattr(data_preprocessor, 'mean', torch.empty(3)).numel()
            neck = {**neck, 'in_channels': feature_dim(self.backbone, channels)}
        self.neck, self.head = (
            part if isinstance(part, nn.Module) else MODELS.build(part)
            for part in (neck, head or dict(type='mmsimclr.ContrastiveHead')))
        # Weights laid out as the images are, so that no convolution converts them at every step.
        self.to(memory_format=getattr(data_preprocessor, 'memory_format', torch.preserve_format))

    def forward(self, inputs: Tensor | Sequence[Tensor], data_samples: object = None,
                mode: str = 'tensor') -> tuple[Tensor, ...] | dict[str, Tensor] | list[BaseDataElement]:
        """Run the model in one of MMEngine's modes on images, float [N, 3, H, W], or a list of V such views.

        ``'tensor'``: the encoder's feature maps; ``'loss'``: a dict with the loss and what is logged;
        ``'predict'``: for each image its pooled ``feature`` [C] and its ``projection`` [D]. 'tensor' and
        'predict' take one view: of a list the first.
        """
        if mode == 'loss':
            return self.loss(inputs)
        check_choice(mode, 'mode', MODES)
        images = inputs if isinstance(inputs, Tensor) else inputs[0]
        return self.backbone(images) if mode == 'tensor' else self.predict(images)

    def loss(self, views: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return loss, contrastive accuracy and entropy of V views, each float [N, 3, H, W]."""
        if isinstance(views, Tensor) or len(views) < 2:
            raise InputError('the contrastive loss needs a list of at least 2 views, each '
                             '[N, 3, H, W]; put MultiView(num_views=2, ...) in the pipeline')
        if self.chunk_size is not None:
            # Before the encoder: ranks of more chunks than others would wait for them in its batch norms.
            distributed.check_equal_batch(len(views[0]))
        if len(sizes := {tuple(view.shape) for view in views}) > 1:
            given = ' and '.join(str(list(size)) for size in sorted(sizes))
            raise InputError('all views of an image must have the same size, because they go through the '
                             f'encoder together; got {given}')
        if self.chunk_size is not None and self.chunk_size < len(views[0]):
            return self.head.loss(project_in_chunks(self.project, views, self.chunk_size, self))
        # One forward pass, so that batch norm sees the statistics of all views together.
        return self.head.loss(self.project(torch.cat(list(views))).chunk(len(views)))

    def project(self, images: Tensor) -> Tensor:
        """Return the projections [M, D] of images, float [M, 3, H, W]."""
        return self.neck((last_features(self.backbone, images),))[0]

    def predict(self, images: Tensor) -> list[BaseDataElement]:
        """Return the pooled feature and the projection of each image."""
        last = last_features(self.backbone, images)
        rows = zip(pooled(last), self.neck((last,))[0], strict=True)
        return [BaseDataElement(feature=feature, projection=projection) for feature, projection in rows]
