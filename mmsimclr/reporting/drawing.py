"""Objects and classes drawn on an image, with names that can be read on images of any size."""

import colorsys
import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib import get_data_path
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

LEAST_SIDE_PX = 480                          # of the longer side; smaller images are enlarged to it
OPACITY = 0.5
BACKGROUND = 'background'
GOLDEN_RATIO = (5**0.5 - 1) / 2

Colour = tuple[int, int, int]


def draw_objects(pixels: ndarray, boxes: ndarray, scores: ndarray, labels: ndarray, classes: Sequence[str],
                 colours: Sequence[Colour], masks: ndarray | None = None) -> Image.Image:
    """Draw detections, the surest on top, each with its class and score, on the image, enlarged if small.

    Args:
        pixels: The image, RGB, uint8 [H, W, 3].
        boxes: x1, y1, x2, y2 in pixels, float [n, 4].
        scores: In [0, 1], float [n].
        labels: Numbers in ``classes``, int [n].
        classes: Names.
        colours: A colour for each class.
        masks: Pixels of the objects, bool [n, H, W].
    """
    image, factor, font = _canvas(pixels)
    order = np.argsort(scores, kind='stable')
    found = [(f'{classes[labels[i]]} {scores[i]:.2f}', colours[labels[i]]) for i in order]
    corners = torch.from_numpy(boxes[order]) * factor
    if found and masks is not None:
        surest_first = _enlarge(torch.from_numpy(masks[order[::-1]]), factor)
        surest_first &= surest_first.cumsum(dim=0) == 1         # torchvision blackens where masks overlap
        image = draw_segmentation_masks(image, surest_first, OPACITY, [colour for _, colour in found[::-1]])
    if found:
        image = draw_bounding_boxes(image, corners, colors=[colour for _, colour in found],
                                    width=max(2, font.size // 6))
    picture = to_pil_image(image)
    for box, (text, colour) in zip(corners.tolist(), found, strict=True):       # no line through a name
        _draw_tag(ImageDraw.Draw(picture), font, box, text, colour)
    return picture


def draw_classes(pixels: ndarray, labels: ndarray, classes: Sequence[str],
                 colours: Sequence[Colour]) -> Image.Image:
    """Lay the colours of the classes over an image, and put a legend with their share of the pixels below.

    Args:
        pixels: The image, RGB, uint8 [H, W, 3]; it is enlarged if it is small.
        labels: Number of each pixel's class, int [H, W].
        classes: Names; one that is 'background' is in the legend and not painted.
        colours: A colour for each class.
    """
    image, factor, font = _canvas(pixels)
    shares = np.bincount(labels.ravel(), minlength=len(classes)) / labels.size
    painted = [label for label in np.flatnonzero(shares) if classes[label] != BACKGROUND]
    if painted:
        masks = _enlarge(torch.from_numpy(np.stack([labels == label for label in painted])), factor)
        image = draw_segmentation_masks(image, masks, OPACITY, [colours[label] for label in painted])
    image = to_pil_image(image)
    entries = [(f'{classes[label]} {100 * shares[label]:.1f} %',
                'white' if classes[label] == BACKGROUND else colours[label])
               for label in np.argsort(-shares, kind='stable') if shares[label]]
    height, places = font.size * 3 // 2, []
    x, y = font.size // 2, image.height + font.size // 2
    for text, _ in entries:
        width = 2 * font.size + font.getlength(text)
        if places and x + width > image.width:
            x, y = font.size // 2, y + height
        places.append((x, y))
        x += width + font.size
    picture = Image.new('RGB', (image.width, y + height), 'white')
    picture.paste(image)
    draw = ImageDraw.Draw(picture)
    for (text, colour), (x, y) in zip(entries, places, strict=True):
        draw.rectangle((x, y, x + font.size, y + font.size), fill=colour, outline='black')
        draw.text((x + font.size * 3 // 2, y), text, fill='black', font=font)
    return picture


def distinct_colours(count: int) -> list[Colour]:
    """Return bright colours, of which neighbours have different hues."""
    # The hue comes near to itself after 8 steps; the next ones are paler.
    parts = [colorsys.hsv_to_rgb(i * GOLDEN_RATIO % 1, (0.85, 0.45)[i // 8 % 2], 0.95) for i in range(count)]
    return [tuple(round(255 * part) for part in colour) for colour in parts]


def _canvas(pixels: ndarray) -> tuple[Tensor, int, ImageFont.FreeTypeFont]:
    """Return an image as a tensor, enlarged by a whole number if it is small; that number; and a font."""
    factor = math.ceil(LEAST_SIDE_PX / max(pixels.shape[:2]))
    image = _enlarge(torch.from_numpy(pixels.copy()).permute(2, 0, 1), factor)
    # Comes with matplotlib, and has the letters of most languages.
    font = f'{get_data_path()}/fonts/ttf/DejaVuSans.ttf'
    return image, factor, ImageFont.truetype(font, max(14, max(image.shape) // 45))


def _enlarge(maps: Tensor, factor: int) -> Tensor:
    return maps.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)


def _draw_tag(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, box: Sequence[float], text: str,
              colour: Colour) -> None:
    """Write above the upper left corner of a box, or where the picture has room next to it."""
    width, height = font.getlength(text) + font.size // 2, font.size * 5 // 4
    x = max(0, min(box[0], draw.im.size[0] - width))
    y = max(0, box[1] - height)
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    is_bright = np.dot(colour, (0.299, 0.587, 0.114)) > 140                       # ITU-R BT.601
    draw.text((x + font.size // 4, y), text, fill='black' if is_bright else 'white', font=font)
