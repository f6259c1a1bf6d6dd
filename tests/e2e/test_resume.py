"""A run that was killed and resumed ends in the weights and momenta of one that was not."""

import pytest
import torch
from processes import Tool, run_tool

EPOCHS = 5


def options(tiny, num_workers: int) -> list[str]:
    return tiny(EPOCHS, train_dataloader__num_workers=num_workers,
                train_dataloader__persistent_workers=num_workers > 0,
                train_dataloader__dataset__num_images=64)


def load(work_dir) -> dict:
    return torch.load(work_dir / f'epoch_{EPOCHS}.pth', weights_only=False)


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory, quickstart_config, tiny):
    folder = tmp_path_factory.mktemp('uninterrupted')
    status, log = run_tool(folder / 'log', 'train.py', quickstart_config, '--work-dir', folder,
                           *options(tiny, 0))
    assert status == 0, log
    return folder


def assert_identical(got: dict, want: dict) -> None:
    assert got['state_dict'].keys() == want['state_dict'].keys()
    for name, value in want['state_dict'].items():
        assert torch.equal(got['state_dict'][name], value), name
    momenta = [checkpoint['optimizer']['state'] for checkpoint in (got, want)]
    assert momenta[0].keys() == momenta[1].keys()
    assert len(momenta[1]) > 60
    for number, state in momenta[1].items():
        assert torch.equal(momenta[0][number]['momentum_buffer'], state['momentum_buffer']), number
    groups = [checkpoint['optimizer']['param_groups'] for checkpoint in (got, want)]
    for got_group, want_group in zip(*groups, strict=True):
        assert {name: got_group[name] for name in want_group} == want_group    # torch adds a default
    assert got['meta']['iter'] == want['meta']['iter']


def test_weights_and_momenta_change_in_every_epoch(uninterrupted):
    last, before = (torch.load(uninterrupted / f'epoch_{epoch}.pth', weights_only=False)
                    for epoch in (EPOCHS, EPOCHS - 1))
    assert not torch.equal(last['state_dict']['neck.fc0.weight'], before['state_dict']['neck.fc0.weight'])


@pytest.mark.parametrize('num_workers', [0, 1])
def test_killed_and_resumed_run_is_bit_identical(num_workers, uninterrupted, tmp_path, quickstart_config,
                                                 tiny):
    work_dir = tmp_path / 'run'
    command = ['train.py', quickstart_config, '--work-dir', work_dir, *options(tiny, num_workers)]
    tool = Tool(tmp_path / 'killed.log', *command)
    last = work_dir / 'last_checkpoint'
    tool.wait_for(lambda: last.is_file() and last.read_text().endswith('epoch_2.pth'))
    tool.kill()
    assert not (work_dir / f'epoch_{EPOCHS}.pth').exists(), 'it was through before it was killed'

    command.insert(4, '--resume')
    status, log = run_tool(tmp_path / 'resumed.log', *command)
    assert status == 0, log
    assert 'going on after' in log
    assert 'epoch 1/5' not in log
    assert_identical(load(work_dir), load(uninterrupted))


def test_a_checkpoint_can_be_resumed_into_another_work_dir(uninterrupted, tmp_path, quickstart_config, tiny):
    status, log = run_tool(tmp_path / 'log', 'train.py', quickstart_config, '--work-dir', tmp_path / 'run',
                           '--resume', uninterrupted / 'epoch_3.pth', *options(tiny, 0))
    assert status == 0, log
    assert 'epoch 3/5' not in log and 'epoch 4/5' in log
    assert_identical(load(tmp_path / 'run'), load(uninterrupted))
