"""The SimCLR paper's Table 2 one anchor at a time: losses of pairs, and their gradients as it writes them."""

import math

import torch


def rows_of(view_1, view_2, normalize: bool = True) -> list:
    """Return the projections of both views one after another, scaled to unit length."""
    rows = [*view_1, *view_2]
    return [row / row.square().sum().sqrt() for row in rows] if normalize else rows


def negatives_of(anchor: int, num_images: int, negatives: str) -> list[int]:
    """Return the places of an anchor's negatives among the rows of both views."""
    image, in_first = anchor % num_images, anchor < num_images
    other_view = [place + (num_images if in_first else 0) for place in range(num_images) if place != image]
    own_view = [place + (0 if in_first else num_images) for place in range(num_images) if place != image]
    return other_view + (own_view if negatives == 'both' else [])


def mined(rows: list, anchor: int, num_images: int, negatives: str, mining: str | None,
          margin: float = math.inf) -> list[int]:
    """Return the places of the negatives that count: all, or the closest semi-hard one, or none."""
    places = negatives_of(anchor, num_images, negatives)
    if mining is None:
        return places
    rows = [row.detach() for row in rows]
    near = float(rows[anchor] @ rows[(anchor + num_images) % (2 * num_images)])
    semi_hard = [place for place in places if near - margin < float(rows[anchor] @ rows[place]) < near]
    return sorted(semi_hard, key=lambda place: -float(rows[anchor] @ rows[place]))[:1]


def slow_loss(kind: str, view_1, view_2, setting: float, mining: str | None, negatives: str,
              normalize: bool = True):
    """Return the mean loss of the 2N anchors; ``setting`` is a temperature or a margin."""
    rows, num = rows_of(view_1, view_2, normalize), len(view_1)
    total = 0.0
    for anchor, u in enumerate(rows):
        near = u @ rows[(anchor + num) % (2 * num)]
        places = mined(rows, anchor, num, negatives, mining, setting if kind == 'triplet' else math.inf)
        if kind == 'logistic':
            total = total - torch.sigmoid(near / setting).log()
        for place in places:
            far = u @ rows[place]
            if kind == 'logistic':
                total = total - torch.sigmoid(-far / setting).log() / len(places)
            else:
                total = total + max(far - near + setting, 0 * far) / len(places)
    return total / (2 * num)


def gradient_of_anchor(kind: str, u, positive, negative, setting: float):
    """Return the third column of Table 2: the gradient of the objective (minus the loss) by u."""
    near, far = float(u @ positive), float(u @ negative)
    if kind == 'logistic':
        towards = 1 / (1 + math.exp(near / setting)) / setting
        away = 1 / (1 + math.exp(-far / setting)) / setting
        return towards * positive - away * negative
    return positive - negative if near - far < setting else torch.zeros_like(u)
