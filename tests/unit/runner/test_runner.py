"""The Runner's checkpoints: read safely, filled completely, and able to say what they hold."""

import functools
import os

import pytest
import torch
from tiny_run import log_of, tiny_config, tiny_runner

from mmsimclr.checkpoints import (
    IncompleteEncoderError,
    UnsafeCheckpointError,
    UnsupportedEncoderError,
    build_encoder,
    read_checkpoint,
)
from mmsimclr.errors import InputTypeError


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('trained')
    runner = tiny_runner(folder)
    runner.train()
    return folder, runner.model


def test_a_checkpoint_says_how_its_encoder_is_built_and_fed(trained):
    folder, model = trained
    record = read_checkpoint(folder / 'epoch_1.pth').meta['mmsimclr']
    assert record['encoder'] == dict(type='mmsimclr.ResNet', depth=18, width_multiplier=1 / 16, stem='cifar',
                                     norm_eps=1e-5, project_first_shortcut=False)
    assert record['input'] == dict(mean=[0.] * 3, std=[255.] * 3, stated=True, view_px=16)
    encoder, report = build_encoder(folder)
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(encoder(images)[0], model.backbone.eval()(images)[0])
    assert report.input.stated and report.layout.startswith('OpenMMLab 1.x')


def test_the_record_is_of_the_run_not_of_a_default(tmp_path):
    runner = tiny_runner(tmp_path, model=dict(
        type='SimCLR',
        backbone=dict(type='ResNet', depth=18, base_channels=4, stem_pool='same', norm_eps=1e-3),
        data_preprocessor=dict(type='ViewPreprocessor', mean=(1, 2, 3), std=(4, 5, 6)),
        neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=16, out_channels=8),
        head=dict(type='ContrastiveHead')))
    runner.train()
    record = read_checkpoint(tmp_path / 'epoch_1.pth').meta['mmsimclr']
    assert record['encoder']['stem_pool'] == 'same' and record['encoder']['norm_eps'] == 1e-3
    assert record['input'] == dict(mean=[1., 2., 3.], std=[4., 5., 6.], stated=True, view_px=16)


def test_resume_works_under_torchs_safe_default(trained, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    folder, _ = trained
    runner = tiny_runner(tmp_path, resume=True, load_from=str(folder / 'epoch_1.pth'),
                         train_cfg=dict(by_epoch=True, max_epochs=2))
    runner.train()
    assert runner.epoch == 2 and runner.iter == 4
    assert runner.message_hub.get_scalar('train/loss').data[0].size == 4, 'the history went on'
    assert 'tensors loaded from' in log_of(tmp_path)


class Calls:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return os.system, self.call


@pytest.mark.parametrize('resume', [True, False], ids=['resume', 'load_from'])
def test_a_hostile_checkpoint_is_refused_and_not_run(resume, trained, tmp_path):
    """MMEngine falls back to an unpickler that runs it."""
    folder, _ = trained
    content = torch.load(folder / 'epoch_1.pth', weights_only=False)
    content['meta']['note'] = Calls(f'touch {tmp_path}/was_run')
    torch.save(content, tmp_path / 'hostile.pth')
    runner = tiny_runner(tmp_path / 'run', resume=resume, load_from=str(tmp_path / 'hostile.pth'))
    with pytest.raises(UnsafeCheckpointError, match=r'would call posix\.system'):
        runner.train()
    assert not (tmp_path / 'was_run').exists()


def test_load_from_fills_the_whole_model_or_stops(trained, tmp_path):
    folder, _ = trained
    content = torch.load(folder / 'epoch_1.pth', weights_only=False)
    content['state_dict'] = {f'model.{key}': value for key, value in content['state_dict'].items()}
    torch.save(content, tmp_path / 'prefixed.pth')
    runner = tiny_runner(tmp_path / 'run', load_from=str(tmp_path / 'prefixed.pth'))
    with pytest.raises(IncompleteEncoderError, match=r"missing \(backbone.*unexpected \(model\.backbone"):
        runner.train()


def test_encoder_of_another_run_starts_a_new_one(trained, tmp_path):
    folder, model = trained
    runner = tiny_runner(tmp_path, model=dict(
        type='SimCLR', backbone=dict(type='ResNet', depth=18, base_channels=4, stem='cifar',
                                     init_cfg=dict(type='Pretrained', checkpoint=str(folder))),
        neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=16, out_channels=8),
        head=dict(type='ContrastiveHead')))
    runner.model.init_weights()
    for key, tensor in model.backbone.state_dict().items():
        assert torch.equal(runner.model.backbone.state_dict()[key], tensor), key


def test_a_checkpoint_of_a_newer_version_is_refused(trained, tmp_path):
    folder, _ = trained
    content = torch.load(folder / 'epoch_1.pth', weights_only=False)
    content['meta']['mmsimclr']['version'] = 3
    torch.save(content, tmp_path / 'newer.pth')
    with pytest.raises(UnsupportedEncoderError, match='has version 3'):
        build_encoder(tmp_path / 'newer.pth')


def test_an_encoder_that_knows_other_images_does_not_start_a_run(trained, tmp_path):
    folder, _ = trained
    model = dict(
        type='SimCLR', data_preprocessor=dict(type='ViewPreprocessor', mean=(1, 2, 3), std=(4, 5, 6)),
        backbone=dict(type='ResNet', depth=18, base_channels=4, stem='cifar',
                      init_cfg=dict(type='Pretrained', checkpoint=str(folder))),
        neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=16, out_channels=8),
        head=dict(type='ContrastiveHead'))
    with pytest.raises(UnsupportedEncoderError, match=r'set model\.data_preprocessor\.mean and \.std'):
        tiny_runner(tmp_path, model=model).train()


def local_function_of_no_name():
    def inner(batch):
        return batch
    return inner


@pytest.mark.parametrize('value', [
    lambda batch: batch, functools.partial(max, key=len), local_function_of_no_name()])
def test_a_value_without_a_name_is_refused_before_the_first_step(value, tmp_path):
    loader = dict(tiny_config(tmp_path).train_dataloader, worker_init_fn=value)
    with pytest.raises(InputTypeError, match=r'train_dataloader\.worker_init_fn'):
        tiny_runner(tmp_path / 'run', train_dataloader=loader)
    assert not (tmp_path / 'run').exists(), 'nothing was begun'
