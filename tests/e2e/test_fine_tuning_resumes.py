"""A fine-tuning by steps that was killed goes on where it was, and ends as one that was not."""

import hashlib
import json

import pytest
import torch
from processes import ROOT, Tool, run_tool

from mmsimclr.datasets import Shapes
from mmsimclr.models import ResNet
from mmsimclr.prepare.shapes import write_voc

pytest.importorskip('mmseg', reason='needs mmseg (tools/install.sh full)')

CONFIG = ROOT / 'configs/benchmarks/segmentation/fcn-d8_1xb16-polylr-400_shapes.py'
STEPS = 24


@pytest.fixture(scope='module')
def words(tmp_path_factory):
    """Return a command of a run in which nothing is random but the order of the images."""
    root = tmp_path_factory.mktemp('data')
    data = write_voc({split: Shapes(num_images=7, image_size=32, seed=seed, objects='multi')
                      for seed, split in enumerate(('train', 'val'))}, root / 'voc')
    torch.manual_seed(0)
    torch.save(ResNet(depth=18, base_channels=4, stem='cifar', zero_init_residual=False).state_dict(),
               root / 'encoder.pth')
    options = {
        'data_root': data, 'train_cfg.max_iters': STEPS, 'train_cfg.val_interval': STEPS,
        'param_scheduler.0.end': STEPS, 'model.data_preprocessor.size': '(32,32)',
        'train_dataloader.batch_size': 2, 'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False, 'train_dataloader.dataset.pipeline.2.scale': '(32,32)',
        'test_dataloader.dataset.pipeline.1.scale': '(32,32)', 'test_dataloader.num_workers': 0,
        'train_dataloader.dataset.pipeline.3.prob': 0.0, 'model.decode_head.dropout_ratio': 0.0,
        'model.auxiliary_head.dropout_ratio': 0.0, 'default_hooks.checkpoint.interval': 4,
        'default_hooks.logger.interval': 1}
    return lambda folder, *more: ['benchmark.py', CONFIG, root / 'encoder.pth', '--work-dir', folder, *more,
                                  '--cfg-options', *(f'{key}={value}' for key, value in options.items())]


def rates(folder):
    """Return the learning rate of every step that was logged, the last time it was."""
    lines = [json.loads(line) for path in sorted(folder.glob('*/vis_data/scalars.json'))
             for line in path.read_text().splitlines()]
    return {line['step']: line['lr'] for line in lines if 'lr' in line}


def test_killed_and_resumed_it_ends_as_if_nothing_had_been(words, tmp_path):
    status, log = run_tool(tmp_path / 'whole.log', *words(tmp_path / 'whole'))
    assert status == 0, log

    tool = Tool(tmp_path / 'killed.log', *words(tmp_path / 'run'))
    last = tmp_path / 'run/last_checkpoint'
    tool.wait_for(lambda: last.is_file() and not last.read_text().endswith('iter_4.pth'))
    tool.kill()
    assert not (tmp_path / 'run/result.json').exists(), 'it was through before it was killed'
    done = int(last.read_text().rpartition('iter_')[2].removesuffix('.pth'))
    assert 8 <= done < STEPS

    status, log = run_tool(tmp_path / 'resumed.log', *words(tmp_path / 'run', '--resume'))
    assert status == 0, log
    assert f'step {done + 1:>2}/{STEPS}' in log and f'step {done:>2}/{STEPS}' not in log
    whole, resumed = (json.loads((tmp_path / name / 'result.json').read_text()) for name in ('whole', 'run'))
    assert resumed['settings']['steps'] == whole['settings']['steps'] == STEPS
    assert resumed['metrics'] == whole['metrics']
    assert rates(tmp_path / 'run') == rates(tmp_path / 'whole')
    assert len(set(rates(tmp_path / 'whole').values())) == STEPS, 'the rate falls at every step'

    want, got = (torch.load(tmp_path / name / f'iter_{STEPS}.pth', weights_only=False)
                 for name in ('whole', 'run'))
    for key, value in want['state_dict'].items():
        assert torch.equal(got['state_dict'][key], value), key
    for number, state in want['optimizer']['state'].items():
        momentum = state['momentum_buffer']
        assert momentum.any() and torch.equal(got['optimizer']['state'][number]['momentum_buffer'], momentum)


def test_a_run_of_another_encoder_is_not_gone_on_with(words, tmp_path):
    folder = tmp_path / 'run'
    status, log = run_tool(tmp_path / 'first.log', *words(folder), 'train_cfg.max_iters=4')
    assert status == 0, log
    first = torch.load(words(folder)[2], weights_only=True)
    torch.save({key: value + 1 for key, value in first.items()}, tmp_path / 'other.pth')
    before = (folder / 'result.json').read_bytes()
    command = words(folder, '--resume')
    first, command[2] = command[2], tmp_path / 'other.pth'
    status, log = run_tool(tmp_path / 'second.log', *command)
    assert status == 1 and '\nerror: ' in log and 'iter_4.pth' in log and 'Traceback' not in log
    for path in (first, tmp_path / 'other.pth'):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in log
    assert (folder / 'result.json').read_bytes() == before
    status, log = run_tool(tmp_path / 'third.log', *command, 'train_cfg.max_iters=6',
                           '--allow-changed', 'encoder.sha256')
    assert status == 0, log
    changes, = json.loads((folder / 'result.json').read_text())['settings']['changed_on_resume']
    assert changes['step'] == 4 and [each['key'] for each in changes['changes']] == ['encoder.sha256']
