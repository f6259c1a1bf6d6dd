"""The proof that an encoder stayed frozen notices every way of changing it."""

from types import SimpleNamespace

import pytest
import torch

from mmsimclr.engine import FrozenEncoderHook
from mmsimclr.features import weights_sha256
from mmsimclr.models import ResNet


def runner() -> SimpleNamespace:
    torch.manual_seed(0)
    model = SimpleNamespace(backbone=ResNet(depth=18, base_channels=4, stem='cifar').eval())
    return SimpleNamespace(model=model, epoch=4)


def add_to(name: str, place: tuple):
    def change(encoder):
        encoder.get_parameter(name).data[place] += 1e-6 if name.endswith('weight') else 1
    return change


def run_in_train_mode(encoder):
    with torch.no_grad():
        encoder.train()(torch.randn(2, 3, 16, 16))


def count_a_batch(encoder):
    encoder.bn1.num_batches_tracked += 1


@pytest.mark.parametrize('change', [
    add_to('conv1.weight', (0, 0, 0, 0)), add_to('layer4.1.bn2.bias', (3,)), run_in_train_mode,
    count_a_batch])
@pytest.mark.parametrize('event', ['before_train', 'after_train_epoch', 'after_train'])
def test_a_changed_encoder_stops_the_run(change, event):
    run, hook = runner(), FrozenEncoderHook(weights_sha256)
    hook.before_run(run)
    getattr(hook, event)(run)
    change(run.model.backbone)
    with pytest.raises(RuntimeError, match=r'is to be frozen and has changed.*fingerprint was [0-9a-f]{16}'):
        getattr(hook, event)(run)


def test_a_forward_pass_in_eval_mode_changes_nothing():
    run, hook = runner(), FrozenEncoderHook(weights_sha256)
    hook.before_run(run)
    run.model.backbone(torch.randn(2, 3, 16, 16))
    hook.after_train(run)
    assert hook.sha256 == weights_sha256(run.model.backbone)
