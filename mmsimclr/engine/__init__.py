"""Optimizers, schedules, samplers, hooks and metrics of a run."""

from .hooks.atomic_checkpoint import AtomicCheckpointHook
from .hooks.batch_norm_momentum import BatchNormMomentumHook
from .hooks.guards import ClippedImagesHook, FiniteLossHook, FrozenEncoderHook, UnreadableImagesHook
from .hooks.held_out import EarlyStoppingHook
from .hooks.online_knn import OnlineKNNHook
from .hooks.preemption import PREEMPTED, Preempted, PreemptionHook
from .hooks.representation_health import RepresentationHealthHook
from .hooks.run_summary import RunSummaryHook
from .metrics import SegmentationMetric, VOCBoxMetric
from .optimizers import LARS, BFloat16OptimWrapper, LARSOptimWrapperConstructor
from .samplers.seeded_sampler import SampleIndex, SeededSampler
from .schedulers.warmup_cosine import WarmupCosineLR, scaled_lr, warmup_cosine_lr
