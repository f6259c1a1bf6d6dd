"""Learning-rate schedules and scaling rules."""

from .warmup_cosine import WarmupCosineLR, scaled_lr, warmup_cosine_lr
