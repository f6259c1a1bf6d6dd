"""What drives a run: optimizers, schedules, samplers, hooks, the log."""

from .compiling import compile_encoder
from .deferred_message_hub import DeferredMessageHub
from .hooks import (
    PREEMPTED,
    AtomicCheckpointHook,
    BatchNormMomentumHook,
    FiniteLossHook,
    FrozenEncoderHook,
    OnlineKNNHook,
    Preempted,
    PreemptionHook,
    RunSummaryHook,
    UnreadableImagesHook,
)
from .log_processor import PretrainLogProcessor
from .metrics import SegmentationMetric, VOCBoxMetric
from .optimizers import LARS, BFloat16OptimWrapper, LARSOptimWrapperConstructor
from .random_state import random_state, set_random_state
from .resumable_loop import ResumableTrainLoop
from .samplers import SampleIndex, SeededSampler
from .schedulers import WarmupCosineLR, scaled_lr, warmup_cosine_lr

__all__ = [
    'LARS', 'PREEMPTED', 'AtomicCheckpointHook', 'BFloat16OptimWrapper', 'BatchNormMomentumHook',
    'DeferredMessageHub', 'FiniteLossHook', 'FrozenEncoderHook', 'LARSOptimWrapperConstructor',
    'OnlineKNNHook', 'Preempted', 'PreemptionHook', 'PretrainLogProcessor', 'ResumableTrainLoop',
    'RunSummaryHook', 'SampleIndex', 'SeededSampler', 'SegmentationMetric', 'UnreadableImagesHook',
    'VOCBoxMetric', 'WarmupCosineLR', 'compile_encoder', 'random_state', 'scaled_lr',
    'set_random_state', 'warmup_cosine_lr',
]
