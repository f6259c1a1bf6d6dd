"""Outside a process group everything in mmsimclr.distributed is the identity."""

import pytest
import torch

from mmsimclr import distributed


def test_there_is_one_rank_and_no_group():
    assert (distributed.is_distributed(), distributed.rank(), distributed.world_size()) == (False, 0, 1)


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
