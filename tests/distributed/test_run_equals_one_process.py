"""A whole run of a config on two processes against the same run on one."""

import pytest
import rank_tasks
import torch
from processes import run_ranks
from torch.testing import assert_close

# Without batch norm, whose statistics are per process on CPUs; in float32.
OPTIONS = {
    'model.backbone.base_channels': 4,
    'model.backbone.norm_cfg': dict(type='GN', num_groups=2),
    'model.neck.in_channels': 32,
    'model.neck.num_layers': 1,
    'model.neck.with_last_bn': False,
    'optim_wrapper.enabled': False,
    'optim_wrapper.optimizer.lr': 1.2,
    'train_cfg.max_epochs': 2,
    'param_scheduler.0.warmup': 0,
    'param_scheduler.0.total': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'train_dataloader.dataset.num_images': 24,
    'custom_hooks.2.bank.num_images': 30,
    'custom_hooks.2.queries.num_images': 21,
    'custom_hooks.3.num_images': 16,
    'custom_hooks.3.held_out.num_images': 16,
}


def test_two_processes_with_half_the_batch_each_train_the_model_of_one_process(
        quickstart_config, tmp_path):
    config = str(quickstart_config)
    one = run_ranks(rank_tasks.train_config, 1, config, {**OPTIONS, 'train_dataloader.batch_size': 8},
                    str(tmp_path / 'one'), folder=tmp_path / 'rank_of_one')[0]
    two = run_ranks(rank_tasks.train_config, 2, config, {**OPTIONS, 'train_dataloader.batch_size': 4},
                    str(tmp_path / 'two'), folder=tmp_path / 'ranks_of_two')
    assert torch.equal(*(run['logged']['lr'] for run in (one, two[0])))
    for of_rank in two:
        # The first steps show the same images and the same update, before rounding grows: it can switch
        # a ReLU for the whole of a plain background.
        assert_close(of_rank['logged']['loss'][:3], one['logged']['loss'][:3], rtol=1e-5, atol=0)
        assert_close(of_rank['logged']['loss'], one['logged']['loss'], rtol=1e-3, atol=0)
        for part in ('conv', 'bn', 'neck'):
            assert distance(of_rank['weights'], one['weights'], part) < 0.1 * distance(
                one['weights'], one['start'], part), part
        assert of_rank['knn'] == pytest.approx(one['knn'], abs=10)
    for name, value in two[0]['weights'].items():
        assert torch.equal(value, two[1]['weights'][name]), f'the ranks drifted apart in {name}'


def test_gradients_sent_in_bfloat16_train_nearly_the_same_model(quickstart_config, tmp_path):
    options = {**OPTIONS, 'train_dataloader.batch_size': 4, 'train_cfg.max_epochs': 1}
    plain, half = (run_ranks(
        rank_tasks.train_config, 2, str(quickstart_config), {**options, 'gradients': gradients},
        str(tmp_path / gradients), folder=tmp_path / f'ranks_{gradients}')
                   for gradients in ('float32', 'bf16'))
    assert all(of_rank['in_buckets'] for of_rank in plain + half)
    for name, value in half[0]['weights'].items():
        assert torch.equal(value, half[1]['weights'][name]), name
    assert torch.equal(half[0]['logged']['loss'][:1], plain[0]['logged']['loss'][:1])
    assert_close(half[0]['logged']['loss'], plain[0]['logged']['loss'], rtol=0.02, atol=0)
    moved = distance(plain[0]['weights'], plain[0]['start'], 'conv')
    assert 0 < distance(half[0]['weights'], plain[0]['weights'], 'conv') < 0.1 * moved


def distance(left: dict, right: dict, part: str) -> float:
    return sum((left[name] - right[name]).square().sum() for name in left if part in name).sqrt().item()
