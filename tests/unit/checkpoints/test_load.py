"""An encoder is loaded completely or not at all, and the report says what was done."""

import json
import logging
import os
import shutil
import struct
import zipfile

import mmpretrain.models
import pytest
import timm
import torch
import torchvision
from mmengine.logging import MMLogger
from safetensors.torch import save_file
from torch import nn

from mmsimclr.checkpoints import (
    CheckpointError,
    DamagedCheckpointError,
    EncoderWeights,
    IncompleteEncoderError,
    InputScale,
    UnsupportedEncoderError,
    build_encoder,
    find_checkpoint,
    load_encoder,
    load_model,
    read_encoder,
)
from mmsimclr.checkpoints.record import pack_record
from mmsimclr.encoders import build_backbone
from mmsimclr.errors import MissingFileError
from mmsimclr.models import ResNet, TimmEncoder
from mmsimclr.registry import MODELS

SMALL = dict(depth=18, width_multiplier=0.125)


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


def drawn(**arguments) -> ResNet:
    """Return a ResNet whose tensors, buffers too, are unlike a fresh one's."""
    model = ResNet(**arguments)
    generator = torch.Generator().manual_seed(5)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 1, generator=generator)
        else:
            tensor.fill_(11)
    return model


def snapshot(model: nn.Module) -> dict:
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def assert_unchanged(model: nn.Module, before: dict) -> None:
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[key]), f'{key} was changed by a load that failed'


def test_every_tensor_is_filled_and_reported(tmp_path, caplog):
    source = drawn(**SMALL)
    tensors = {f'backbone.{key}': tensor for key, tensor in source.state_dict().items()}
    path = saved(tmp_path / 'x.pth', {'state_dict': tensors,
                                      'optimizer': {'state': {0: {'momentum': torch.ones(2)}}}})
    backbone = ResNet(**SMALL)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    report = load_encoder(backbone, path)
    logger.removeHandler(caplog.handler)
    for key, tensor in source.state_dict().items():
        assert torch.equal(backbone.state_dict()[key], tensor), key
    assert report.matched == report.expected == len(source.state_dict()) == 120
    assert report.path == path and len(report.sha256) == 64 and report.others == {'optimizer': 1}
    [record] = [r for r in caplog.records if r.levelno == logging.INFO]
    for part in ('120 of 120 tensors', str(path), 'backbone.', report.sha256[:16], 'optimizer (1)'):
        assert part in record.message


@pytest.mark.parametrize('lost', ['conv1.weight', 'bn1.running_var', 'layer3.1.bn2.running_mean',
                                  'layer2.0.downsample.1.bias', 'layer4.1.conv2.weight'])
def test_one_tensor_too_few_is_an_error_and_nothing_is_changed(lost, tmp_path):
    tensors = drawn(**SMALL).state_dict()
    del tensors[lost]
    backbone = ResNet(**SMALL)
    before = snapshot(backbone)
    with pytest.raises(CheckpointError, match=lost if lost != 'conv1.weight' else 'no ResNet was recognised'):
        load_encoder(backbone, saved(tmp_path / 'x.pth', tensors))
    assert_unchanged(backbone, before)


def test_the_wrong_backbone_is_told_with_counts_and_at_most_ten_names(tmp_path):
    path = saved(tmp_path / 'x.pth', drawn(depth=34, width_multiplier=0.125).state_dict())
    backbone = ResNet(**SMALL)
    before = snapshot(backbone)
    with pytest.raises(IncompleteEncoderError) as raised:
        load_encoder(backbone, path)
    message = str(raised.value)
    assert 'of 120 tensors expected, 80 unexpected (layer1.2.conv1.weight; ' in message
    assert message.count('layer') == 10 + message.count('layout') and ' and 70 more)' in message
    assert 'a ResNet-34 of width 0.125 with the imagenet stem' in message and 'missing' not in message
    assert_unchanged(backbone, before)

    with pytest.raises(IncompleteEncoderError, match=r'80 missing \(layer1\.2\.conv1\.weight; '):
        load_encoder(ResNet(depth=34, width_multiplier=0.125), saved(tmp_path / 'y.pth',
                                                                    drawn(**SMALL).state_dict()))


def test_another_width_is_told_with_both_shapes(tmp_path):
    path = saved(tmp_path / 'x.pth', drawn(depth=18, width_multiplier=0.25).state_dict())
    message = r'conv1\.weight is \[16, 3, 7, 7\], expected \[8, 3, 7, 7\]'
    with pytest.raises(IncompleteEncoderError, match=message):
        load_encoder(ResNet(**SMALL), path)


def test_the_other_stem_is_told(tmp_path):
    path = saved(tmp_path / 'x.pth', drawn(**SMALL, stem='cifar').state_dict())
    with pytest.raises(IncompleteEncoderError, match=r'1 mis-shaped \(conv1\.weight is \[8, 3, 3, 3\]'):
        load_encoder(ResNet(**SMALL), path)


def test_batch_counters_may_be_absent_but_are_loaded_where_they_are(tmp_path):
    tensors = drawn(**SMALL).state_dict()
    backbone = ResNet(**SMALL)
    load_encoder(backbone, saved(tmp_path / 'x.pth', tensors))
    assert backbone.bn1.num_batches_tracked == 11
    without = {key: tensor for key, tensor in tensors.items() if 'num_batches' not in key}
    report = load_encoder(ResNet(**SMALL), saved(tmp_path / 'y.pth', without))
    assert report.matched == report.expected == len(without)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_an_encoder_that_diverged_is_refused(value, tmp_path):
    tensors = drawn(**SMALL).state_dict()
    tensors['layer2.0.bn1.running_var'][3] = value
    message = r'NaN or infinity in 1 of 120 .*layer2\.0\.bn1\.running_var'
    with pytest.raises(DamagedCheckpointError, match=message):
        load_encoder(ResNet(**SMALL), saved(tmp_path / 'x.pth', tensors))


def test_half_precision_is_read_into_full(tmp_path):
    tensors = {key: tensor.half() if tensor.is_floating_point() else tensor
               for key, tensor in drawn(**SMALL).state_dict().items()}
    backbone = ResNet(**SMALL)
    load_encoder(backbone, saved(tmp_path / 'x.pth', tensors))
    assert backbone.conv1.weight.dtype == torch.float32
    torch.testing.assert_close(backbone.conv1.weight, tensors['conv1.weight'].float(), rtol=0, atol=0)


def bare_torchvision() -> nn.Module:
    model = torchvision.models.resnet18()
    model.fc = nn.Identity()
    return model


def small_mmpretrain(depth: int = 18, **arguments) -> nn.Module:
    return mmpretrain.models.ResNet(depth=depth, stem_channels=8, base_channels=8, **arguments)


@pytest.mark.parametrize(('make', 'settings'), [
    (bare_torchvision, dict(depth=18)), (small_mmpretrain, SMALL),
    (lambda: timm.create_model('resnet18', num_classes=0), dict(depth=18))],
    ids=['torchvision', 'mmpretrain', 'timm'])
def test_backbones_of_other_libraries_are_filled(make, settings, tmp_path):
    source = drawn(**settings)
    backbone = make()
    report = load_encoder(backbone, saved(tmp_path / 'x.pth', source.state_dict()))
    assert report.matched == 120
    for key, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[key]), key


def test_a_classifier_that_would_stay_random_is_an_error(tmp_path):
    path = saved(tmp_path / 'x.pth', drawn(**SMALL).state_dict())
    model = ResNet(**SMALL)
    model.fc = nn.Linear(64, 10)
    with pytest.raises(IncompleteEncoderError, match=r'2 missing \(fc\.weight; fc\.bias\)'):
        load_encoder(model, path)


def test_a_backbone_that_lacks_a_stage_is_not_filled(tmp_path):
    path = saved(tmp_path / 'x.pth', drawn(**SMALL).state_dict())
    backbone = small_mmpretrain(num_stages=3, out_indices=(2,), strides=(1, 2, 2), dilations=(1, 1, 1))
    with pytest.raises(IncompleteEncoderError, match=r'25 unexpected \(layer4'):
        load_encoder(backbone, path)


def test_model_in_ddp_is_filled(tmp_path):
    class Wrapped(nn.parallel.DistributedDataParallel):
        def __init__(self, module):
            nn.Module.__init__(self)
            self.module = module
    source, backbone = drawn(**SMALL), ResNet(**SMALL)
    load_encoder(Wrapped(backbone), saved(tmp_path / 'x.pth', source.state_dict()))
    assert torch.equal(backbone.conv1.weight, source.conv1.weight)


def with_record(path, tensors, **encoder):
    record = {'version': 1, 'encoder': encoder,
              'input': {'mean': [0., 0., 0.], 'std': [255., 255., 255.]}}
    return saved(path, {'meta': {'mmsimclr': record}, 'state_dict': tensors})


def test_what_the_tensors_do_not_show_is_honoured(tmp_path):
    """TensorFlow's max pool, another epsilon, another padding: on building and on loading."""
    source = drawn(depth=18, width_multiplier=0.125, stem_pool='same', norm_eps=1e-3, stem_padding=2).eval()
    path = with_record(tmp_path / 'x.pth', source.state_dict(), **source.settings)
    images = torch.rand(2, 3, 80, 80)
    with torch.no_grad():
        expected = source(images)[0]
        built, report = build_encoder(path)
        assert torch.equal(built(images)[0], expected)
        assert report.applied == {} and report.input.std == (255., 255., 255.) and report.input.stated
        plain = ResNet(**SMALL).eval()
        report = load_encoder(plain, path)
        assert torch.equal(plain(images)[0], expected)
        assert report.applied == {'norm_eps': 1e-3, 'stem_padding': 2, 'stem_pool': 'same'}
        back = load_encoder(plain, with_record(tmp_path / 'y.pth', source.state_dict(),
                                               **ResNet(**SMALL).settings, stem_padding=3))
        assert back.applied == {'norm_eps': 1e-5, 'stem_padding': 3, 'stem_pool': 'torch'}
        assert not torch.equal(plain(images)[0], expected)
        assert torch.equal(plain(images)[0], build_encoder(tmp_path / 'y.pth')[0](images)[0])


def test_a_library_without_tensorflows_pool_is_refused(tmp_path):
    source = drawn(**SMALL, stem_pool='same')
    path = with_record(tmp_path / 'x.pth', source.state_dict(), **source.settings)
    backbone = small_mmpretrain()
    before = snapshot(backbone)
    with pytest.raises(UnsupportedEncoderError, match=r"stem_pool='same'.*mmpretrain.*mmsimclr\.ResNet"):
        load_encoder(backbone, path)
    assert_unchanged(backbone, before)


def test_a_record_that_contradicts_the_tensors_is_refused(tmp_path):
    path = with_record(tmp_path / 'x.pth', drawn(**SMALL).state_dict(), depth=34)
    with pytest.raises(DamagedCheckpointError, match='says depth=34 of its encoder, whose tensors show 18'):
        read_encoder(path)


def algorithm(**arguments) -> nn.Module:
    return MODELS.build(dict(
        type='mmsimclr.SimCLR', **arguments, backbone=dict(type='mmsimclr.ResNet', **SMALL),
        neck=dict(type='mmsimclr.NonLinearNeck', in_channels=64, hid_channels=32, out_channels=16),
        head=dict(type='mmsimclr.ContrastiveHead', loss=dict(type='mmsimclr.NTXentLoss'))))


def test_a_whole_model_is_filled_or_refused(tmp_path):
    source, model = algorithm(), algorithm()
    state_dict = source.state_dict()
    report = load_model(model, saved(tmp_path / 'x.pth', {'state_dict': {
        f'module.{key}': tensor for key, tensor in state_dict.items()}}))
    assert report.matched == len(state_dict)
    assert all(torch.equal(tensor, state_dict[key]) for key, tensor in model.state_dict().items())
    before = snapshot(model)
    encoder_only = {key: tensor + 1 for key, tensor in state_dict.items() if key.startswith('backbone.')}
    message = r"missing \(neck\.fc0.*init_cfg=dict\(type='Pretrained'"
    with pytest.raises(IncompleteEncoderError, match=message):
        load_model(model, saved(tmp_path / 'y.pth', {'state_dict': encoder_only}))
    assert_unchanged(model, before)


@pytest.mark.parametrize('where', ['backbone', 'list', 'algorithm', 'class'])
def test_init_cfg_pretrained_loads_all_or_stops_whatever_the_scope(where, tmp_path):
    """MMEngine's own initialiser of that name logs a line and leaves random weights."""
    source = algorithm()
    good = saved(tmp_path / 'good.pth', {'state_dict': source.state_dict()})
    bad = saved(tmp_path / 'bad.pth', {'state_dict': {
        f'encoder.{key}.': tensor for key, tensor in source.state_dict().items()}})

    def started_from(path):
        cfg = dict(type='Pretrained', checkpoint=str(path))
        if where == 'algorithm':
            model = algorithm(init_cfg=cfg)
        else:
            if where == 'class':
                from mmengine.model import PretrainedInit
                cfg = dict(type=PretrainedInit, checkpoint=str(path))
            elif where == 'list':
                cfg = [cfg, dict(type='Constant', layer='Conv2d', val=0.5)]
            model = ResNet(**SMALL, init_cfg=cfg)
        model.init_weights()
        return model

    model = started_from(good)
    encoder = getattr(model, 'backbone', model)
    for key, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, source.backbone.state_dict()[key]), key
    with pytest.raises(CheckpointError):
        started_from(bad)


def test_folders_and_names_without_a_suffix(tmp_path):
    run = tmp_path / 'run'
    run.mkdir()
    with pytest.raises(CheckpointError, match='it holds none'):
        find_checkpoint(run)
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        (run / name).touch()
    with pytest.raises(CheckpointError, match=r'it holds epoch_1\.pth, epoch_2\.pth\. Name the file'):
        find_checkpoint(run)
    (run / 'last_checkpoint').write_text('/another/place/run/epoch_2.pth')
    assert find_checkpoint(run) == run / 'epoch_2.pth'
    (run / 'epoch_2.pth').unlink()
    with pytest.raises(FileNotFoundError, match=r'names epoch_2\.pth, which is not in'):
        find_checkpoint(run)
    (run / 'last_checkpoint').unlink()
    (run / 'epoch_1.safetensors').touch()
    assert find_checkpoint(run) == run / 'epoch_1.safetensors' == find_checkpoint(run / 'epoch_1')
    with pytest.raises(FileNotFoundError, match=r'did you mean .*epoch_1\.'):
        find_checkpoint(run / 'epoch_1.pht')


def test_the_last_checkpoint_is_the_one_that_is_named_and_not_another_of_its_name(tmp_path):
    """An older version could save elsewhere (out_dir); a folder that was moved or copied has its own."""
    run, disk = tmp_path / 'run', tmp_path / 'disk' / 'run'
    for folder, name in ((run, 'older'), (disk, 'newer')):
        folder.mkdir(parents=True)
        (folder / 'epoch_1.pth').write_text(name)
        (folder / 'epoch_1.pth.json').write_text(json.dumps(dict(run_id=name)))
    (run / 'run_id').write_text('newer\n')
    (run / 'last_checkpoint').write_text(str(disk / 'epoch_1.pth'))
    copied = shutil.copytree(disk, tmp_path / 'copied')
    (copied / 'run_id').write_text('newer\n')
    (copied / 'last_checkpoint').write_text(str(disk / 'epoch_1.pth'))
    (copied / 'epoch_1.pth').write_text('and the first was written again since')
    assert find_checkpoint(copied) == copied / 'epoch_1.pth'
    # Of MMEngine's folders nothing says whether they are copies, or had saved elsewhere.
    for manifest in (True, False):
        with pytest.raises(CheckpointError, match=r'names .*disk.*, and .*run/epoch_1\.pth is another file'):
            find_checkpoint(run)
        if manifest:
            (run / 'epoch_1.pth.json').unlink()
    (disk / 'epoch_1.pth').write_text('older')
    assert find_checkpoint(run) == run / 'epoch_1.pth', 'the same content'
    (run / 'epoch_1.pth').unlink()
    assert find_checkpoint(run) == disk / 'epoch_1.pth'
    (run / 'epoch_1.pth').touch()
    (disk / 'epoch_1.pth').unlink()
    assert find_checkpoint(run) == run / 'epoch_1.pth'


def test_a_misspelt_model_name_suggests_the_nearest():
    with pytest.raises(FileNotFoundError, match="did you mean 'simclr_resnet50_8xb32-coslr-200e_in1k'"):
        find_checkpoint('simclr_resnet50_8xb32-coslr-200_in1k')


def recorded(path, model: nn.Module, scale: tuple, **encoder) -> object:
    record = {'version': 1, 'encoder': {**model.backbone.settings, **encoder},
              'input': {'mean': list(scale[0]), 'std': list(scale[1])}}
    return saved(path, {'meta': {'mmsimclr': record}, 'state_dict': model.state_dict()})


UNIT = ((0., 0., 0.), (255., 255., 255.))


def test_a_whole_model_honours_what_is_recorded(tmp_path):
    source = algorithm()
    model = algorithm()
    load_model(model, recorded(tmp_path / 'x.pth', source, UNIT, stem_pool='same', norm_eps=1e-3))
    assert model.backbone.stem_pool == 'same' and model.backbone.bn1.eps == 1e-3
    before = snapshot(model)
    message = r'less \(1\.0, 2\.0, 3\.0\).*set model\.data_preprocessor'
    with pytest.raises(UnsupportedEncoderError, match=message):
        load_model(model, recorded(tmp_path / 'y.pth', algorithm(), ((1., 2., 3.), (4., 5., 6.))))
    assert_unchanged(model, before)


@pytest.mark.parametrize('scale', [((1., 0., 0.), UNIT[1]), (UNIT[0], (255., 255., 58.))])
def test_mean_and_deviation_must_both_be_the_models(scale, tmp_path):
    with pytest.raises(UnsupportedEncoderError, match=r'set model\.data_preprocessor'):
        load_model(algorithm(), recorded(tmp_path / 'x.pth', algorithm(), scale))


@pytest.mark.parametrize('key', ['backbone.conv1.weight', 'neck.fc0.weight'])
def test_a_whole_model_that_diverged_is_refused(key, tmp_path):
    tensors = algorithm().state_dict()
    tensors[key].view(-1)[0] = float('nan')
    model = algorithm()
    before = snapshot(model)
    with pytest.raises(DamagedCheckpointError, match=f'NaN or infinity in 1 of .*{key}'):
        load_model(model, saved(tmp_path / 'x.pth', {'state_dict': tensors}))
    assert_unchanged(model, before)


@pytest.mark.parametrize(('change', 'error', 'message'), [
    (lambda t: t.double().fill_(1e300), DamagedCheckpointError, 'NaN or infinity in 1 of'),
    (lambda t: t.to(torch.int8), IncompleteEncoderError, r'1 of another type of number \(conv1\.weight is'),
    (lambda t: t.to(torch.complex64), IncompleteEncoderError, 'of another type of number'),
])
def test_numbers_that_do_not_survive_the_copy_are_refused(change, error, message, tmp_path):
    tensors = drawn(**SMALL).state_dict()
    tensors['conv1.weight'] = change(tensors['conv1.weight'])
    with pytest.raises(error, match=message):
        load_encoder(ResNet(**SMALL), saved(tmp_path / 'x.pth', tensors))


def test_a_backbone_that_strides_elsewhere_is_refused(tmp_path):
    path = saved(tmp_path / 'x.pth', drawn(depth=50, width_multiplier=0.125).state_dict())
    with pytest.raises(UnsupportedEncoderError, match=r"style='caffe'.*style='pytorch'"):
        load_encoder(small_mmpretrain(50, style='caffe'), path)


def test_an_encoder_with_tensorflows_pool_starts_a_run(tmp_path):
    """The pool is set while MMEngine walks over the modules that it initialises."""
    source = drawn(depth=18, width_multiplier=0.125, stem_pool='same')
    path = with_record(tmp_path / 'x.pth', source.state_dict(), **source.settings)
    model = algorithm()
    model.backbone.init_cfg = [dict(type='mmsimclr.Pretrained', checkpoint=str(path))]
    model.init_weights()
    assert model.backbone.stem_pool == 'same'
    assert torch.equal(model.backbone.conv1.weight, source.conv1.weight)


@pytest.mark.parametrize('kind', [torch.float8_e4m3fn, torch.float8_e5m2])
def test_weights_in_8_bit_floats_are_refused_by_name(tmp_path, kind):
    tensors = dict(ResNet(depth=18, base_channels=2).state_dict())
    tensors['layer1.0.conv1.weight'] = tensors['layer1.0.conv1.weight'].to(kind)
    save_file(tensors, tmp_path / 'x.safetensors')
    with pytest.raises(DamagedCheckpointError, match=rf'layer1\.0\.conv1\.weight is {kind}'):
        read_encoder(tmp_path / 'x.safetensors')


def test_metadata_and_records_of_any_depth_are_no_recursion(tmp_path):
    tensors, deep = dict(ResNet(depth=18, base_channels=2).state_dict()), '[' * 100_000
    save_file(tensors, tmp_path / 'x.safetensors', {'other': deep})
    assert read_encoder(tmp_path / 'x.safetensors').settings['depth'] == 18
    save_file(tensors, tmp_path / 'y.safetensors', {'mmsimclr': deep})
    with pytest.raises(DamagedCheckpointError, match='more than 50 levels'):
        read_encoder(tmp_path / 'y.safetensors')


def test_a_storage_is_not_read_beyond_its_record(tmp_path):
    torch.save({'a': torch.arange(100.)}, tmp_path / 'x.pth')
    with zipfile.ZipFile(tmp_path / 'x.pth') as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members['x/data.pkl'] = members['x/data.pkl'].replace(b'Kd', b'M' + struct.pack('<H', 50_000))
    with zipfile.ZipFile(tmp_path / 'y.pth', 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(DamagedCheckpointError, match='record size'):
        read_encoder(tmp_path / 'y.pth')


@pytest.mark.parametrize('source', ['x' * 300, 'a/' + 'ä' * 200, 'x\0.pth'])
def test_a_name_that_no_file_can_have_is_no_checkpoint(source):
    with pytest.raises(MissingFileError, match='no checkpoint at'):
        read_encoder(source)


def test_a_small_file_does_not_unpack_to_a_large_one(tmp_path):
    torch.save({'a': torch.zeros(1_000_000)}, tmp_path / 'x.pth')
    with zipfile.ZipFile(tmp_path / 'x.pth') as archive, zipfile.ZipFile(
            tmp_path / 'y.pth', 'w', zipfile.ZIP_DEFLATED) as bomb:
        for name in archive.namelist():
            bomb.writestr(name, archive.read(name))
    assert (tmp_path / 'y.pth').stat().st_size < 10_000
    with pytest.raises(DamagedCheckpointError, match='compressed'):
        read_encoder(tmp_path / 'y.pth')


@pytest.mark.parametrize('name', [b'epoch_\xff.pth', 'epoch_ä.pth'.encode()])
def test_a_folder_may_name_its_checkpoint_in_any_letters(tmp_path, name):
    (tmp_path / os.fsdecode(name)).write_bytes(b'its content is not read')
    (tmp_path / 'last_checkpoint').write_bytes(b'/elsewhere/' + name + b'\n')
    assert os.fsencode(find_checkpoint(tmp_path)).endswith(name)
    (tmp_path / 'last_checkpoint').write_bytes(b'x' * 300)
    with pytest.raises(MissingFileError, match='which is not in'):
        find_checkpoint(tmp_path)


def test_a_file_of_another_library_fills_an_encoder_that_has_its_names(tmp_path):
    """Weights of timm, with the classifier and without a record, as they are on the Hugging Face Hub."""
    theirs = timm.create_model('convnext_atto', depths=(1, 1, 1, 1)).eval()
    save_file(theirs.state_dict(), tmp_path / 'model.safetensors')
    encoder = TimmEncoder('convnext_atto', depths=(1, 1, 1, 1)).eval()
    report = load_encoder(encoder, tmp_path / 'model.safetensors')
    assert report.matched == report.expected == len(encoder.state_dict()) and report.others == {'head': 2}
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), theirs.forward_head(
            theirs.forward_features(images), pre_logits=True), rtol=0, atol=0)
    other = TimmEncoder('convnext_atto', depths=(1, 1, 2, 1))
    before = snapshot(other)
    with pytest.raises(CheckpointError, match='no ResNet was recognised'):
        load_encoder(other, tmp_path / 'model.safetensors')
    assert_unchanged(other, before)


def test_a_resnet_of_timm_is_filled_by_timm_s_file(tmp_path):
    theirs = timm.create_model('resnet18').eval()
    save_file(theirs.state_dict(), tmp_path / 'model.safetensors')
    encoder = TimmEncoder('resnet18').eval()
    assert load_encoder(encoder, tmp_path / 'model.safetensors').others == {'fc': 2}
    with torch.no_grad():
        images = torch.rand(2, 3, 64, 64)
        torch.testing.assert_close(encoder(images), theirs.forward_head(
            theirs.forward_features(images), pre_logits=True), rtol=0, atol=0)


def test_an_encoder_of_the_same_shapes_with_another_activation_is_refused(tmp_path):
    """The names and shapes of tensors are equal, and the features would be others."""
    relu = build_backbone(dict(type='TimmEncoder', name='convnext_atto', depths=(1, 1, 1, 1),
                               act_layer='relu'))
    record = pack_record(EncoderWeights({}, relu.settings, InputScale()))
    saved(tmp_path / 'x.pth', {'meta': {'mmsimclr': record}, 'state_dict': relu.state_dict()})
    with pytest.raises(UnsupportedEncoderError, match=r"act_layer is 'relu' in .* and None here"):
        load_encoder(TimmEncoder('convnext_atto', depths=(1, 1, 1, 1)), tmp_path / 'x.pth')
    again, report = build_encoder(tmp_path / 'x.pth')
    assert report.matched == len(relu.state_dict()) and again.settings['act_layer'] == 'relu'
