"""A profile's parts fill the step and leave the run as it was; operations and the share of the peak."""

import gzip
import json
import operator

import pytest
import torch
from tiny_run import log_of, tiny_config, tiny_runner

from mmsimclr.runner import build_runner
from mmsimclr.runner import runner as of_runner
from mmsimclr.runner.profile import step_flops

PARTS = ['data wait', 'copy', 'views', 'forward', 'backward', 'optimizer', 'other']


def rows(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line.endswith('%') or line.endswith('(overlaps)')]
    return {line[:16].strip(): float(line[16:26]) for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize('views', ['loader', 'device'])
def test_a_profile_has_the_parts_of_a_step_and_changes_nothing(tmp_path, views):
    def trained(name: str, **changes):
        config = tiny_config(tmp_path / name, views=views, **changes)
        config.train_dataloader.dataset.num_images = 48
        runner = build_runner(config)
        runner.train()
        return runner

    plain, profiled = trained('plain'), trained('profiled', profile=2)
    for left, right in zip(plain.model.parameters(), profiled.model.parameters(), strict=True):
        assert torch.equal(left, right)
    for part in ('model', 'model.data_preprocessor', 'optim_wrapper', 'train_loop'):
        left, right = (operator.attrgetter(part)(runner) for runner in (plain, profiled))
        assert set(vars(left)) == set(vars(right)), part
    ms = rows((tmp_path / 'profiled/profile/table.txt').read_text())
    assert list(ms) == [*PARTS, 'step', 'communication']
    assert sum(ms[part] for part in PARTS) == pytest.approx(ms['step'], rel=0.01, abs=0.05)
    assert (ms['views'] > 0) == (views == 'device') and ms['communication'] == 0
    assert min(ms['forward'], ms['backward'], ms['optimizer']) > 0
    with gzip.open(tmp_path / 'profiled/profile/trace.json.gz', 'rt') as file:
        names = [event.get('name') for event in json.load(file)['traceEvents']
                 if event.get('cat') == 'user_annotation']
    for part in ('forward', 'backward', 'data wait', 'copy'):
        assert names.count(part) == 2, part                     # once in each step


def test_more_steps_than_there_are_cannot_be_profiled(tmp_path):
    with pytest.raises(ValueError, match=r'--profile 3.*2 to be made'):
        tiny_runner(tmp_path, profile=3).train()


def test_resnet_18_at_32_pixels_takes_3_35_gflop_a_view(tmp_path):
    # 0.556 G multiply-adds forward, twice that backward (Kuangliu's ResNet-18 for CIFAR: 0.56 GMAC).
    runner = tiny_runner(tmp_path)
    runner.cfg.model.backbone = dict(type='ResNet', depth=18, stem='cifar')
    assert step_flops(runner) is None                                       # no step was made
    runner.model.data_preprocessor.shapes = [(5, 3, 32, 32)] * 2
    assert step_flops(runner) / 10 == pytest.approx(3.335e9, rel=0.01)


def test_the_log_has_the_share_of_a_peak_that_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(of_runner, 'peak_flops', lambda device: 1e12)
    runner = tiny_runner(tmp_path)
    runner.train()
    seconds = runner.message_hub.get_scalar('train/time').data[0][-1]
    line = next(line for line in log_of(tmp_path).splitlines() if 'step 2/2' in line)
    expected = 100 * step_flops(runner) / 1e12 / seconds
    assert f'MFU {expected:.1f} %' in line and expected > 0


def test_without_a_known_peak_the_log_has_no_share(tmp_path):
    tiny_runner(tmp_path).train()
    assert 'MFU' not in log_of(tmp_path)
