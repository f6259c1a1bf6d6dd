"""Encoders of five kinds, from training to a reloaded export, rebuilt from the checkpoint everywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from mmengine.config import Config
from tiny_probe import probe_config, shapes
from tiny_run import tiny_config

from mmsimclr import Embedder
from mmsimclr.checkpoints import UnsupportedEncoderError, read_checkpoint, read_encoder
from mmsimclr.checkpoints.export import convert_checkpoint
from mmsimclr.checkpoints.publish import publish_checkpoint
from mmsimclr.config import check_config
from mmsimclr.datasets import Shapes
from mmsimclr.protocols import run_benchmark
from mmsimclr.registry import MODELS
from mmsimclr.runner import build_runner

SIDE = 32
OWN_MODULE = '''
from torch import nn
from mmsimclr.registry import MODELS

@MODELS.register_module()
class TinyNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.patches, self.mix = nn.Conv2d(3, width, 8, 8), nn.Linear(width, 2 * width)

    def forward(self, images):
        return self.mix(self.patches(images).flatten(2).transpose(1, 2))          # tokens [N, T, C]
'''
ENCODERS = {
    'ResNet-18': (dict(type='ResNet', depth=18, base_channels=4, stem='cifar'), 32),
    'MobileNetV3': (dict(type='mmpretrain.MobileNetV3', arch='small_050'), 288),
    'ConvNeXt-Atto': (dict(type='TimmEncoder', name='convnext_atto', depths=(1, 1, 2, 1)), 320),
    'ViT-Tiny': (dict(
        type='TimmEncoder', name='vit_tiny_patch16_224', img_size=SIDE, patch_size=16, depth=3), 192),
    'own': (dict(type='TinyNet', width=4), 8)}


@pytest.fixture(scope='module', autouse=True)
def own_module(tmp_path_factory):
    """Make a user's module importable, for this process and those that tests start."""
    folder = tmp_path_factory.mktemp('own')
    (folder / 'own_net.py').write_text(OWN_MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv('PYTHONPATH', f'{folder}:{Path(__file__).parents[2]}')
        yield
    sys.modules.pop('own_net', None)
    MODELS.module_dict.pop('TinyNet', None)


def training(work_dir: Path, encoder: dict, epochs: int, **changes) -> Config:
    config = tiny_config(work_dir, custom_imports=dict(imports=['own_net']), **changes)
    config.model.backbone, config.model.neck = encoder, dict(type='NonLinearNeck', out_channels=8)
    config.train_dataloader.dataset.update(image_size=SIDE)
    config.train_dataloader.dataset.pipeline[0].transforms[0].update(size=SIDE)
    config.optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05))
    config.train_cfg.max_epochs = epochs
    check_config(config)
    return config


def by_hand(kind: str, backbone: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return pooled features without any of the code under test."""
    with torch.no_grad():
        if kind in ('ResNet-18', 'MobileNetV3'):
            return backbone(images)[-1].flatten(2).mean(2)
        if kind == 'own':
            return backbone.mix(backbone.patches(images)[:, :, 0, 0])
        model = backbone.model
        features = model.forward_features(images)
        return features[:, 0] if kind == 'ViT-Tiny' else model.head.norm(
            features.mean((2, 3), keepdim=True)).flatten(1)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize('kind', ENCODERS)
def test_an_encoder_goes_from_training_to_a_reloaded_export(kind, tmp_path):
    __import__('own_net')
    encoder, length = ENCODERS[kind]
    run, others = tmp_path / 'run', tmp_path
    build_runner(training(run, encoder, 1)).train()
    runner = build_runner(training(run, encoder, 2, resume=True))
    runner.train()
    assert runner.iter == 4 and runner.model.neck.fc0.in_features == length
    kept = torch.load(run / 'epoch_2.pth', weights_only=False)
    assert kept['meta']['mmsimclr']['version'] == 2

    # Features: of the trained network itself, by hand, in float32 of uint8 images over 255.
    pixels = np.stack([Shapes(6, image_size=SIDE).get_data_info(index)['img'] for index in range(6)])
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    backbone = runner.model.backbone
    backbone.eval()
    expected = by_hand(kind, backbone, scaled).numpy()
    embedder = Embedder(run, 'cpu', resize_px=SIDE)
    assert embedder.preparation.crop_px == SIDE and embedder.feat_dim == length
    assert relative(embedder(pixels), expected) < 1e-5

    knn = Config(dict(default_scope='mmsimclr', work_dir=str(others / 'knn'), protocol=dict(
        type='KNN', train=shapes('train', 30), test=shapes('test', 12), k=(5,))))
    linear = probe_config(others / 'linear')
    for loader in (linear.train_dataloader, linear.test_dataloader):
        loader.dataset.image_size = SIDE
    for name, config in dict(knn=knn, linear=linear).items():
        result = run_benchmark(config, str(run))
        assert result.metrics and result.tensors_loaded[0] == result.tensors_loaded[1] > 0, name
    assert result.checkpoint_sha256 == read_encoder(run).sha256

    for to in ('onnx', 'safetensors', 'openmmlab', 'openmmlab-backbone'):
        suffix = {'onnx': 'onnx', 'safetensors': 'safetensors'}.get(to, 'pth')
        path = convert_checkpoint(run, others / f'{to}.{suffix}', to)
        if to == 'onnx':
            session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
            found = session.run(['features'], {'images': scaled.numpy()})[0]
            record = json.loads(session.get_modelmeta().custom_metadata_map['mmsimclr'])
            assert record['encoder']['type'].endswith(encoder['type'])
        else:
            found = Embedder(path, 'cpu', resize_px=SIDE)(pixels)
        assert relative(found, expected) < 1e-4, to
    published = publish_checkpoint(run, tmp_path / 'published')
    assert relative(Embedder(published, 'cpu', resize_px=SIDE)(pixels), expected) < 1e-5
    if kind != 'ResNet-18':
        with pytest.raises(UnsupportedEncoderError, match='torchvision would not compute'):
            convert_checkpoint(run, others / 'x.pth', 'torchvision')


def test_an_encoder_of_a_type_that_is_not_registered_names_what_to_import(tmp_path):
    __import__('own_net')
    build_runner(training(tmp_path / 'run', ENCODERS['own'][0], 1)).train()
    path = tmp_path / 'run/epoch_1.pth'
    assert read_checkpoint(path).meta['mmsimclr']['module'] == 'own_net'
    known = MODELS.module_dict.pop('TinyNet')
    with pytest.raises(UnsupportedEncoderError, match=r"'mmsimclr.TinyNet'.*custom_imports=.*'own_net'"):
        Embedder(path, 'cpu')
    MODELS.module_dict['TinyNet'] = known

    # A command without a config imports what is named for it.
    words = [sys.executable, '-m', 'mmsimclr', 'publish', str(path), str(tmp_path / 'out')]
    refused = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 1 and 'MMSIMCLR_IMPORTS=own_net' in refused.stderr
    done = subprocess.run(words, capture_output=True, text=True, timeout=120,
                          env={**os.environ, 'MMSIMCLR_IMPORTS': 'own_net'})
    assert done.returncode == 0 and 'wrote' in done.stdout, done.stderr
