"""Hooks."""

from .atomic_checkpoint import AtomicCheckpointHook
from .batch_norm_momentum import BatchNormMomentumHook
from .clipped_images import ClippedImagesHook
from .early_stopping import EarlyStoppingHook
from .finite_loss import FiniteLossHook
from .frozen_encoder import FrozenEncoderHook
from .online_knn import OnlineKNNHook
from .preemption import PREEMPTED, Preempted, PreemptionHook
from .representation_health import RepresentationHealthHook
from .run_summary import RunSummaryHook
from .unreadable_images import UnreadableImagesHook
