"""Data samplers."""

from .seeded_sampler import SampleIndex, SeededSampler
