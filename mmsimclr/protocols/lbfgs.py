"""L-BFGS for smooth convex functions of one tensor."""

from collections import deque
from collections.abc import Callable

from torch import Tensor

SUFFICIENT_DECREASE = 1e-4                                                  # Nocedal & Wright, Eq. 3.6a
HALVINGS = 20


def minimise(function: Callable[[Tensor], tuple[float, Tensor]], start: Tensor, tolerance: float,
             max_iterations: int, history: int = 10) -> tuple[Tensor, bool]:
    """Return where a function is least, and whether the search converged.

    The first step goes along the negative gradient with length 1, so variables should be scaled to
    curvatures about 1.

    Args:
        function: Returns value and gradient at a point; convex, and positive.
        start: Where to begin.
        tolerance: The search has converged when the squared norm of the gradient is at most this times the
            value, or when no step lowers the value any more, for lack of digits.
        max_iterations: Bound on the number of steps.
        history: Number of steps from which the curvature is estimated.

    Source:
        Nocedal & Wright 2006, Numerical Optimization, algorithms 7.4 and 7.5, with backtracking.
    """
    point, (value, gradient) = start, function(start)
    pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=history)
    for _ in range(max_iterations):
        if _dot(gradient, gradient) <= tolerance * value:
            return point, True
        direction = -_times_inverse_hessian(gradient, pairs)
        slope, length = _dot(gradient, direction), 1.0
        for _ in range(HALVINGS):
            new_value, new_gradient = function(point + length * direction)
            excess = new_value - value - length * slope
            if new_value <= value + SUFFICIENT_DECREASE * length * slope:
                break
            # The least point of the parabola through both values and the slope.
            length *= min(max(-slope * length / (2 * excess), 0.1), 0.5)
        else:
            return point, True
        step, change = length * direction, new_gradient - gradient
        curvature = _dot(step, change)
        if curvature > 0:
            pairs.append((step, change, curvature))
        point, value, gradient = point + step, new_value, new_gradient
    return point, False


def _times_inverse_hessian(vector: Tensor, pairs: deque[tuple[Tensor, Tensor, float]]) -> Tensor:
    shares = []
    for step, change, curvature in reversed(pairs):
        shares.append(_dot(step, vector) / curvature)
        vector = vector - shares[-1] * change
    if pairs:
        _, change, curvature = pairs[-1]
        vector = vector * (curvature / _dot(change, change))
    for (step, change, curvature), share in zip(pairs, reversed(shares), strict=True):
        vector = vector + (share - _dot(change, vector) / curvature) * step
    return vector


def _dot(left: Tensor, right: Tensor) -> float:
    return (left * right).sum().item()
