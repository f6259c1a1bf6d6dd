"""Hooks."""

from .atomic_checkpoint import AtomicCheckpointHook
from .batch_norm_momentum import BatchNormMomentumHook
from .guards import ClippedImagesHook, FiniteLossHook, FrozenEncoderHook, UnreadableImagesHook
from .held_out import EarlyStoppingHook
from .online_knn import OnlineKNNHook
from .preemption import PREEMPTED, Preempted, PreemptionHook
from .representation_health import RepresentationHealthHook
from .run_summary import RunSummaryHook
