"""k-NN accuracy of features."""

from torch import Tensor

from mmsimclr.models import KNNClassifier


def knn_accuracy(train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor,
                 num_classes: int, k: int = 20, temperature: float = 0.07) -> float:
    """Return the top-1 accuracy in percent of a weighted k-NN classifier.

    Args:
        train_features: The bank, float [B, C].
        train_labels: Its classes, int64 [B].
        test_features: What is classified, float [Q, C].
        test_labels: The true classes, int64 [Q].
        num_classes: Number of classes.
        k: Number of neighbours.
        temperature: Temperature of the votes.

    Raises:
        ValueError: As :class:`~mmsimclr.models.KNNClassifier`.
    """
    votes = KNNClassifier(k, temperature)(test_features, train_features, train_labels, num_classes)
    return 100.0 * (votes.argmax(dim=1) == test_labels.to(votes.device)).float().mean().item()
