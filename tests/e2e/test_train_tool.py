"""tools/train.py: what it says, what it accepts, what it refuses, and how it ends."""

import hashlib
import json
import math

import cv2
import pytest
import torch
from processes import Tool, run_tool


def scalars(work_dir) -> list[dict]:
    file, = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope='module')
def finished(tmp_path_factory, quickstart_config, tiny):
    """Run the tool once as a user does, from another folder; return its work directory and output."""
    folder = tmp_path_factory.mktemp('train')
    status, log = Tool(folder / 'log', 'train.py', quickstart_config, '--work-dir', 'run', *tiny(),
                       cwd=folder).wait()
    assert status == 0, log
    return folder / 'run', log


def test_log_begins_with_what_decides_the_run(finished):
    _, log = finished
    summary = log[:log.index('epoch 1/2')]
    for fact in ('images         40 of Shapes', 'global batch   8: 14 negatives per anchor',
                 'learning rate  1.2 at its peak', 'steps          10 = 2 epochs of 5'):
        assert fact in summary


def test_the_whole_output_of_a_short_run_fits_a_screen(finished):
    _, log = finished
    assert len(log.splitlines()) < 25 and max(map(len, log.splitlines())) < 160
    for noise in ('Exp name', 'FileClient', 'HardDisk', 'Saving checkpoint', 'mmengine', 'WARNING'):
        assert noise not in log


def test_it_ends_with_pictures_of_curves_views_and_neighbours(finished):
    work_dir, log = finished
    pictures = [work_dir / f'{name}.png' for name in ('curves', 'views', 'neighbours')]
    for picture in pictures:
        pixels = cv2.imread(str(picture))
        assert pixels is not None and min(pixels.shape[:2]) > 150 and pixels.std() > 5, picture
    assert log.splitlines()[-3:] == [f'run/{each.name}' for each in pictures]


def test_every_step_is_logged_with_loss_accuracy_entropy_rate_speed_and_eta(finished):
    log = next(finished[0].glob('*/*.log')).read_text()
    lines = [line for line in log.splitlines() if 'step ' in line and 'epoch ' in line and '/2 ' in line]
    assert len(lines) == 10
    for line in lines:
        for word in ('loss ', 'accuracy ', 'entropy ', 'lr ', ' images/s', 'ETA '):
            assert word in line, line


def test_scalars_follow_the_schedule_and_are_plausible(finished):
    work_dir, _ = finished
    entries = [entry for entry in scalars(work_dir) if 'loss' in entry]
    assert [entry['iter'] for entry in entries] == list(range(1, 11))
    # One epoch of warm-up from 0, then half a cosine: five steps each.
    want = [1.2 * step / 5 for step in range(5)]
    want += [0.6 * (1 + math.cos(math.pi * step / 5)) for step in range(5)]
    assert [entry['lr'] for entry in entries] == pytest.approx(want, abs=1e-6)
    assert 1 < entries[0]['loss'] < 2 * math.log(15)
    assert all(0 <= entry['contrastive_accuracy'] <= 1 for entry in entries)
    assert all(0 < entry['contrastive_entropy'] <= math.log(8) + 1e-3 for entry in entries)
    assert all(entry['images_per_second'] > 0 for entry in entries)
    assert [0 <= entry['knn_accuracy'] <= 100 for entry in scalars(work_dir) if 'knn_accuracy' in entry]


def test_checkpoint_holds_model_optimizer_and_schedule(finished):
    work_dir, _ = finished
    checkpoint = torch.load(work_dir / 'epoch_2.pth', weights_only=False)
    assert {'state_dict', 'optimizer', 'param_schedulers', 'meta', 'message_hub'} <= checkpoint.keys()
    assert checkpoint['meta']['epoch'] == 2
    assert (work_dir / 'last_checkpoint').read_text().strip() == str(work_dir / 'epoch_2.pth')


def test_dumped_config_can_be_trained_again_with_the_same_result(finished, tmp_path):
    work_dir, _ = finished
    dumped = work_dir / 'simclr_resnet18-w16_1xb128-coslr-5e_shapes.py'
    status, log = run_tool(tmp_path / 'log', 'train.py', dumped, '--work-dir', tmp_path / 'again')
    assert status == 0, log
    first, again = (torch.load(folder / 'epoch_2.pth', weights_only=False)['state_dict']
                    for folder in (work_dir, tmp_path / 'again'))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_amp_bf16_computes_in_bfloat16(tmp_path, quickstart_config, tiny):
    losses = {}
    for name, arguments in (('float32', []), ('bf16', ['--amp', 'bf16'])):
        status, log = run_tool(tmp_path / f'{name}.log', 'train.py', quickstart_config, '--work-dir',
                               tmp_path / name, *arguments, *tiny(1, optim_wrapper__enabled=False))
        assert status == 0, log
        losses[name] = next(entry['loss'] for entry in scalars(tmp_path / name) if 'loss' in entry)
    assert losses['bf16'] != losses['float32']
    assert losses['bf16'] == pytest.approx(losses['float32'], rel=0.02)


def test_auto_scale_lr_follows_the_real_batch(tmp_path, quickstart_config, tiny):
    status, log = run_tool(tmp_path / 'log', 'train.py', quickstart_config, '--work-dir', tmp_path / 'run',
                           '--auto-scale-lr', *tiny(1, train_dataloader__batch_size=16,
                                                    auto_scale_lr__base_batch_size=256))
    assert status == 0, log
    assert 'learning rate 1.2 at a global batch of 256 becomes 0.3 at 16 (sqrt rule)' in log
    assert 'learning rate  0.3 at its peak' in log


MISTAKES = {
    'misspelt option': (['--cfg-options', 'optim_wraper.x=1'], "did you mean 'optim_wrapper'?"),
    'misspelt key of a section': (['--cfg-options', 'train_cfg.max_epoch=1'], "did you mean 'max_epochs'?"),
    'misspelt argument of a component': (['--cfg-options', 'model.backbone.dept=18'],
                                         "unknown key 'dept' in model.backbone; did you mean 'depth'?"),
    'option that only the file reads': (['--cfg-options', 'view.size=16'], "'view' is a variable"),
    'value out of range': (['--cfg-options', 'model.head.temperature=-0.1'],
                           'temperature must be a number, at least 1e-06 and finite, got -0.1'),
    'widths that do not fit': (['--cfg-options', 'model.neck.in_channels=512'],
                               "in_channels is 512, and the encoder's last map has 128 channels"),
    'no such checkpoint': (['--resume', 'no/such.pth'], 'no/such.pth'),
    'fp16 without a GPU': (['--amp', 'fp16'], 'use bf16 on a CPU'),
    'launcher without a launch': (['--launcher', 'pytorch'], 'tools/dist_train.sh'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_is_one_line_and_not_a_traceback(mistake, tmp_path, quickstart_config):
    arguments, said = MISTAKES[mistake]
    status, log = run_tool(tmp_path / 'log', 'train.py', quickstart_config, '--work-dir', tmp_path / 'run',
                           *arguments)
    assert status == 1
    assert 'Traceback' not in log
    last = log.strip().splitlines()[-1]
    assert last.startswith('error: ')
    assert said in last


def test_a_missing_config_suggests_the_nearest(tmp_path, quickstart_config):
    status, log = run_tool(tmp_path / 'log', 'train.py', str(quickstart_config).replace('1xb', '1xb0'))
    assert status == 1
    assert log.startswith('error: no config at') and f'did you mean {quickstart_config}?' in log


def test_a_traceback_can_be_asked_for(tmp_path, quickstart_config):
    status, log = run_tool(tmp_path / 'log', 'train.py', quickstart_config, '--cfg-options', 'modle.x=1',
                           MMSIMCLR_TRACEBACK='1')
    assert status == 1
    assert 'Traceback' in log and "did you mean 'model'?" in log


POISON = '''
import torch
from mmengine.hooks import Hook


class Poison(Hook):
    """Ruin the weights before an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.iteration:
            with torch.no_grad():
                runner.model.neck.fc0.weight.fill_(float('nan'))
'''


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
        tmp_path, quickstart_config, tiny):
    (tmp_path / 'poison.py').write_text(POISON)
    config = quickstart_config.read_text().replace('from .._base_', 'from ._base_')
    config += '\nfrom poison import Poison\n\ncustom_hooks.append(dict(type=Poison, iteration=8))\n'
    (tmp_path / '_base_').symlink_to(quickstart_config.parents[1] / '_base_')
    (tmp_path / 'poisoned.py').write_text(config)
    work_dir = tmp_path / 'run'
    status, log = run_tool(tmp_path / 'log', 'train.py', tmp_path / 'poisoned.py', '--work-dir', work_dir,
                           *tiny(), PYTHONPATH=str(tmp_path))
    assert status == 1
    last = log.strip().splitlines()[-1]
    assert last.startswith('error: the loss is not finite at iteration 8: stopped.')
    assert f'The last good checkpoint is {work_dir / "epoch_1.pth"}.' in last
    assert [path.name for path in work_dir.glob('*.pth')] == ['epoch_1.pth']
    weights = torch.load(work_dir / 'epoch_1.pth', weights_only=False)['state_dict']
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_a_run_leaves_a_result_that_says_what_it_was(finished):
    work_dir, log = finished
    result = json.loads((work_dir / 'result.json').read_text())
    assert result['checkpoint_sha256'] == hashlib.sha256((work_dir / 'epoch_2.pth').read_bytes()).hexdigest()
    counts = {'train': 40, 'bank': 40, 'queries': 20, 'health': 16}
    assert result['seed'] == 0 and result['num_images'] == counts
    assert result['settings']['iterations'] == 10 and result['settings']['global_batch'] == 8
    logged = [entry['knn_accuracy'] for entry in scalars(work_dir) if 'knn_accuracy' in entry]
    assert [result['metrics'][f'{name}_percent'] for name in ('knn_accuracy_at_start', 'knn_accuracy')] == \
        pytest.approx([logged[0], logged[-1]])
    losses = [entry['loss'] for entry in scalars(work_dir) if 'loss' in entry]
    assert result['metrics']['loss_nats'] == pytest.approx(losses[-1])      # both are means of all ten
    assert f'at the start: k-NN accuracy {logged[0]:.2f} %' in log
