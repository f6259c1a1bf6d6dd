"""Objects and classes drawn on an image, with names that can be read on images of any size."""

import colorsys
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

LEAST_SIDE_PX = 480                          # of the longer side; smaller images are enlarged to it
OPACITY = 0.5
BACKGROUND = 'background'
GOLDEN_RATIO = (5**0.5 - 1) / 2

Colour = tuple[int, int, int]


def draw_objects(pixels: ndarray, boxes: ndarray, scores: ndarray, labels: ndarray, classes: Sequence[str],
                 colours: Sequence[Colour], masks: ndarray | None = None) -> Image.Image:
    """Draw detections, the surest on top, each with its class and its score.

    Args:
        pixels: The image, RGB, uint8 [H, W, 3].
        boxes: x1, y1, x2, y2 in pixels, float [n, 4].
        scores: In [0, 1], float [n].
        labels: Numbers in ``classes``, int [n].
        classes: Names.
        colours: A colour for each class.
        masks: Pixels of the objects, bool [n, H, W].

    Returns:
        The picture: the image, enlarged by a whole number if it is small.
    """
    order = np.argsort(scores, kind='stable')
    factor = _factor(pixels)
    if masks is not None:
        pixels = pixels.copy()
        for i in order:
            pixels[masks[i]] = _blend(pixels[masks[i]], colours[labels[i]])
    picture = _enlarge(pixels, factor)
    draw, font = ImageDraw.Draw(picture), _font(picture)
    line = max(2, font.size // 6)
    for i in order:
        box = [float(side) * factor for side in boxes[i]]
        draw.rectangle(box, outline=colours[labels[i]], width=line)
    for i in order:                                       # no line through a name
        corner = [float(side) * factor for side in boxes[i][:2]]
        _draw_tag(draw, font, corner, f'{classes[labels[i]]} {scores[i]:.2f}', colours[labels[i]])
    return picture


def draw_classes(pixels: ndarray, labels: ndarray, classes: Sequence[str],
                 colours: Sequence[Colour]) -> Image.Image:
    """Lay the colours of the classes over an image, and a legend with their share of the pixels below it.

    Args:
        pixels: The image, RGB, uint8 [H, W, 3].
        labels: Number of each pixel's class, int [H, W].
        classes: Names; one that is 'background' is in the legend and not painted.
        colours: A colour for each class.

    Returns:
        The picture: the image, enlarged by a whole number if it is small, and the legend.
    """
    pixels, shares = pixels.copy(), np.bincount(labels.ravel(), minlength=len(classes)) / labels.size
    for label in np.flatnonzero(shares):
        if classes[label] != BACKGROUND:
            pixels[labels == label] = _blend(pixels[labels == label], colours[label])
    image = _enlarge(pixels, _factor(pixels))
    font = _font(image)
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
    picture = Image.new('RGB', (image.width, math.ceil(y + height)), 'white')
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


def _factor(pixels: ndarray) -> int:
    return math.ceil(LEAST_SIDE_PX / max(pixels.shape[:2]))


def _enlarge(pixels: ndarray, factor: int) -> Image.Image:
    height, width = pixels.shape[:2]
    return Image.fromarray(pixels).resize((width * factor, height * factor), Image.Resampling.NEAREST)


def _blend(pixels: ndarray, colour: Colour) -> ndarray:
    return (pixels * (1 - OPACITY) + np.array(colour) * OPACITY).astype(np.uint8)


def _font(picture: Image.Image) -> ImageFont.FreeTypeFont:
    # Comes with matplotlib, and has the letters of most languages.
    return ImageFont.truetype(str(Path(get_data_path(), 'fonts/ttf/DejaVuSans.ttf')),
                              max(14, max(picture.size) // 45))


def _draw_tag(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, corner: Sequence[float], text: str,
              colour: Colour) -> None:
    """Write above a corner, or where the picture has room next to it."""
    width, height = font.getlength(text) + font.size // 2, font.size * 5 // 4
    x = max(0, min(corner[0], draw.im.size[0] - width))
    y = max(0, corner[1] - height)
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    is_bright = np.dot(colour, (0.299, 0.587, 0.114)) > 140                       # ITU-R BT.601
    draw.text((x + font.size // 4, y), text, fill='black' if is_bright else 'white', font=font)
