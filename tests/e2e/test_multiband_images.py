"""Images of 13 bands of 16 bits: trained on, embedded, classified, exported; other images are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import mmsimclr
from mmsimclr.checkpoints import UnsupportedEncoderError, build_encoder, read_encoder
from mmsimclr.checkpoints.export import convert_checkpoint
from mmsimclr.config import load_config
from mmsimclr.errors import UserError
from mmsimclr.features import Embedder
from mmsimclr.protocols import run_benchmark

CONFIG = 'simclr_resnet18-w32_1xb128-coslr-120e_multiband'
CLASSES = ('000', '100', '010', '001')
TINY = dict(epochs=8, batch_size=32, lr=0.3, view_size=32, width=8, workers=0, precision='fp32')
READING = dict(channels=13, dtype='uint16', value_range=[0, 10000])


def image(label: str, generator: np.random.Generator) -> np.ndarray:
    """Return 13 bands, uint16: which of bands 9 to 11 is bright is the class; the others are noise."""
    levels = generator.uniform(4000, 6000, 13)
    levels[9:12] = np.where([letter == '1' for letter in label], 8000, 2000)
    patches = np.kron(generator.uniform(-1000, 1000, (5, 5, 13)), np.ones((8, 8, 1)))
    noise = generator.normal(0, 300, patches.shape)
    return (levels + patches + noise).clip(0, 10_050).round().astype(np.uint16)


def write_images(root: Path, bands: list[int]) -> Path:
    generator = np.random.default_rng(0)
    for part, count in (('train', 24), ('val', 20)):
        for label in CLASSES:
            (root / part / label).mkdir(parents=True)
            for number in range(count):
                values = image(label, generator)[:, :, bands]
                tifffile.imwrite(root / part / label / f'{number}.tif', np.moveaxis(values, -1, 0),
                                 compression='zlib')
    return root


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> Path:
    return write_images(tmp_path_factory.mktemp('bands'), list(range(13)))


@pytest.fixture(scope='module')
def trained(images, tmp_path_factory) -> mmsimclr.Run:
    return mmsimclr.pretrain(
        images / 'train', work_dir=tmp_path_factory.mktemp('run'), config=CONFIG, channels=13,
        value_range=(0, 10000), **TINY)


def accuracy(result) -> float:
    return max(value for name, value in result.metrics.items() if name.startswith('top_1'))


def test_neighbours_have_the_class_that_only_some_bands_show(trained, images, tmp_path):
    assert accuracy(trained.evaluate('knn', images)) >= 90
    without = write_images(tmp_path / 'without', [band for band in range(13) if not 9 <= band <= 11])
    run = mmsimclr.pretrain(without / 'train', work_dir=tmp_path / 'run', config=CONFIG, channels=10,
                            value_range=(0, 10000), **TINY)
    assert accuracy(run.evaluate('knn', without)) <= 45                     # chance is 25 %, of 80 images


def test_the_checkpoint_records_how_images_are_read_and_the_run_what_was_clipped(trained, images):
    encoder = read_encoder(trained.checkpoint)
    assert encoder.input.reading == READING and len(encoder.input.mean) == 13
    assert encoder.settings['in_channels'] == 13
    clipped = sum((tifffile.imread(path) > 10_000).any() for path in (images / 'train').rglob('*.tif'))
    assert trained.result.num_images['train_clipped'] == clipped > 0
    for name in ('curves.png', 'views.png', 'neighbours.png'):
        assert (trained.work_dir / name).is_file()


def test_a_linear_classifier_reads_images_as_the_encoder_does(trained, images, tmp_path):
    settings = {'train_dataloader.num_workers': 0, 'test_dataloader.num_workers': 0,
                'train_cfg.max_epochs': 12}
    result = trained.evaluate('linear', images, **settings)
    assert accuracy(result) >= 60
    assert result.settings['input']['reading'] == READING
    other = dict(type='LoadChannels', channels=13, value_range=(0, 90))              # of the config's own
    config = load_config('linear_1xb64-coslr-40e_folder', {'data_root': str(images), **settings, **{
        f'{part}_dataloader.dataset.pipeline.0': other for part in ('train', 'test')}}, tmp_path)
    assert accuracy(run_benchmark(config, str(trained.checkpoint))) >= 60            # all are white by that


def test_embedding_takes_files_arrays_and_tensors_of_these_images_and_no_others(trained, images, tmp_path):
    embedder = Embedder(trained.checkpoint, device='cpu')
    paths = sorted((images / 'val' / '100').glob('*.tif'))[:3]
    arrays = np.stack([np.moveaxis(tifffile.imread(path), 0, -1) for path in paths])
    features = embedder(paths)
    assert features.shape == (3, embedder.feat_dim) and np.isfinite(features).all()
    np.testing.assert_array_equal(embedder(arrays), features)
    np.testing.assert_array_equal(embedder(torch.from_numpy(arrays).permute(0, 3, 1, 2)), features)
    for wrong in (arrays.astype(np.uint8), arrays[..., :3], arrays.astype(np.float32)):
        with pytest.raises(UserError, match=r'expected \(channels, dtype\)'):
            embedder(wrong)
    Image.new('RGB', (64, 64)).save(tmp_path / 'photo.jpg')
    with pytest.raises(UserError, match=r'photo\.jpg.* 3 channels of uint8, and 13 of uint16'):
        embedder([tmp_path / 'photo.jpg'])
    # By hand: scaled, resized and normalised as the training did.
    backbone, _ = build_encoder(trained.checkpoint)
    cut = torch.from_numpy(arrays[:1].clip(max=10000) / np.float32(10000)).permute(0, 3, 1, 2)
    side = embedder.preparation.crop_px
    cut = torch.nn.functional.interpolate(cut, (embedder.preparation.resize_px,) * 2, mode='bicubic',
                                          antialias=True).clamp(0, 1)
    start = (cut.shape[-1] - side) // 2
    cut = cut[:, :, start:start + side, start:start + side]
    with torch.no_grad():
        expected = backbone(cut)[-1].mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(features[:1], expected, rtol=1e-3, atol=1e-4)


def test_rgb_encoders_do_not_take_these_images(images, tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(noise).save(folder / f'{number}.png')
    run = mmsimclr.pretrain(folder, epochs=1, work_dir=tmp_path / 'run', view_size=32, width=8, workers=0)
    bands = np.zeros((40, 40, 13), np.uint16)
    tifffile.imwrite(tmp_path / 'bands.tif', bands, photometric='minisblack', planarconfig='contig')
    for wrong in (str(tmp_path / 'bands.tif'), bands):
        with pytest.raises(UserError):
            run.embed([wrong])
    config = load_config('linear_1xb64-coslr-40e_folder', {
        'data_root': str(images), 'train_dataloader.dataset.pipeline.0': dict(
            type='LoadChannels', channels=13, value_range=(0, 10000))}, tmp_path / 'linear')
    with pytest.raises(UserError, match='LoadImage'):
        run_benchmark(config, str(run.checkpoint))


def test_formats_that_say_how_images_are_read_are_written_others_refuse(trained, images, tmp_path):
    paths = sorted((images / 'val' / '010').glob('*.tif'))[:2]
    features = Embedder(trained.checkpoint, device='cpu')(paths)
    for to, name in (('safetensors', 'a.safetensors'), ('openmmlab-backbone', 'b.pth'),
                     ('openmmlab', 'c.pth')):
        written = convert_checkpoint(trained.checkpoint, tmp_path / name, to)
        assert read_encoder(written).input.reading == READING
        np.testing.assert_allclose(Embedder(written, device='cpu')(paths), features, rtol=1e-6)
    for to, name in (('torchvision', 'd.pth'), ('timm', 'e.pth'), ('detectron2', 'f.pkl')):
        with pytest.raises(UnsupportedEncoderError, match='images read as'):
            convert_checkpoint(trained.checkpoint, tmp_path / name, to)
        assert not (tmp_path / name).exists()


def test_an_onnx_graph_takes_13_channels_and_says_how_they_are_read(trained, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    written = convert_checkpoint(trained.checkpoint, tmp_path / 'encoder.onnx', 'onnx')
    session = onnxruntime.InferenceSession(str(written), providers=['CPUExecutionProvider'])
    x = torch.rand(2, 13, 64, 64)
    backbone, _ = build_encoder(trained.checkpoint)
    with torch.no_grad():
        expected = backbone(x)[-1].mean(dim=(2, 3)).numpy()
    found = session.run(['features'], {'images': x.numpy()})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    record = json.loads(session.get_modelmeta().custom_metadata_map['mmsimclr'])
    assert record['input']['reading'] == READING


def test_a_resumed_run_and_one_with_views_on_the_device_read_them_too(trained, images, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(trained.work_dir, folder)
    longer = mmsimclr.pretrain(images / 'train', work_dir=folder, config=CONFIG, channels=13,
                               value_range=(0, 10000), **{**TINY, 'epochs': 9})
    assert longer.result.settings['iterations'] > trained.result.settings['iterations']
    on_device = mmsimclr.pretrain(images / 'train', work_dir=tmp_path / 'device', config=CONFIG, channels=13,
                                  value_range=(0, 10000), views='device', preset='microscopy', **TINY)
    assert read_encoder(on_device.checkpoint).input.reading == READING
    assert 'train_clipped' in on_device.result.num_images
