"""A published file holds the model, the whole model and nothing but the model, under its content's hash."""

import hashlib
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from export_sources import fill
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper

from mmsimclr.checkpoints import LayoutError, read_checkpoint, read_encoder
from mmsimclr.checkpoints.publish import publish_checkpoint
from mmsimclr.registry import MODELS


def build_model():
    return MODELS.build(dict(
        type='mmsimclr.SimCLR', backbone=dict(type='mmsimclr.ResNet', depth=18, width_multiplier=0.125),
        neck=dict(type='mmsimclr.NonLinearNeck', in_channels=64, hid_channels=12, out_channels=8),
        head=dict(type='mmsimclr.ContrastiveHead')))


@pytest.fixture
def run(tmp_path) -> Path:
    """Return the checkpoint of a run, as MMEngine writes it with an EMA hook."""
    model = build_model()
    fill(model)
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    hub = MessageHub.get_instance('published')
    hub.update_scalar('train/loss', 1.5)
    folder = tmp_path / 'run'
    folder.mkdir()
    state_dict = model.to(memory_format=torch.channels_last).state_dict()
    torch.save({
        'meta': {'epoch': 7, 'iter': 70, 'cfg': 'lr = 1', 'seed': 3, 'hook_msgs': {'last_ckpt': '/secret'},
                 'dataset_meta': {'mean': np.float64(0.5), 'classes': ('a', 'b'), 'counts': np.arange(3)}},
        'state_dict': state_dict, 'message_hub': hub.state_dict(), 'optimizer': optimizer.state_dict(),
        'param_schedulers': [{'last_step': 70}],
        'ema_state_dict': {f'module.{key}': value + 1 for key, value in state_dict.items()},
    }, folder / 'epoch_7.pth')
    return folder / 'epoch_7.pth'


def test_the_name_ends_in_the_hash_of_the_content(run, tmp_path):
    path = publish_checkpoint(run, tmp_path / 'simclr_tiny')
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path == tmp_path / f'simclr_tiny-{sha256[:8]}.pth'
    assert read_checkpoint(path).sha256 == sha256
    assert publish_checkpoint(run, tmp_path / 'simclr_tiny.pth') == path
    assert publish_checkpoint(run, tmp_path).name == f'epoch_7-{sha256[:8]}.pth'


def test_the_whole_model_is_kept_bit_by_bit(run, tmp_path):
    path = publish_checkpoint(run, tmp_path / 'out')
    want = torch.load(run, weights_only=False)['state_dict']
    tree = torch.load(path, weights_only=True)
    assert tree['state_dict'].keys() == want.keys()
    for key, value in want.items():
        got = tree['state_dict'][key]
        assert torch.equal(got, value) and got.dtype == value.dtype and got.is_contiguous(), key
    build_model().load_state_dict(tree['state_dict'])


def test_what_only_training_needs_is_left_out_and_meta_is_plain(run, tmp_path):
    path = publish_checkpoint(run, tmp_path / 'out')
    tree = torch.load(path, weights_only=True)              # numpy's types would be refused
    assert tree.keys() == {'meta', 'state_dict'}
    record = tree['meta'].pop('mmsimclr')
    assert record['encoder']['depth'] == 18 and record['encoder']['width_multiplier'] == 0.125
    assert tree['meta'] == {'epoch': 7, 'iter': 70, 'cfg': 'lr = 1', 'seed': 3,
                            'dataset_meta': {'mean': 0.5, 'classes': ['a', 'b'], 'counts': [0, 1, 2]}}
    assert path.stat().st_size < 0.4 * run.stat().st_size
    for secret in (b'/secret', str(tmp_path).encode()):
        assert secret not in path.read_bytes()


def test_publishing_again_gives_the_same_bytes(run, tmp_path):
    path = publish_checkpoint(run, tmp_path / 'out')
    before = path.stat().st_mtime_ns
    assert publish_checkpoint(run, tmp_path / 'out') == path and path.stat().st_mtime_ns == before
    for folder, source in (('once', run), ('twice', path)):
        (tmp_path / folder).mkdir()
        again = publish_checkpoint(source, tmp_path / folder / 'out')
        assert again.name == path.name and again.read_bytes() == path.read_bytes()
    assert publish_checkpoint(path, tmp_path) == path, 'the hash in a name is replaced, not added to'


def test_one_tensor_or_one_word_changes_the_hash(run, tmp_path):
    names = {publish_checkpoint(run, tmp_path / 'out').name}
    tree = torch.load(run, weights_only=False)
    tree['meta']['seed'] = 4
    torch.save(tree, tmp_path / 'seed.pth')
    names.add(publish_checkpoint(tmp_path / 'seed.pth', tmp_path / 'out').name)
    tree['state_dict']['neck.bn0.bias'][0] += 1
    torch.save(tree, tmp_path / 'bias.pth')
    names.add(publish_checkpoint(tmp_path / 'bias.pth', tmp_path / 'out').name)
    assert len(names) == 3


def test_what_the_run_recorded_of_its_encoder_stands(run, tmp_path):
    tree = torch.load(run, weights_only=False)
    tree['meta']['mmsimclr'] = {'version': 1, 'encoder': {'depth': 18, 'stem_pool': 'same', 'norm_eps': 1e-3},
                                'input': {'mean': [1., 2., 3.], 'std': [4., 5., 6.]}}
    torch.save(tree, run)
    encoder = read_encoder(publish_checkpoint(run, tmp_path / 'out'))
    assert encoder.settings['stem_pool'] == 'same' and encoder.settings['norm_eps'] == 1e-3
    assert encoder.input.mean == (1., 2., 3.) and encoder.input.stated


def test_another_file_of_that_name_is_not_replaced(run, tmp_path):
    path = publish_checkpoint(run, tmp_path / 'out')
    path.write_text('something else')
    with pytest.raises(FileExistsError, match='is another file'):
        publish_checkpoint(run, tmp_path / 'out')
    assert path.read_text() == 'something else'


def test_what_is_no_run_is_refused(tmp_path):
    torch.save({'conv1.weight': torch.ones(1)}, tmp_path / 'bare.pth')
    with pytest.raises(LayoutError, match=r'has no state_dict, only conv1.weight\. .*mmsimclr convert'):
        publish_checkpoint(tmp_path / 'bare.pth', tmp_path / 'out')
    torch.save({'state_dict': {'fc.weight': torch.ones(1)}}, tmp_path / 'classifier.pth')
    with pytest.raises(LayoutError, match='no ResNet'):
        publish_checkpoint(tmp_path / 'classifier.pth', tmp_path / 'out')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['bare.pth', 'classifier.pth']


def test_the_tool_takes_a_work_directory_and_names_the_file(run, tmp_path, monkeypatch, capsys, root):
    (run.parent / 'last_checkpoint').write_text(str(run))
    monkeypatch.setattr(sys, 'argv', ['publish_checkpoint.py', str(run.parent), str(tmp_path / 'out')])
    with pytest.raises(SystemExit, match=r'^0$'):
        runpy.run_path(str(root / 'tools' / 'publish_checkpoint.py'), run_name='__main__')
    path, = tmp_path.glob('out-*.pth')
    assert capsys.readouterr().out.startswith(f'wrote {path} (')
