"""Crop, resize, flip and blur as two matrix products: one over an image's rows, one over its columns."""

import torch
from torch import Tensor

# The cubic's free parameter; Pillow and torch take -0.5 where they antialias.
_CUBIC_A = -0.5


def filter_rows_and_columns(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return ``rows @ image @ columns^T`` of every channel, V results for each image.

    From images [N, H, C, W], rows [N, V, h, H] and columns [N, V, w, W] it makes [N · V, h, C, w], by plain
    batched products without a copy between them; the results of one image lie next to each other.
    """
    num_images, height, channels, width = images.shape
    num_views, new_height = rows.shape[1:3]
    mixed = rows.flatten(1, 2) @ images.reshape(num_images, height, channels * width)
    mixed = mixed.view(num_images * num_views, new_height * channels, width)
    return (mixed @ columns.flatten(0, 1).mT).unflatten(1, (new_height, channels))


def crop_matrices(starts: Tensor, lengths: Tensor, size: int, canvas: int, interpolation: str = 'bicubic',
                  mirrored: Tensor | None = None) -> Tensor:
    """Return matrices that cut a stretch out of a line of pixels and resize it, antialiased.

    The filter widens when shrinking and sees nothing outside of the stretch, as with torch's
    ``antialias=True``. The stretch begins at ``starts`` [M] and has ``lengths`` [M] pixels, >= 1; the result
    is turned around where ``mirrored`` [M]. The matrices are [M, size, canvas].
    """
    pixels = torch.arange(canvas, dtype=starts.dtype, device=starts.device) + 0.5
    places = torch.arange(size, dtype=starts.dtype, device=starts.device) + 0.5
    starts, lengths = starts[:, None, None], lengths[:, None, None]
    reduction = lengths / size
    offset = pixels - (starts + reduction * places[:, None])
    weights = FILTERS[interpolation](offset.abs() / reduction.clamp(min=1))
    weights = weights * ((pixels > starts) & (pixels < starts + lengths))
    weights = weights / weights.sum(dim=2, keepdim=True)
    return weights if mirrored is None else torch.where(mirrored[:, None, None], weights.flip(1), weights)


def blur_matrices(sigma_px: Tensor, size: int, radius: int) -> Tensor:
    """Return matrices [M, size, size] that blur a line of pixels, mirrored at its ends as torchvision does.

    ``sigma_px`` [M] are the deviations of the Gaussians, > 0; ``radius`` their taps to each side, < ``size``.
    """
    taps = torch.arange(-radius, radius + 1, device=sigma_px.device)
    weights = torch.exp(-0.5 * (taps / sigma_px[:, None]).square())
    weights = weights / weights.sum(dim=1, keepdim=True)
    target = (torch.arange(size, device=sigma_px.device)[:, None] + taps).abs()
    target = torch.where(target < size, target, 2 * (size - 1) - target)
    matrices = weights.new_zeros(len(sigma_px), size, size)
    shape = len(sigma_px), size, len(taps)
    return matrices.scatter_add_(2, target.expand(shape), weights[:, None].expand(shape))


def _cubic(distance: Tensor) -> Tensor:
    """Return Keys' cubic convolution kernel (1981) of a distance >= 0."""
    near = ((_CUBIC_A + 2) * distance - (_CUBIC_A + 3)) * distance * distance + 1
    far = _CUBIC_A * (((distance - 5) * distance + 8) * distance - 4)
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0))


FILTERS = {'bilinear': lambda distance: (1 - distance).clamp(min=0), 'bicubic': _cubic}
