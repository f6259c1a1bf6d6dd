"""Draw Shapes scenes: anti-aliased images and the exact map of which pixel shows which object."""

import numpy as np
from numpy import ndarray

from mmsimclr.datasets.shapes.geometry import CLASSES
from mmsimclr.datasets.shapes.scenes import BACKGROUND_COLORS, INK_COLORS, OBJECT_COLORS, Scenes, draw_scenes

# An object that shows a smaller part of its pixels than this, or fewer of them, is left out.
MIN_VISIBLE_FRACTION = 0.25
MIN_VISIBLE_PIXELS = 4
PIVOT = np.float32(160)             # The grey level that a change of contrast leaves as it is.
PIXELS_PER_CHUNK = 1 << 17          # The temporaries then stay in the processor's cache.


def render_images(indices: ndarray, image_size: int, seed: int, split: str, objects: str,
                  max_objects: int) -> tuple[ndarray, ndarray, ndarray]:
    """Render the images ``indices``, int64 [N], of a :class:`Shapes` dataset with the other arguments.

    Returns:
        Images uint8 [N, S, S, 3], instance maps uint8 [N, S, S] as of :func:`render_scenes`, and labels
        int64 [N, K]; K is 1 for 'single' and ``max_objects`` for 'multi'.
    """
    step = max(1, PIXELS_PER_CHUNK // image_size**2)
    images = np.empty((len(indices), image_size, image_size, 3), np.uint8)
    instances = np.empty(images.shape[:3], np.uint8)
    labels = np.empty((len(indices), 1 if objects == 'single' else max_objects), np.int64)
    for start in range(0, len(indices), step):
        chunk = slice(start, start + step)
        scenes = draw_scenes(indices[chunk], seed, split, objects, max_objects)
        images[chunk], instances[chunk] = render_scenes(scenes, image_size)
        labels[chunk] = scenes.labels
    return images, instances, labels


def render_scenes(scenes: Scenes, image_size: int) -> tuple[ndarray, ndarray]:
    """Draw N scenes front to back, ``image_size`` S pixels wide and high.

    Returns:
        Images, uint8 RGB [N, S, S, 3], and instance maps, uint8 [N, S, S]: 0 where the background shows,
        k + 1 where object k does. A pixel belongs to the frontmost object that covers its centre. Objects
        nearly hidden by the ones in front are not drawn at all.
    """
    num_images, num_objects = scenes.labels.shape
    shape = (num_images, image_size, image_size)
    canvas = np.zeros((*shape, 3), np.float32)
    clear = np.ones(shape, np.float32)  # the part of each pixel not yet painted
    instances = np.zeros(shape, np.uint8)
    for k in range(num_objects):
        for label, (silhouette, pattern) in enumerate(CLASSES.values()):
            chosen = np.flatnonzero(scenes.exists[:, k] & (scenes.labels[:, k] == label))
            if not len(chosen):
                continue
            u, v, unit_px = _object_coordinates(scenes, chosen, k, image_size)
            distance_px = silhouette(u, v) * unit_px
            covers = distance_px < 0
            visible = covers & (instances[chosen] == 0)
            total = covers.sum(axis=(1, 2))
            seen = visible.sum(axis=(1, 2))
            kept = (seen >= MIN_VISIBLE_PIXELS) & (seen >= total * MIN_VISIBLE_FRACTION)
            alpha = _coverage(distance_px) * clear[chosen] * kept[:, None, None]
            ink = (_coverage(pattern(u, v) * unit_px) * alpha)[..., None]
            paint = _lit(OBJECT_COLORS[scenes.object_color[chosen, k]], scenes, chosen)
            ink_paint = _lit(INK_COLORS[scenes.object_color[chosen, k]], scenes, chosen)
            canvas[chosen] += alpha[..., None] * paint + ink * (ink_paint - paint)
            clear[chosen] -= alpha
            visible &= kept[:, None, None]
            instances[chosen] += visible * np.uint8(k + 1)
    background = _lit(BACKGROUND_COLORS[scenes.background_color], scenes, slice(None))
    canvas += clear[..., None] * background
    return (canvas + np.float32(0.5)).astype(np.uint8), instances


def _object_coordinates(scenes: Scenes, chosen: ndarray, k: int,
                        image_size: int) -> tuple[ndarray, ndarray, ndarray]:
    """Return object coordinates of the pixel centres, [n, S, S] each, and pixels per unit."""
    angle = np.deg2rad(scenes.rotation_deg[chosen, k].astype(np.float64))
    # Rounded, because the last bit of a library's sine differs between platforms.
    cos, sin = (np.round(f(angle), 6).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    radius = scenes.radius[chosen, k, None, None]
    centers = (np.arange(image_size, dtype=np.float32) + np.float32(0.5)) / np.float32(image_size)
    x = (centers[None, None, :] - scenes.center[chosen, k, 0, None, None]) / radius
    y = (centers[None, :, None] - scenes.center[chosen, k, 1, None, None]) / radius
    return cos * x + sin * y, cos * y - sin * x, radius * np.float32(image_size)


def _lit(colors: ndarray, scenes: Scenes, chosen: ndarray | slice) -> ndarray:
    """Return one colour per chosen image, [n, 3], in that image's light, [n, 1, 1, 3]."""
    colors = PIVOT + (colors - PIVOT) * scenes.contrast[chosen, None]
    return (colors * scenes.brightness[chosen, None])[:, None, None]


def _coverage(distance_px: ndarray) -> ndarray:
    """Return the part of a pixel inside an edge at this signed distance from its centre."""
    return np.clip(np.float32(0.5) - distance_px, np.float32(0), np.float32(1))
