"""The formulas of the plan for many GPUs say what the code sends."""

import sys

import pytest
import torch

from mmsimclr import distributed
from mmsimclr.models import ContrastiveHead


@pytest.fixture(scope='module')
def plan(root):
    sys.path.insert(0, str(root / 'benchmarks'))
    try:
        import scaling_plan
    finally:
        sys.path.remove(str(root / 'benchmarks'))
    return scaling_plan


def test_an_encoder_is_counted_as_torchvision_counts_it(plan):
    models = pytest.importorskip('torchvision.models')
    resnet = models.resnet50()
    in_encoder = sum(p.numel() for name, p in resnet.named_parameters() if not name.startswith('fc'))
    norms = [m.num_features for m in resnet.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    parameters, num_norms, channels = plan.parts()
    # The head: two layers without bias, 2048-2048-128, each with batch norm.
    assert parameters - in_encoder == 2048 * 2048 + 2 * 2048 + 2048 * 128 + 2 * 128
    assert (num_norms, channels) == (len(norms) + 2, sum(norms) + 2048 + 128)


def test_loss_and_log_send_what_the_formula_says(plan, monkeypatch):
    """On W ranks a gather sends the own rows to W - 1 others; what is gathered is counted on one."""
    sizes = []
    gather = distributed.gather_rows

    def counted(rows):
        sizes.append(rows.numel() * rows.element_size())
        return gather(rows)
    monkeypatch.setattr(distributed, 'gather_rows', counted)
    views = torch.randn(2, 6, plan.WIDTH)
    ContrastiveHead().loss(views.requires_grad_())['loss'].backward()
    assert sum(sizes) * 7 == plan.loss_bytes(gpus=8, images=6)


def test_ring_and_gather_of_two_ranks_by_hand(plan):
    assert plan.gradient_bytes(2, 100) == 100 * 4               # half of it there, the sums of the other back
    assert plan.norm_bytes(2, num_norms=1, channels=3) == (2 * 3 + 1) * 4 + 2 * 3 * 4
    assert plan.kept_bytes(2, 5) == 4 * (2 * 10 * 129 + 2 * 5 * 257)
