"""The quick start with views='device', through the command line, killed and resumed."""

import torch
from processes import run_tool


def test_training_with_views_on_the_device_resumes_bit_by_bit(tmp_path, quickstart_config, tiny):
    def train(name, *more):
        status, log = run_tool(tmp_path / f'{name}.log', 'train.py', quickstart_config, '--work-dir',
                               tmp_path / name, *more, *tiny(2, views='device'))
        assert status == 0, log
        return torch.load(tmp_path / name / 'epoch_2.pth', weights_only=False), log

    whole, log = train('whole')
    assert 'k-NN accuracy' in log
    resumed, log = train('resumed', '--resume', tmp_path / 'whole' / 'epoch_1.pth')
    assert 'epoch 1/2' not in log and 'epoch 2/2' in log
    for name, value in whole['state_dict'].items():
        assert torch.equal(resumed['state_dict'][name], value), name
    # What was dumped beside the checkpoint runs as it is: the switch is spent.
    config = next((tmp_path / 'whole').glob('*.py')).read_text(encoding='utf-8')
    assert 'DeviceViews' in config and 'InMemoryImages' in config and 'MultiView' not in config.split(
        'InMemoryImages')[-1].split('optim')[0]
