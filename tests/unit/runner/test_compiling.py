"""torch.compile of the encoder: the same numbers and keys, and an error where it cannot work."""

import re

import pytest
import torch
from tiny_run import PACK_IMAGE, log_of, tiny_runner
from torch._dynamo.utils import counters

from mmsimclr.checkpoints import load_encoder
from mmsimclr.errors import InputError
from mmsimclr.models import ResNet, SimCLR
from mmsimclr.runner import compile_encoder

# Traces and differentiates as torch.compile does, and leaves out the minute of code generation.
TRACED = dict(backend='aot_eager')


@pytest.fixture(autouse=True)
def nothing_compiled():
    torch._dynamo.reset()
    counters.clear()


def tiny_model() -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(dict(type='ResNet', depth=18, base_channels=4, stem='cifar'),
                  dict(type='NonLinearNeck', in_channels=32, hid_channels=8, out_channels=4, num_layers=2),
                  dict(type='ContrastiveHead', loss=dict(type='NTXentLoss'), temperature=0.5))


def test_a_compiled_encoder_gives_the_loss_and_the_gradient_of_the_plain_one():
    plain, compiled = tiny_model(), tiny_model()
    compile_encoder(compiled, TRACED)
    views = list(torch.randn(2, 4, 3, 16, 16))
    for model in (plain, compiled):
        model.loss(views)['loss'].backward()
    assert counters['stats']['unique_graphs'] == 2                   # the probe and the encoder, unbroken
    assert list(compiled.state_dict()) == list(plain.state_dict())
    for (name, left), right in zip(compiled.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_the_switch_compiles_the_encoder_and_its_checkpoint_loads_elsewhere(tmp_path):
    runner = tiny_runner(tmp_path, compile=TRACED)
    runner.train()
    assert counters['stats']['unique_graphs'] >= 2
    assert 'the encoder is compiled' in log_of(tmp_path)
    other = ResNet(18, base_channels=4, stem='cifar')
    load_encoder(other, tmp_path / f'epoch_{runner.max_epochs}.pth')
    torch.testing.assert_close(other.state_dict(), runner.model.backbone.state_dict())


def test_without_the_switch_nothing_is_compiled(tmp_path):
    tiny_runner(tmp_path, compile=False).train()
    assert not counters['stats']


@pytest.mark.parametrize('options', [dict(backend='no_such_backend'), dict(mode='no_such_mode'),
                                     dict(no_such_option=1)])
def test_what_cannot_be_compiled_is_said_before_training_with_the_options_at_fault(options):
    name = next(iter(options))
    with pytest.raises(ValueError, match=rf'compile: torch.compile with {name}=.*compile=False'):
        compile_encoder(tiny_model(), options)


@pytest.mark.parametrize('options', ['max-autotune', 1, ['inductor']])
def test_options_of_compiling_that_are_no_dict_are_refused(options):
    with pytest.raises(InputError, match=rf"dict\(mode=.*got {re.escape(repr(options))}"):
        compile_encoder(tiny_model(), options)


def test_a_reason_without_words_and_a_model_without_an_encoder_are_said_too(monkeypatch):
    with pytest.raises(ValueError, match='Linear has no backbone'):
        compile_encoder(torch.nn.Linear(2, 2))

    def broken(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(torch, 'compile', broken)
    with pytest.raises(ValueError, match=r'AssertionError.*compile=False'):
        compile_encoder(tiny_model())


def test_the_online_knn_is_not_compiled_and_training_is_for_one_size(tmp_path):
    """Batches of other sizes would have the training's graph compiled for any size, which is slower."""
    sizes_known = []

    def backend(graph, inputs):
        sizes_known.append(not any(isinstance(value, torch.SymInt) for value in inputs))
        return graph.forward

    torch._dynamo.register_backend(backend, name='looking_at_sizes')
    images = dict(type='Shapes', num_images=10, image_size=16, pipeline=PACK_IMAGE)
    runner = tiny_runner(tmp_path, compile=dict(backend='looking_at_sizes'), custom_hooks=[
        dict(type='OnlineKNNHook', bank=images, queries=images, batch_size=7, at_start=True)])
    runner.train()
    assert 'at the start: k-NN' in log_of(tmp_path) and sizes_known == [True, True]    # the probe, training


def test_compiling_draws_no_random_numbers():
    model, before = tiny_model(), torch.get_rng_state()
    compile_encoder(model, TRACED)
    assert torch.equal(torch.get_rng_state(), before)
