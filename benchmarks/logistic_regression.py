"""The path of regularised logistic regressions beside as many cold fits of scikit-learn's.

    python benchmarks/logistic_regression.py --out benchmarks/results/logistic_regression.json

Both solve the same problems, scikit-learn in double precision with the tolerance given, ours with its own. By
how much the loss of each exceeds the better one's is written too, at worst over the path: who stops early is
fast. With scikit-learn's default tolerance, 1e-4, it is the weak regularisations that stay unsolved.
"""

import argparse

import numpy as np
import torch
from measure import alternate, parse, ratios, write
from sklearn.linear_model import LogisticRegression

from mmsimclr.evaluation.logistic_regression import regression_path


def features_like(num_images: int, dims: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rectified, correlated features float32 [N, C], and labels: overlapping clusters."""
    generator = np.random.default_rng(0)
    labels = np.arange(num_images) % num_classes
    centres = generator.normal(size=(num_classes, dims))
    mixing = generator.normal(size=(dims, dims)) * np.geomspace(1, 0.02, dims)[:, None]
    rows = 0.4 * centres[labels] + generator.normal(size=(num_images, dims)) @ mixing / np.sqrt(dims) * 4
    return np.maximum(0, rows).astype(np.float32), labels


def objective(features: np.ndarray, labels: np.ndarray, weight: np.ndarray, bias: np.ndarray,
              l2: float) -> float:
    """Return the mean cross-entropy + l2 / 2 * |W|^2, in double precision."""
    scores = features.astype(np.float64) @ weight.T + bias
    scores -= scores.max(axis=1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return float(-logs[np.arange(len(labels)), labels].mean() + 0.5 * l2 * np.square(weight).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=500, help='default: %(default)s')
    parser.add_argument('--dims', type=int, default=256, help='width of a feature (default: %(default)s)')
    parser.add_argument('--classes', type=int, default=10, help='default: %(default)s')
    parser.add_argument('--values', type=int, default=15, help='regularisations from 1e-6 to 1e5')
    parser.add_argument('--tolerance', type=float, default=1e-6, help="scikit-learn's (default: %(default)s)")
    parser.add_argument('--rounds', type=int, default=1, help='rounds that count (default: %(default)s)')
    args = parse(parser, quick=dict(images=60, dims=8, classes=3, values=3))
    features, labels = features_like(args.images, args.dims, args.classes)
    values = np.geomspace(1e-6, 1e5, args.values)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    losses: dict[str, dict[float, float]] = {'ours': {}, 'scikit-learn': {}}

    def ours() -> None:
        for fit in regression_path(features, labels, args.classes, values, device=device):
            weight, bias = fit.weight.cpu().numpy(), fit.bias.cpu().numpy()
            losses['ours'][fit.l2] = objective(features, labels, weight, bias, fit.l2)

    def scikit_learn() -> None:
        for l2 in values:
            fit = LogisticRegression(C=1 / (l2 * len(labels)), tol=args.tolerance, max_iter=100_000)
            fit.fit(features.astype(np.float64), labels)
            losses['scikit-learn'][l2] = objective(features, labels, fit.coef_, fit.intercept_, l2)

    seconds = alternate({'ours': ours, 'scikit-learn': scikit_learn}, args.rounds)
    excess = {name: max((losses[name][l2] - min(one[l2] for one in losses.values())) / losses[name][l2]
                        for l2 in values) for name in losses}
    settings = ('images', 'dims', 'classes', 'values', 'tolerance', 'rounds')
    problem = {name: getattr(args, name) for name in settings}
    write(args.out, benchmark='logistic_regression', problem=problem, device=device,
          rows=ratios(seconds, 'ours'), largest_excess_of_the_loss=excess)


if __name__ == '__main__':
    main()
