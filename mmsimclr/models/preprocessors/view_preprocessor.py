"""Preprocessing of a collated batch of views: normalised float tensors on the device."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmsimclr.errors import InputError, check_choice
from mmsimclr.registry import MODELS, TRANSFORMS

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


@MODELS.register_module()
class ViewPreprocessor(BaseDataPreprocessor):
    """Move views to the device, then scale: (x - mean) / std.

    The default turns uint8 into [0, 1], as in the paper. The OpenMMLab recipes use the ImageNet mean and
    deviation.

    Args:
        mean, std: Mean and deviation, > 0, of each channel, by default RGB, on the 0-255 scale.
        channels_last: Whether to lay images out channels-last, faster in bfloat16 on CPUs and recent GPUs.
        non_blocking: Whether the copy to the device may overlap with computing.
        views: Config of what makes the views of a training batch on the device, where the loader does not:
            :class:`mmsimclr.transforms.batch.DeviceViews`; ``views='device'`` in a config sets it.
        dtype: Type of the result: 'float32', or 'bfloat16' or 'float16' where the model computes in it.

    Attributes:
        shapes: Shape of each of the last batch's views.
    """

    shapes: Sequence[tuple[int, ...]] = ()

    def __init__(self, mean: Sequence[float] = (0., 0., 0.), std: Sequence[float] = (255., 255., 255.),
                 channels_last: bool = False, non_blocking: bool = True, views: dict | None = None,
                 dtype: str = 'float32') -> None:
        super().__init__(non_blocking=non_blocking)
        if not mean or len(mean) != len(std) or min(std) <= 0:
            raise InputError('mean and std must have a value for each channel, std > 0, got '
                             f'{list(mean)} and {list(std)}')
        self.dtype = DTYPES[check_choice(dtype, 'dtype', DTYPES)]
        self.views = TRANSFORMS.build(views) if views is not None else None
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, data: dict, training: bool = False) -> dict:
        """Return a batch with its ``inputs`` float on the device, and its ``data_samples`` as they are.

        ``inputs`` are a uint8 or float tensor [N, C, H, W], or a list of them, one for each view; a list of
        images [C, H, W] per view, as MMEngine's ``pseudo_collate`` makes, is stacked. For ``views``, made
        when ``training``, it is what ``PackForDevice`` makes, collated.
        """
        if not isinstance(data, Mapping) or 'inputs' not in data:
            raise InputError('a batch must be a dict with inputs: the last step of the pipeline must pack '
                             'them (PackViews, PackImage)')
        if training and self.views is not None:
            data = {**data, 'inputs': self._make_views(data)}      # what the views are made of stays here
        else:
            data = self.cast_data(data)
        inputs = data['inputs']
        if isinstance(inputs, Tensor) or (isinstance(inputs[0], Tensor) and inputs[0].ndim == 3):
            inputs = self._normalise(inputs)
        else:
            inputs = [self._normalise(view) for view in inputs]
            self.shapes = [tuple(view.shape) for view in inputs]
        return {**data, 'inputs': inputs, 'data_samples': data.get('data_samples')}

    def _make_views(self, data: dict) -> list[Tensor]:
        images, samples = data['inputs'], data.get('data_samples')
        channels = len(self.mean)
        if 'image_size' not in (samples or ()) or images.shape[-1] != channels:
            raise InputError(f'views on the device are made of whole images [N, H, W, {channels}] with their '
                             "image_size: end the pipeline with PackForDevice and collate with torch's "
                             "default_collate, or let views='device' in the config do both")
        # The seeds stay on the CPU, where the parameters are drawn.
        return self.views(self.cast_data(images), *(samples[key].cpu() for key in (
            'image_size', 'seed', 'epoch', 'sample_idx')))

    def _normalise(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        images = images if isinstance(images, Tensor) else torch.stack(list(images))
        if images.ndim != 4 or images.shape[1] != len(self.mean):
            raise InputError(f'images must be [N, {len(self.mean)}, H, W], got {list(images.shape)}')
        images = images.to(dtype=torch.float32, memory_format=self.memory_format)
        return (images - self.mean).div_(self.std).to(self.dtype)
