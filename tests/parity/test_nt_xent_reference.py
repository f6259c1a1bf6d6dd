"""NT-Xent and its metrics against the official code's loss, gradient, accuracy and entropy.

The official loss is the sum of the two directions, each a mean over N anchors: twice Eq. 1.
"""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mmsimclr.models.losses import contrastive_metrics, nt_xent_loss

SETTINGS = [(temperature, normalize) for temperature in (0.1, 0.5, 1.0) for normalize in (1, 0)]


def tolerance(temperature: float, normalize: int) -> tuple[float, float]:
    """Return how far loss (relative) and gradient (of its largest entry) may be off.

    Without normalisation the similarities at temperature 0.1 reach some hundreds, whose rounding to
    float32 alone moves the loss by 2e-5 and the gradient by 9e-5 (measured: the official float32
    values against ours in float64).
    """
    return (5e-5, 2e-4) if temperature == 0.1 and not normalize else (2e-6, 1e-5)


def case_of(stored, size: str, temperature: float, normalize: int) -> dict[str, torch.Tensor]:
    prefix = f'{size}_t{temperature}_norm{normalize}/'
    return {key[len(prefix):]: torch.from_numpy(stored[key])
            for key in stored if key.startswith(prefix)}


def leaves(hidden: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the two views of [2n, d], first all first views, as leaves of the graph."""
    return tuple(view.clone().requires_grad_() for view in torch.from_numpy(hidden).chunk(2))


def relative_error(got: torch.Tensor, want: torch.Tensor) -> float:
    return ((got - want).abs().max() / want.abs().max()).item()


def check_loss(hidden: np.ndarray, case: dict, temperature: float, normalize: int) -> None:
    loss_tolerance, gradient_tolerance = tolerance(temperature, normalize)
    for gradient, factor in (('exact', 2), ('google', 1)):
        views = leaves(hidden)
        loss = nt_xent_loss(*views, temperature, normalize=bool(normalize), gradient=gradient)
        assert_close(2 * loss.detach(), case['loss'], rtol=loss_tolerance, atol=0)
        got = factor * torch.cat(torch.autograd.grad(loss, views))
        assert relative_error(got, case['grad']) < gradient_tolerance, gradient


def check_metrics(hidden: np.ndarray, case: dict, temperature: float, normalize: int) -> None:
    metrics = contrastive_metrics(*leaves(hidden), temperature, normalize=bool(normalize))
    assert_close(metrics['accuracy'], case['contrast_acc'], rtol=0, atol=1e-6)
    assert_close(metrics['entropy'], case['contrast_entropy'], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('temperature, normalize', SETTINGS)
@pytest.mark.parametrize('size', ['n4_d8', 'n32_d128'])
def test_loss_gradient_and_metrics_equal_the_official_ones(
        size, temperature, normalize, reference_file):
    stored = np.load(reference_file('nt_xent_single.npz'))
    case = case_of(stored, size, temperature, normalize)
    check_loss(stored[f'hidden_{size}'], case, temperature, normalize)
    check_metrics(stored[f'hidden_{size}'], case, temperature, normalize)


@pytest.mark.parametrize('temperature, normalize', SETTINGS)
def test_a_batch_of_256_equals_the_official_one(temperature, normalize, golden_file):
    stored = np.load(golden_file('nt_xent/single.npz'))
    case = case_of(stored, 'n256_d128', temperature, normalize)
    check_loss(stored['hidden_n256_d128'], case, temperature, normalize)
    check_metrics(stored['hidden_n256_d128'], case, temperature, normalize)


@pytest.mark.parametrize('temperature', [0.1, 0.5, 1.0])
def test_accuracy_and_entropy_leave_out_the_candidates_of_the_own_view(
        temperature, reference_file):
    stored = np.load(reference_file('nt_xent_single.npz'))
    case = case_of(stored, 'n4_d8', temperature, 0)
    probability = torch.softmax(case['logits_ab'], dim=1)  # [N, N], the stored similarities
    entropy = -(probability * probability.log()).sum(dim=1).mean()
    metrics = contrastive_metrics(*leaves(stored['hidden_n4_d8']), temperature, normalize=False)
    assert_close(metrics['entropy'], entropy, rtol=1e-5, atol=1e-6)
    assert metrics['accuracy'] == 0.75  # one of the four positives loses against another image


def check_replicas(stored, size: str, temperature: float, normalize: int) -> None:
    """Compare the whole batch in one process with the mean over the official replicas."""
    hidden = stored[f'{size}/hidden']  # [R, 2n, d]
    case = case_of(stored, size, temperature, normalize)
    num_replicas, rows, _ = hidden.shape
    by_view = hidden.reshape(num_replicas, 2, rows // 2, -1).swapaxes(0, 1)  # [2, R, n, d]
    views = leaves(by_view.reshape(num_replicas * rows, -1))
    loss = nt_xent_loss(*views, temperature, normalize=bool(normalize))
    loss_tolerance, gradient_tolerance = tolerance(temperature, normalize)
    assert_close(2 * loss.detach(), case['loss_per_replica'].mean(), rtol=loss_tolerance, atol=0)

    got = 2 * torch.stack(torch.autograd.grad(loss, views)).reshape(by_view.shape)
    want = case['grad_mean_of_losses'].reshape(num_replicas, 2, rows // 2, -1).swapaxes(0, 1)
    assert relative_error(got, want) < gradient_tolerance

    metrics = contrastive_metrics(*views, temperature, normalize=bool(normalize))
    assert_close(metrics['accuracy'], case['acc_per_replica'].mean(), rtol=0, atol=1e-6)


@pytest.mark.parametrize('temperature, normalize', SETTINGS)
@pytest.mark.parametrize('size', ['r2_n4_d8', 'r4_n4_d8'])
def test_one_process_on_the_whole_batch_equals_the_mean_over_official_replicas(
        size, temperature, normalize, reference_file):
    check_replicas(np.load(reference_file('nt_xent_replicas.npz')), size, temperature, normalize)


@pytest.mark.parametrize('temperature, normalize', SETTINGS)
@pytest.mark.parametrize('size', ['r2_n16_d128', 'r4_n16_d128'])
def test_one_process_on_a_larger_batch_equals_the_mean_over_official_replicas(
        size, temperature, normalize, golden_file):
    check_replicas(np.load(golden_file('nt_xent/replicas.npz')), size, temperature, normalize)
