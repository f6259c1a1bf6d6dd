"""The schedule against MMEngine's LinearLR followed by CosineAnnealingLR."""

import copy
import math

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, LinearLR
from tiny_run import tiny_config

from mmsimclr.engine import WarmupCosineLR, scaled_lr, warmup_cosine_lr
from mmsimclr.registry import PARAM_SCHEDULERS
from mmsimclr.runner import build_runner


def optimizer(*rates: float) -> torch.optim.Optimizer:
    groups = [dict(params=[torch.nn.Parameter(torch.zeros(1))], lr=rate) for rate in rates or (0.7,)]
    return torch.optim.SGD(groups, lr=0.1)


def rates_of(optim: torch.optim.Optimizer, schedulers: list, steps: int) -> list[list[float]]:
    rates = []
    for _ in range(steps):
        rates.append([group['lr'] for group in optim.param_groups])
        optim.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def test_every_step_equals_mmengines_linear_warm_up_then_cosine():
    ours, theirs = optimizer(0.7, 0.1), optimizer(0.7, 0.1)
    got = rates_of(ours, [WarmupCosineLR(ours, 4, 20, by_epoch=False)], 20)
    # MMEngine's factor is at its end one step before `end`: 5 steps reach 1 at step 4.
    schedulers = [LinearLR(theirs, start_factor=1e-12, by_epoch=False, begin=0, end=5),
                  CosineAnnealingLR(theirs, T_max=16, by_epoch=False, begin=4, end=20)]
    want = rates_of(theirs, schedulers, 20)
    for step, (ours_now, theirs_now) in enumerate(zip(got, want, strict=True)):
        assert ours_now == pytest.approx(theirs_now, rel=1e-6, abs=1e-9), step


@pytest.mark.parametrize('step, rate', [
    (0, 0.0), (1, 0.2), (4, 0.8), (5, 0.8 * 0.5 * (1 + math.cos(math.pi / 8))),
    (8, 0.4), (12, 0.0), (50, 0.0)])
def test_rate_of_a_step_by_hand(step, rate):
    assert warmup_cosine_lr(step, 0.8, 4, 12) == pytest.approx(rate, abs=1e-12)


def test_without_warm_up_the_first_step_has_the_peak():
    assert warmup_cosine_lr(0, 0.8, 0, 10) == 0.8


def test_epochs_become_steps_when_the_run_starts():
    optim = optimizer()
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='WarmupCosineLR', warmup=1.5, total=4, convert_to_iter_based=True, epoch_length=6),
        default_args=dict(optimizer=optim))
    got = [rate for rate, in rates_of(optim, [scheduler], 24)]
    assert got == pytest.approx([warmup_cosine_lr(step, 0.7, 9, 24) for step in range(24)])


def test_a_restored_schedule_continues():
    first = optimizer()
    scheduler = WarmupCosineLR(first, 4, 20, by_epoch=False)
    rates_of(first, [scheduler], 7)
    state = copy.deepcopy(scheduler.state_dict()), copy.deepcopy(first.state_dict())
    want = rates_of(first, [scheduler], 13)

    second = optimizer()
    restored = WarmupCosineLR(second, 4, 20, by_epoch=False)
    restored.load_state_dict(state[0])
    second.load_state_dict(state[1])
    assert rates_of(second, [restored], 13) == want


@pytest.mark.parametrize('warmup, total', [(-1, 10), (10, 10), (11, 10), (math.nan, 10)])
def test_lengths_out_of_range_are_refused(warmup, total):
    with pytest.raises(ValueError, match='shorter than total'):
        WarmupCosineLR(optimizer(), warmup, total, by_epoch=False)


def test_epochs_that_were_not_converted_are_refused_with_the_mend():
    with pytest.raises(ValueError, match='set convert_to_iter_based=True'):
        WarmupCosineLR(optimizer(), 1, 10)
    with pytest.raises(ValueError, match='goes with by_epoch=True'):
        WarmupCosineLR.build_iter_from_epoch(optimizer(), warmup=1, total=10, epoch_length=5,
                                             by_epoch=False)


@pytest.mark.parametrize('rule, batch, rate', [
    ('linear', 256, 0.3), ('linear', 4096, 4.8), ('linear', 128, 0.15),
    ('sqrt', 4096, 0.3 * 64), ('sqrt', 256, 4.8), ('none', 4096, 0.3)])
def test_scaled_rate_by_hand(rule, batch, rate):
    assert scaled_lr(0.3, batch, rule) == pytest.approx(rate)


def test_both_rules_of_the_paper_meet_at_a_batch_of_4096():
    assert scaled_lr(0.075, 4096, 'sqrt') == pytest.approx(scaled_lr(0.3, 4096, 'linear'))


@pytest.mark.parametrize('arguments, message', [
    ((0.3, 256, 'cubic'), "linear, sqrt, none, got 'cubic'"), ((0.3, 0), 'global_batch >= 1'),
    ((-0.3, 256), 'base_lr must be >= 0'), ((math.nan, 256), 'base_lr must be >= 0')])
def test_scaling_of_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        scaled_lr(*arguments)


def test_a_run_may_be_counted_in_steps_as_the_official_code_counts_them(tmp_path):
    # 20 images, batches of 8, 3 epochs, one of warm-up: 7 + 1 steps, 2 of warm-up; whole batches give 6.
    dataset = dict(type='Shapes', num_images=20, image_size=16, pipeline=[
        dict(type='MultiView', num_views=2, transforms=[dict(type='SimCLRView', size=16, blur=False)]),
        dict(type='PackViews')])
    loop = dict(type='IterBasedTrainLoop', max_iters=20 * 3 // 8 + 1)
    config = tiny_config(tmp_path / 'run', train_cfg=loop,
                         param_scheduler=[dict(type='WarmupCosineLR', warmup=20 * 1 // 8, by_epoch=False)])
    config.train_dataloader.dataset = dataset
    config.default_hooks.checkpoint.update(by_epoch=False, interval=8)
    runner = build_runner(config)
    runner.train()
    rates, _ = runner.message_hub.get_scalar('train/lr').data
    total, warmup = 8, 2
    official = [0.3 * step / warmup if step < warmup else
                0.15 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) for step in range(total)]
    assert runner.iter == total and list(map(float, rates)) == pytest.approx(official)
