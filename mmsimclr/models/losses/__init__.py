"""Contrastive losses."""

from .nt_xent_loss import NTXentLoss, contrastive_metrics, nt_xent_loss

__all__ = ['NTXentLoss', 'contrastive_metrics', 'nt_xent_loss']
