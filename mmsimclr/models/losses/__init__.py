"""Contrastive losses."""

from .nt_xent_loss import NTXentLoss, contrastive_metrics, nt_xent_loss
from .pair_losses import MarginTripletLoss, NTLogisticLoss
