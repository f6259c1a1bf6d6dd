"""Silhouettes and surface patterns of the ten Shapes classes, as signed functions of the plane.

Each function takes object coordinates ``u`` (right) and ``v`` (down), float32 arrays of one shape. The object
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

_f = np.float32
SQRT3 = _f(1.7320508)


def _norm(u: ndarray, v: ndarray) -> ndarray:
    return np.sqrt(u * u + v * v)


def _triangle_wave(x: ndarray, period: float) -> ndarray:
    """Return the signed distance to the inked half of each period; inked where negative."""
    phase = x / _f(period)
    phase = phase - np.floor(phase)
    return (np.abs(phase - _f(0.5)) - _f(0.25)) * _f(period)


def _repeat(x: ndarray, period: float) -> ndarray:
    """Fold the axis into cells of one period, each with coordinates in [-period/2, period/2)."""
    cells = np.floor(x / _f(period) + _f(0.5))
    return x - cells * _f(period)


def _exclusive_or(a: ndarray, b: ndarray) -> ndarray:
    """Return the exclusive-or of two regions given by signed distances."""
    return np.maximum(np.minimum(a, b), -np.maximum(a, b))


def _unit(degrees: float) -> tuple[np.float32, np.float32]:
    angle = np.deg2rad(degrees)
    return _f(round(float(np.cos(angle)), 6)), _f(round(float(np.sin(angle)), 6))


def circle(u: ndarray, v: ndarray) -> ndarray:
    """Disc of radius 0.94."""
    return _norm(u, v) - _f(0.94)


def square(u: ndarray, v: ndarray) -> ndarray:
    """Square of side 1.4."""
    return np.maximum(np.abs(u), np.abs(v)) - _f(0.7)


def triangle(u: ndarray, v: ndarray) -> ndarray:
    """Equilateral triangle, apex up."""
    return np.maximum((SQRT3 * np.abs(u) - v) * _f(0.5), v) - _f(0.5)


def star(u: ndarray, v: ndarray) -> ndarray:
    """Five-pointed star, one point up."""
    c36, s36 = _unit(36)
    x, y = np.abs(u), -v
    # Reflections in the two mirror lines map every fifth of the star onto its upper right half.
    for nx, ny in ((c36, -s36), (-c36, -s36)):
        away = np.maximum(nx * x + ny * y, _f(0)) * _f(2)
        x, y = x - away * nx, y - away * ny
    x = np.abs(x)
    inner = 0.48
    notch_x, notch_y = inner * float(s36), inner * float(c36)
    length = (notch_x**2 + (1 - notch_y) ** 2) ** 0.5
    normal_x, normal_y = _f((1 - notch_y) / length), _f(notch_x / length)
    return normal_x * x + normal_y * (y - _f(1))


def cross(u: ndarray, v: ndarray) -> ndarray:
    """Greek cross with arms 0.7 wide."""
    x, y = np.abs(u), np.abs(v)
    return np.maximum(np.maximum(x, y) - _f(0.93), np.minimum(x, y) - _f(0.35))


def heart(u: ndarray, v: ndarray) -> ndarray:
    """Heart: two discs above a square standing on its corner."""
    scale = 1.5
    x, y = np.abs(u) / _f(scale), _f(0.57) - v / _f(scale)
    lobe = _norm(x - _f(0.25), y - _f(0.75)) - _f(0.35355339)
    along = np.maximum(x + y, _f(0)) * _f(0.5)
    tip = np.minimum(_norm(x, y - _f(1)), _norm(x - along, y - along))
    wedge = np.where(x > y, tip, -tip)
    return np.where(x + y > _f(1), lobe, wedge) * _f(scale)


def hexagon(u: ndarray, v: ndarray) -> ndarray:
    """Regular hexagon standing on a side."""
    x, y = np.abs(u), np.abs(v)
    return np.maximum(x * SQRT3 * _f(0.5) + y * _f(0.5), y) - _f(0.83)


def crescent(u: ndarray, v: ndarray) -> ndarray:
    """Waxing moon: a disc less a disc to its right."""
    disc = _norm(u, v) - _f(1)
    bite = _norm(u - _f(0.66), v) - _f(0.76)
    return np.maximum(disc, -bite)


def ring(u: ndarray, v: ndarray) -> ndarray:
    """Ring with a hole of radius 0.34."""
    return np.abs(_norm(u, v) - _f(0.65)) - _f(0.31)


def flower(u: ndarray, v: ndarray) -> ndarray:
    """Six round petals."""
    x, y = np.abs(u), np.abs(v)
    distance = _norm(x, y) - _f(0.6)
    for degrees in (0, 60):
        c, s = _unit(degrees)
        distance = np.minimum(distance, _norm(x - c * _f(0.61), y - s * _f(0.61)) - _f(0.37))
    return distance


def rings(u: ndarray, v: ndarray) -> ndarray:
    """Concentric rings, a target."""
    return _triangle_wave(_norm(u, v), 0.54)


def checks(u: ndarray, v: ndarray) -> ndarray:
    """Chessboard of four squares a side."""
    return _exclusive_or(_triangle_wave(u + _f(0.175), 0.7), _triangle_wave(v + _f(0.175), 0.7))


def stripes(u: ndarray, v: ndarray) -> ndarray:
    """Horizontal stripes."""
    return _triangle_wave(v + _f(0.06), 0.44)


def dots(u: ndarray, v: ndarray) -> ndarray:
    """Round dots on a square lattice."""
    return _norm(_repeat(u, 0.5), _repeat(v, 0.5)) - _f(0.18)


def grid(u: ndarray, v: ndarray) -> ndarray:
    """Thin lines of a square lattice."""
    x, y = np.abs(_repeat(u, 0.46)), np.abs(_repeat(v, 0.46))
    return _f(0.16) - np.maximum(x, y)


def zigzag(u: ndarray, v: ndarray) -> ndarray:
    """Zigzag bands."""
    bend = np.abs(_repeat(u, 0.7))
    return _triangle_wave(v + bend, 0.6) * _f(0.70710678)


def cells(u: ndarray, v: ndarray) -> ndarray:
    """Walls of a honeycomb."""
    pitch = 0.56
    height = pitch * 1.7320508
    distances = []
    for shift in (0.0, 0.5):
        x = np.abs(_repeat(u + _f(shift * pitch), pitch))
        y = np.abs(_repeat(v + _f(shift * height), height))
        distances.append(np.maximum(x, x * _f(0.5) + y * SQRT3 * _f(0.5)))
    return _f(pitch / 2 - 0.075) - np.minimum(*distances)


def bricks(u: ndarray, v: ndarray) -> ndarray:
    """Joints of a brick wall."""
    course = np.floor(v / _f(0.44) + _f(0.5))
    shift = (course - np.floor(course * _f(0.5)) * _f(2)) * _f(0.35)
    x, y = np.abs(_repeat(u + shift, 0.7)), np.abs(_repeat(v, 0.44))
    return np.minimum(_f(0.29) - x, _f(0.16) - y)


def spokes(u: ndarray, v: ndarray) -> ndarray:
    """Eight sectors, inked in turn."""
    c, s = _unit(22.5)
    return _exclusive_or(_exclusive_or(c * u + s * v, c * v - s * u),
                         _exclusive_or(s * u + c * v, s * v - c * u))


def eye(u: ndarray, v: ndarray) -> ndarray:
    """One large disc in the middle."""
    return _norm(u, v) - _f(0.42)


# Class name -> (silhouette, surface pattern), in the order of the labels.
CLASSES: dict[str, tuple[Field, Field]] = {
    'circle': (circle, rings),
    'square': (square, checks),
    'triangle': (triangle, stripes),
    'star': (star, dots),
    'cross': (cross, grid),
    'heart': (heart, zigzag),
    'hexagon': (hexagon, cells),
    'crescent': (crescent, bricks),
    'ring': (ring, spokes),
    'flower': (flower, eye),
}
