"""Curves of a run from the scalars MMEngine wrote."""

import json
from pathlib import Path

from matplotlib.figure import Figure


def read_scalars(work_dir: str | Path) -> list[dict]:
    """Return the scalars of the newest run in a work directory, in the order they were logged.

    Raises:
        FileNotFoundError: If no run left scalars there.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        raise FileNotFoundError(f'no */vis_data/scalars.json in {work_dir}: no run has logged there yet')
    return [json.loads(line) for line in files[-1].read_text(encoding='utf-8').splitlines() if line]


def save_training_curves(scalars: list[dict], path: str | Path) -> Path:
    """Draw loss, contrastive accuracy and online k-NN accuracy against the iteration.

    Args:
        scalars: What :func:`read_scalars` returned.
        path: Picture to write.

    Returns:
        The path.

    Raises:
        ValueError: If the scalars hold no loss.
    """
    losses = [(entry['step'], entry['loss']) for entry in scalars if 'loss' in entry]
    if not losses:
        raise ValueError('the scalars hold no loss: was this a pre-training run?')
    accuracy = [(entry['step'], 100 * entry['contrastive_accuracy']) for entry in scalars
                if 'contrastive_accuracy' in entry]
    knn = [(entry['step'], entry['knn_accuracy']) for entry in scalars if 'knn_accuracy' in entry]

    figure = Figure(figsize=(8, 3.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    left.plot(*zip(*losses, strict=True), color='#1f5fa8')
    left.set(xlabel='iteration', ylabel='NT-Xent loss (nats)')
    for points, label, style in ((accuracy, 'contrastive', dict(color='#e08e2b')),
                                 (knn, 'online k-NN', dict(color='#2a9d55', marker='o'))):
        if points:
            right.plot(*zip(*points, strict=True), label=label, **style)
    right.set(xlabel='iteration', ylabel='accuracy (%)', ylim=(0, 100))
    if accuracy or knn:
        right.legend(frameon=False)
    for axis in (left, right):
        axis.grid(alpha=0.25)
        axis.spines[['top', 'right']].set_visible(False)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, facecolor='white')
    return path
