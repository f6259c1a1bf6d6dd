"""SimCLR views of a whole batch on the device, and the packing of images for them."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from mmsimclr.errors import InputError, check_choice, check_int
from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import Transform, check_image, on_device
from mmsimclr.transforms.batch.color import adjust_batch, to_grey
from mmsimclr.transforms.batch.parameters import ViewParameters, draw_parameters, sample_seeds
from mmsimclr.transforms.batch.separable import FILTERS, blur_matrices, crop_matrices, filter_rows_and_columns
from mmsimclr.transforms.blur import TAPS_SIGMAS
from mmsimclr.transforms.operators import OPERATORS, Operator
from mmsimclr.transforms.policy import ViewPolicy
from mmsimclr.transforms.resize import resize

# Pixels of canvas worked on at a time if chunk_size is None: 128 canvases of 512 x 512.
_CHUNK_PIXELS = 128 * 512 ** 2


@TRANSFORMS.register_module()
class PackForDevice(Transform):
    """Pack the whole image, on a canvas of the same size for all images, for :class:`DeviceViews`.

    The result is ``dict(inputs=tensor [canvas_px, canvas_px, C], data_samples={…})``: the image in
    the upper left corner, its ``image_size`` (height, width), and ``seed``, ``epoch`` and ``sample_idx``,
    of which the views are a function. An image whose longer side exceeds the canvas is first reduced to it.
    An index without a seed, from another sampler than ours, gets one drawn from ``random``.

    Args:
        canvas_px: Side of the canvas. 512 holds a typical image of ImageNet, 500 x 375, in full.
    """

    def __init__(self, canvas_px: int = 512) -> None:
        self.canvas_px = check_int(canvas_px, 'PackForDevice.canvas_px')

    def transform(self, results: dict) -> dict:
        img = check_image(results['img'], 'PackForDevice')
        longer = max(img.shape[:2])
        if longer > self.canvas_px:
            height, width = (max(1, round(side * self.canvas_px / longer)) for side in img.shape[:2])
            img = resize(img, (height, width))
        height, width = img.shape[:2]
        canvas = np.zeros((self.canvas_px, self.canvas_px, img.shape[2]), img.dtype)
        canvas[:height, :width] = img
        index = results.get('sample_idx', 0)
        samples = {'sample_idx': int(index), 'epoch': getattr(index, 'epoch', 0),
                   'seed': index.seed if hasattr(index, 'seed') else random.getrandbits(63),
                   'image_size': torch.tensor((height, width))}
        if 'clipped' in results:
            samples['clipped'] = results['clipped']
        return {'inputs': torch.from_numpy(canvas), 'data_samples': samples}


@TRANSFORMS.register_module()
class DeviceViews(ViewPolicy):
    """Make the views of :class:`SimCLRView` for a batch, wherever the batch lies.

    The distributions are those of the CPU path; the numbers drawn are others. A view is a function of
    (seed, epoch, index) of its image alone, so it is the same in any batch, on any rank and after a resume.
    Nothing waits for the device.

    Args:
        num_views: Views of each image, >= 1.
        chunk_size: Images worked on at a time, >= 1, which bounds the memory: about 10 MB each at 224 pixels
            from a canvas of 512. None: 128 of that size, more of smaller ones.
        operators: Steps after the policy, or their configs: :class:`Rotate90`, :class:`Cutout`,
            :class:`GaussianNoise`, :class:`Sobel`, :class:`ChannelJitter` and :class:`ChannelDropout`.
        fused: Whether colours are made by one Triton kernel in the place of some hundred; on a GPU only.
        matmul: Precision of crops and blurs on a GPU: 'float32', or 'tf32', some hundredths of a grey level.
        **policy: Arguments of :class:`SimCLRView`; of its variants, only antialiased bilinear or bicubic
            crops and the colour operations of torchvision are here.
    """

    def __init__(self, num_views: int = 2, chunk_size: int | None = None,
                 operators: Sequence[dict | Operator] = (), fused: bool = False, matmul: str = 'float32',
                 **policy) -> None:
        super().__init__(**policy)
        crop, _, jitter, _, *blur = self.steps
        self.num_views = check_int(num_views, 'DeviceViews.num_views')
        self.chunk_size = None if chunk_size is None else check_int(
            chunk_size, 'DeviceViews.chunk_size')
        self.operators = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in operators]
        for step in self.operators:
            if type(step) not in OPERATORS:
                raise InputError('views on the device can have '
                                 f'{", ".join(kind.__name__ for kind in OPERATORS)} after the policy, got '
                                 f"{step!r}; make these views in the loader (views='loader')")
        for name, got, accepted in (
                ('interpolation', crop.interpolation, FILTERS), ('antialias', crop.antialias, (True,)),
                ('style', jitter.style, ('torchvision',)),
                ('additive_brightness', jitter.additive_brightness, (False,))):
            if got not in accepted:
                raise InputError(f'views on the device have {name} {" or ".join(map(repr, accepted))}, got '
                                 f"{got!r}; make these views in the loader (views='loader')")
        self.adjust_fused = None
        if fused:
            try:
                from mmsimclr.transforms.batch.fused_color import adjust_fused
            except ImportError as error:
                raise InputError('fused=True needs the package triton, which is not installed; fused=False '
                                 'makes the same colours') from error
            self.adjust_fused = adjust_fused
        self.matmul = check_choice(matmul, 'DeviceViews.matmul', ('float32', 'tf32'))
        self.interpolation = crop.interpolation
        self.size, _ = crop.size
        self.radius = 0
        for step in blur:
            self.radius = min(int(self.size * step.kernel_size_fraction) // 2,
                              int(np.ceil(TAPS_SIGMAS * step.sigma[1])))

    def __call__(self, images: Tensor, sizes: Tensor, seed: Tensor, epoch: Tensor,
                 index: Tensor) -> list[Tensor]:
        """Return ``num_views`` views, float32 [N, C, size, size] on the 0-255 scale, on the images' device.

        ``images`` are uint8 or float32 [N, H, W, C], each in the upper left corner of its canvas; ``sizes``
        their (height, width), int64 [N, 2]. Sizes, seeds, epochs and indices, int64 [N], lie on the CPU.
        """
        if images.dtype != torch.uint8 and any(step._needs_rgb for step in self.steps[2:4]):
            raise InputError('SimCLRView changes colours, which need 8-bit RGB: for other images give it '
                             'strength=0, grey_prob=0, and ChannelJitter after it')
        seeds = sample_seeds(*(values.numpy() for values in (seed, epoch, index)))
        parameters = draw_parameters(self, seeds, sizes.numpy(), self.num_views)
        height, width = sizes.amax(dim=0).tolist()
        images = images[:, :height, :width]                # beyond it the canvas is empty
        chunk_size = self.chunk_size or max(1, _CHUNK_PIXELS // max(height * width, self.size ** 2))
        chunks = []
        for start in range(0, len(images), chunk_size):
            stop = min(start + chunk_size, len(images))
            own = slice(start * self.num_views, stop * self.num_views)
            # MMEngine's step is inside of autocast already, and bfloat16 has no half grey levels.
            with torch.autocast(images.device.type, enabled=False), _matmul_in(self.matmul):
                made = self.render(images[start:stop], parameters[own])
                chunks.append(self._operate(made, seeds[start:stop]))
        # [N · V, h, C, w] -> V times [N, C, h, w]
        views = torch.cat(chunks).unflatten(0, (len(images), self.num_views)).transpose(2, 3)
        return list(views.unbind(dim=1))

    @torch.no_grad()
    def render(self, images: Tensor, parameters: ViewParameters) -> Tensor:
        """Return M = N · V views of images, [N, H, W, C]: float32 [M, size, C, size]."""
        images = images.transpose(2, 3).to(torch.float32, memory_format=torch.contiguous_format)
        views = self._crop(images, parameters)
        fused = self.adjust_fused and views.shape[2] == 3
        if fused:
            views = self.adjust_fused(views, parameters.order, parameters.factors, parameters.grey)
        else:
            views = adjust_batch(views, parameters.order, parameters.factors)
        grey = np.flatnonzero(parameters.grey)
        if len(grey) and not fused:
            rows = on_device(grey, views, torch.int64)
            views.index_copy_(0, rows, to_grey(views[rows]))
        blurred = np.flatnonzero(parameters.sigma_px)
        if len(blurred) and self.radius:
            rows = on_device(blurred, views, torch.int64)
            sigma_px = on_device(parameters.sigma_px[blurred], views)
            matrices = blur_matrices(sigma_px, self.size, self.radius).unsqueeze(1)
            views.index_copy_(0, rows, filter_rows_and_columns(views[rows], matrices, matrices))
        return views

    def _operate(self, views: Tensor, seeds: np.ndarray) -> Tensor:
        """Return views [N · V, h, C, w] of images with seeds [N] after the operators."""
        images = np.repeat(seeds, self.num_views).view(np.int64)
        numbers = np.tile(np.arange(self.num_views), len(seeds))
        for place, step in enumerate(self.operators):
            # Seeds for each view and step, of whose numbers the policy draws none.
            own = sample_seeds(images, numbers, np.full(len(images), place))
            views = step.apply_batch(views.transpose(1, 2), own).transpose(1, 2)
        return views

    def _crop(self, images: Tensor, parameters: ViewParameters) -> Tensor:
        top, left, height, width = on_device(parameters.boxes.T, images)
        flipped = on_device(parameters.flipped, images, torch.bool)
        rows = crop_matrices(top, height, self.size, images.shape[1], self.interpolation)
        columns = crop_matrices(left, width, self.size, images.shape[3], self.interpolation, flipped)
        rows, columns = (matrices.unflatten(0, (len(images), -1)) for matrices in (rows, columns))
        return filter_rows_and_columns(images, rows, columns).clamp_(0, 255)     # bicubic overshoots at edges


@contextmanager
def _matmul_in(precision: str) -> Iterator[None]:
    """Multiply matrices of float32 on GPUs in 'float32' or 'tf32'."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == 'tf32'
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
