"""A captured step, its replay stood in for by computing again; on a GPU: tests/gpu."""

from contextlib import nullcontext

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from tiny_run import tiny_config, tiny_runner

from mmsimclr.registry import MODELS
from mmsimclr.runner import graph


def batches(sizes):
    generator = torch.Generator().manual_seed(0)
    return [dict(inputs=[torch.randint(256, (size, 3, 16, 16), generator=generator, dtype=torch.uint8)
                         for _ in range(2)], data_samples={}) for size in sizes]


def trained(monkeypatch, tmp_path, graphed: bool, sizes) -> tuple[list, list[float], int]:
    torch.manual_seed(0)
    init_default_scope('mmsimclr')
    config = tiny_config(tmp_path)
    model = MODELS.build(config.model)
    wrapper = build_optim_wrapper(model, {'type': 'OptimWrapper', **config.optim_wrapper})
    captured, logged = [], []

    def capture(step):
        captured.append(step)
        return step
    monkeypatch.setattr(graph, 'captured', capture)
    monkeypatch.setattr(graph, 'beside', nullcontext)
    if graphed:
        model.train_step = graph.GraphedStep(model, wrapper)
    for number, batch in enumerate(batches(sizes)):
        for group in wrapper.optimizer.param_groups:                        # as a schedule has it
            group['lr'] = 0.1 * (number + 1)
        logged.append(float(model.train_step(batch, wrapper)['loss']))
    assert all(isinstance(group['lr'], float) for group in wrapper.optimizer.param_groups)
    return list(model.state_dict().values()), logged, len(captured)


def test_replayed_steps_are_the_plain_ones_at_the_rates_of_the_schedule(monkeypatch, tmp_path):
    sizes = [8] * (graph.WARM_UP + 3) + [6, 8]                        # one batch of another shape
    want, losses, _ = trained(monkeypatch, tmp_path, False, sizes)
    got, replayed, num_captured = trained(monkeypatch, tmp_path, True, sizes)
    assert num_captured == 1
    assert len(set(losses)) == len(losses)
    torch.testing.assert_close(replayed, losses, rtol=1e-5, atol=1e-6)
    for left, right in zip(got, want, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_a_run_that_cannot_be_captured_says_what_it_lacks(tmp_path):
    with pytest.raises(ValueError, match='graph=True needs a GPU; graph=False'):
        tiny_runner(tmp_path, graph=True).train()
