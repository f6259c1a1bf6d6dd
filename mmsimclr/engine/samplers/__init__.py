"""Data samplers."""

from .seeded_sampler import SampleIndex, SeededSampler

__all__ = ['SampleIndex', 'SeededSampler']
