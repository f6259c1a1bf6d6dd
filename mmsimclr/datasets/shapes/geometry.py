"""Silhouettes and surface patterns of the ten Shapes classes, as signed functions of the plane.

Each takes object coordinates ``u`` (right) and ``v`` (down), float32 arrays of one shape. The object
is upright and centred at the origin, and 1 is its circumscribed radius. The result has the same shape. It is
negative inside (the silhouette, or the inked part of the pattern) and positive outside, and grows by about 1
per unit of length near the boundary, as anti-aliasing needs it.

Only additions, multiplications, divisions, square roots, minima, maxima and floors are used: IEEE 754 rounds
these exactly, so the images are the same on every platform.
"""

from collections.abc import Callable

import numpy as np
from numpy import ndarray

Field = Callable[[ndarray, ndarray], ndarray]
SQRT3 = 1.7320508


def _norm(u: ndarray, v: ndarray) -> ndarray:
    return np.sqrt(u * u + v * v)


def _triangle_wave(x: ndarray, period: float) -> ndarray:
    """Return the signed distance to the inked half of each period; inked where negative."""
    phase = x / period
    phase = phase - np.floor(phase)
    return (np.abs(phase - 0.5) - 0.25) * period


def _repeat(x: ndarray, period: float) -> ndarray:
    """Fold the axis into cells of one period, each with coordinates in [-period/2, period/2)."""
    return x - np.floor(x / period + 0.5) * period


def _exclusive_or(a: ndarray, b: ndarray) -> ndarray:
    """Return the exclusive-or of two regions given by signed distances."""
    return np.maximum(np.minimum(a, b), -np.maximum(a, b))


def _unit(degrees: float) -> tuple[np.float32, np.float32]:
    angle = np.deg2rad(degrees)
    return tuple(np.float32(round(float(f(angle)), 6)) for f in (np.cos, np.sin))


def star(u: ndarray, v: ndarray) -> ndarray:
    """Five-pointed star, one point up."""
    c36, s36 = _unit(36)
    x, y = np.abs(u), -v
    # Reflections in the two mirror lines map every fifth of the star onto its upper right half.
    for nx, ny in ((c36, -s36), (-c36, -s36)):
        away = np.maximum(nx * x + ny * y, 0) * 2
        x, y = x - away * nx, y - away * ny
    notch_x, notch_y = 0.48 * float(s36), 0.48 * float(c36)
    length = (notch_x**2 + (1 - notch_y) ** 2) ** 0.5
    return (1 - notch_y) / length * np.abs(x) + notch_x / length * (y - 1)


def heart(u: ndarray, v: ndarray) -> ndarray:
    """Heart: two discs above a square standing on its corner."""
    scale = 1.5
    x, y = np.abs(u) / scale, 0.57 - v / scale
    lobe = _norm(x - 0.25, y - 0.75) - 0.35355339
    along = np.maximum(x + y, 0) * 0.5
    tip = np.minimum(_norm(x, y - 1), _norm(x - along, y - along))
    return np.where(x + y > 1, lobe, np.where(x > y, tip, -tip)) * scale


def flower(u: ndarray, v: ndarray) -> ndarray:
    """Six round petals."""
    x, y = np.abs(u), np.abs(v)
    distance = _norm(x, y) - 0.6
    for degrees in (0, 60):
        c, s = _unit(degrees)
        distance = np.minimum(distance, _norm(x - c * 0.61, y - s * 0.61) - 0.37)
    return distance


def cells(u: ndarray, v: ndarray) -> ndarray:
    """Walls of a honeycomb."""
    pitch = 0.56
    height = pitch * SQRT3
    distances = []
    for shift in (0.0, 0.5):
        x, y = np.abs(_repeat(u + shift * pitch, pitch)), np.abs(_repeat(v + shift * height, height))
        distances.append(np.maximum(x, x * 0.5 + y * SQRT3 * 0.5))
    return pitch / 2 - 0.075 - np.minimum(*distances)


def bricks(u: ndarray, v: ndarray) -> ndarray:
    """Joints of a brick wall."""
    course = np.floor(v / 0.44 + 0.5)
    shift = (course - np.floor(course * 0.5) * 2) * 0.35
    x, y = np.abs(_repeat(u + shift, 0.7)), np.abs(_repeat(v, 0.44))
    return np.minimum(0.29 - x, 0.16 - y)


def spokes(u: ndarray, v: ndarray) -> ndarray:
    """Eight sectors, inked in turn."""
    c, s = _unit(22.5)
    return _exclusive_or(_exclusive_or(c * u + s * v, c * v - s * u),
                         _exclusive_or(s * u + c * v, s * v - c * u))


# Class name -> (silhouette, surface pattern), in the order of the labels.
CLASSES: dict[str, tuple[Field, Field]] = {
    'circle': (lambda u, v: _norm(u, v) - 0.94,
               lambda u, v: _triangle_wave(_norm(u, v), 0.54)),                             # a target
    'square': (lambda u, v: np.maximum(np.abs(u), np.abs(v)) - 0.7,
               lambda u, v: _exclusive_or(_triangle_wave(u + 0.175, 0.7),                   # a chessboard
                                          _triangle_wave(v + 0.175, 0.7))),
    'triangle': (lambda u, v: np.maximum((SQRT3 * np.abs(u) - v) * 0.5, v) - 0.5,
                 lambda u, v: _triangle_wave(v + 0.06, 0.44)),                              # stripes
    'star': (star,
             lambda u, v: _norm(_repeat(u, 0.5), _repeat(v, 0.5)) - 0.18),                  # dots
    'cross': (lambda u, v: np.maximum(np.maximum(np.abs(u), np.abs(v)) - 0.93,
                                      np.minimum(np.abs(u), np.abs(v)) - 0.35),
              lambda u, v: 0.16 - np.maximum(np.abs(_repeat(u, 0.46)), np.abs(_repeat(v, 0.46)))),   # a grid
    'heart': (heart,
              lambda u, v: _triangle_wave(v + np.abs(_repeat(u, 0.7)), 0.6) * 0.70710678),  # zigzag
    'hexagon': (lambda u, v: np.maximum(np.abs(u) * SQRT3 * 0.5 + np.abs(v) * 0.5, np.abs(v)) - 0.83,
                cells),
    'crescent': (lambda u, v: np.maximum(_norm(u, v) - 1, -(_norm(u - 0.66, v) - 0.76)),
                 bricks),
    'ring': (lambda u, v: np.abs(_norm(u, v) - 0.65) - 0.31,
             spokes),
    'flower': (flower,
               lambda u, v: _norm(u, v) - 0.42),                                            # an eye
}
