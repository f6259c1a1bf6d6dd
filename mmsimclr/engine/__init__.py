"""What drives a run: optimizers, schedules, samplers, hooks, the log."""

from .hooks import FiniteLossHook, OnlineKNNHook, RunSummaryHook
from .log_processor import PretrainLogProcessor
from .optimizers import LARS, BFloat16OptimWrapper, LARSOptimWrapperConstructor
from .samplers import SampleIndex, SeededSampler
from .schedulers import WarmupCosineLR, scaled_lr, warmup_cosine_lr

__all__ = [
    'LARS', 'BFloat16OptimWrapper', 'FiniteLossHook', 'LARSOptimWrapperConstructor', 'OnlineKNNHook',
    'PretrainLogProcessor', 'RunSummaryHook', 'SampleIndex', 'SeededSampler', 'WarmupCosineLR',
    'scaled_lr', 'warmup_cosine_lr',
]
