"""Projection heads."""

from .nonlinear_neck import NonLinearNeck
