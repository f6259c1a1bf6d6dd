"""LARS, its parameter groups, and mixed precision."""

from .autocast import BFloat16OptimWrapper, native_bfloat16
from .constructor import LARSOptimWrapperConstructor, is_skipped
from .lars import LARS
