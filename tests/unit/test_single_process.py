"""Outside a process group everything in mmsimclr.distributed is the identity."""

import multiprocessing
import os

import pytest
import torch
import torch.distributed as dist

from mmsimclr import distributed


def test_there_is_one_rank_and_no_group():
    assert (distributed.is_distributed(), distributed.rank(), distributed.world_size()) == (False, 0, 1)


@pytest.mark.parametrize('config', [{}, dict(launcher=None, env_cfg=None), dict(env_cfg=dict(dist_cfg=None))])
def test_a_config_that_asks_for_no_group_starts_none(config):
    distributed.start_as(config)
    assert not distributed.is_distributed()


def test_gathered_rows_are_the_rows_themselves_with_their_gradient():
    rows = torch.randn(3, 2, requires_grad=True)
    assert distributed.gather_rows(rows) is rows


def test_mean_over_ranks_is_a_copy_without_gradient():
    value = torch.tensor([1.5, -2.0], requires_grad=True)
    mean = distributed.mean_over_ranks(value)
    assert torch.equal(mean, value) and not mean.requires_grad
    mean += 1
    assert value.tolist() == [1.5, -2.0]


def test_any_batch_size_is_equal_to_itself():
    distributed.check_equal_batch(0)


def test_no_launcher_starts_no_group():
    distributed.start('none')
    assert not distributed.is_distributed()


def test_a_launcher_without_its_variables_is_refused_and_names_the_missing(monkeypatch):
    monkeypatch.setenv('RANK', '0')
    for name in ('WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RuntimeError, match='pytorch needs WORLD_SIZE, LOCAL_RANK in the environment'):
        distributed.start('pytorch')


def test_an_unknown_launcher_is_refused():
    with pytest.raises(ValueError, match="one of none, pytorch, slurm, mpi, got 'torch'"):
        distributed.start('torch')


def test_a_restarted_run_meets_under_keys_of_its_own(monkeypatch):
    """Torchrun's store still has the addresses of the processes that died."""
    server = dist.TCPStore('127.0.0.1', 0, 1, is_master=True)
    for name, value in dict(RANK='0', WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(server.port),
                            TORCHELASTIC_USE_AGENT_STORE='True', TORCHELASTIC_RESTART_COUNT='0').items():
        monkeypatch.setenv(name, value)
    assert distributed._place_of_this_start() == {}
    for restarts in '12':
        monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', restarts)
        place = distributed._place_of_this_start()
        assert (place['rank'], place['world_size']) == (0, 2)
        assert not place['store'].check(['address'])
        place['store'].set('address', restarts)
    assert server.get('start 2/address') == b'2'
    monkeypatch.setenv('MMSIMCLR_ELASTIC_RANKS', '4')           # torchrun gives each start a store of its own
    assert distributed._place_of_this_start() == {}


def test_mpi_tells_mmengine_the_gpu_and_loaders_are_forked(monkeypatch):
    """Without both MMEngine could not wrap the model, and loader processes would begin from nothing."""
    seen = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 8)
    monkeypatch.setattr(distributed, 'init_dist', lambda launcher, **settings: seen.append(
        (launcher, os.environ['LOCAL_RANK'], multiprocessing.get_start_method(allow_none=True))))
    monkeypatch.setenv('LOCAL_RANK', 'put back as it was')
    monkeypatch.delenv('LOCAL_RANK')
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_RANK', '3')
    distributed.start('mpi')
    assert seen == [('mpi', '3', multiprocessing.get_all_start_methods()[0])]
