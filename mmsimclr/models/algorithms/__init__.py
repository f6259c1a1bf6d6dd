"""Algorithms: whole models that MMEngine's Runner trains."""

from .simclr import SimCLR

__all__ = ['SimCLR']
