"""What drives a run: optimizers, schedules, samplers, hooks, the log."""

from .hooks import BatchNormMomentumHook, FiniteLossHook, FrozenEncoderHook, OnlineKNNHook, RunSummaryHook
from .log_processor import PretrainLogProcessor
from .metrics import SegmentationMetric, VOCBoxMetric
from .optimizers import LARS, BFloat16OptimWrapper, LARSOptimWrapperConstructor
from .samplers import SampleIndex, SeededSampler
from .schedulers import WarmupCosineLR, scaled_lr, warmup_cosine_lr

__all__ = [
    'LARS', 'BFloat16OptimWrapper', 'BatchNormMomentumHook', 'FiniteLossHook', 'FrozenEncoderHook',
    'LARSOptimWrapperConstructor', 'OnlineKNNHook', 'PretrainLogProcessor', 'RunSummaryHook', 'SampleIndex',
    'SeededSampler', 'SegmentationMetric', 'VOCBoxMetric', 'WarmupCosineLR', 'scaled_lr', 'warmup_cosine_lr',
]
