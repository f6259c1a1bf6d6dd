"""A training goes on with the encoder, the images and the settings that it was begun with, or not at all."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from tiny_downstream import config_of, write_data
from tiny_downstream import save_encoder as save_downstream_encoder
from tiny_probe import probe_config, save_encoder

from mmsimclr.config import ConfigError, load_config
from mmsimclr.protocols import Result, read_result, run_benchmark

pytestmark = pytest.mark.slow

HEADS = {name: dict(type='LinearHead', feature=name, init_std=0.0) for name in ('stem', 'layer4')}
SEMI = dict(_delete_=True, type='SemiSupervised', labels='10%')
PROTOCOLS = {
    'linear': {},
    'semi-supervised': {'protocol': SEMI, 'model.frozen': False},
    'grid': {'protocol': dict(SEMI, grid=dict(lr=[0.1], head_lr_multiplier=[1])), 'model.frozen': False},
    'per layer': {'protocol': dict(_delete_=True, type='LinearPerLayer'),
                  'model.heads': dict(HEADS, _delete_=True)}}


def measure(work_dir: Path, kind: str, encoder: Path | None, epochs: int = 2, **changes) -> Result:
    config = probe_config(work_dir)
    config.merge_from_dict({'train_cfg.max_epochs': epochs, 'param_scheduler.0.total': 3, **PROTOCOLS[kind],
                            **changes})
    return run_benchmark(config, None if encoder is None else str(encoder), device='cpu')


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope='module')
def encoders(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp('encoders')
    return [save_encoder(folder, seed) for seed in range(2)]


@pytest.mark.parametrize('kind', PROTOCOLS)
def test_another_encoder_is_refused_and_no_result_written(kind, encoders, tmp_path):
    first, other = encoders
    measure(tmp_path, kind, first, 1)
    (tmp_path / 'result.json').unlink()
    for changed in (other, None):
        with pytest.raises(ConfigError) as caught:
            measure(tmp_path, kind, changed, resume=True)
        now = sha256(other) if changed else 'random'
        assert f'encoder.sha256: {sha256(first)} in the checkpoint, {now} in the config' in str(caught.value)
    assert not (tmp_path / 'result.json').exists()
    resumed = measure(tmp_path, kind, first, resume=True)
    uninterrupted = measure(tmp_path / 'whole' / 'run', kind, first)
    assert resumed.metrics == uninterrupted.metrics and resumed.checkpoint_sha256 == sha256(first)
    assert resumed.settings['steps'] == 10
    assert resumed.wall_time_s is None and uninterrupted.wall_time_s > 0


def test_another_random_initialisation_is_refused(encoders, tmp_path):
    measure(tmp_path, 'linear', None, 1)
    with pytest.raises(ConfigError, match=r'encoder\.base_channels: 4 in the checkpoint, 8 in the config'):
        measure(tmp_path, 'linear', None, resume=True, **{'random_encoder.base_channels': 8})


def test_without_resume_a_used_folder_changes_nothing(encoders, tmp_path):
    measure(tmp_path, 'semi-supervised', encoders[0])
    anew = measure(tmp_path, 'semi-supervised', encoders[1])
    assert anew.metrics == measure(tmp_path / 'else' / 'run', 'semi-supervised', encoders[1]).metrics
    assert anew.checkpoint_sha256 == sha256(encoders[1])


@pytest.mark.parametrize('key, value, said', [
    ('test_dataloader.dataset.split', 'val', r'split: test in the checkpoint, val in'),
    ('test_dataloader.dataset.num_images', 20, r'data\.test: [0-9a-f]{64} in the checkpoint, [0-9a-f]{64}'),
    ('train_dataloader.dataset.seed', 5, r'data\.train: [0-9a-f]{64} in the checkpoint, [0-9a-f]{64} in'),
    ('model.heads.pooled.init_std', 0.5, r'init_std: 0 in the checkpoint, 0\.5 in')])
def test_other_images_or_settings_are_refused(key, value, said, encoders, tmp_path):
    measure(tmp_path, 'linear', encoders[0], 1)
    with pytest.raises(ConfigError, match=said):
        measure(tmp_path, 'linear', encoders[0], resume=True, **{key: value})


def test_a_change_on_purpose_is_in_the_result(encoders, tmp_path):
    measure(tmp_path, 'semi-supervised', encoders[0], 1)
    result = measure(tmp_path, 'semi-supervised', encoders[1], resume=True, allow_changed=['encoder'])
    changes = [dict(key='encoder.sha256', then=sha256(encoders[0]), now=sha256(encoders[1]))]
    assert result.settings['changed_on_resume'] == [dict(step=5, changes=changes)]
    assert read_result(tmp_path / 'result.json').settings['changed_on_resume'][0]['changes'] == changes


def test_the_place_of_the_encoder_in_its_file_counts(encoders, tmp_path):
    both = {name: torch.load(path, weights_only=True) for name, path in zip('ab', encoders, strict=True)}
    torch.save(both, tmp_path / 'both.pth')
    config = probe_config(tmp_path / 'run')
    config.merge_from_dict({'train_cfg.max_epochs': 1, 'param_scheduler.0.total': 3})
    run_benchmark(config, str(tmp_path / 'both.pth'), select='a:', device='cpu')
    config = probe_config(tmp_path / 'run', resume=True)
    config.merge_from_dict({'param_scheduler.0.total': 3})
    with pytest.raises(ConfigError, match=r'encoder\.address: a: in the checkpoint, b: in the config'):
        run_benchmark(config, str(tmp_path / 'both.pth'), select='b:', device='cpu')


def test_without_a_seed_the_result_names_that_of_its_training(encoders, tmp_path):
    result = measure(tmp_path, 'linear', encoders[0], 1, **{'randomness.seed': None})
    assert torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['meta']['seed'] == result.seed
    again = measure(tmp_path / 'again' / 'run', 'linear', encoders[0], 1, **{'randomness.seed': result.seed})
    assert again.metrics == result.metrics


def test_what_a_linear_evaluation_dumps_is_a_config(encoders, tmp_path):
    measure(tmp_path, 'linear', encoders[0], 1)
    dumped, = tmp_path.glob('*/vis_data/config.py')
    assert load_config(dumped).model.type == 'Classifier'


def test_detection_refuses_another_encoder_too(tmp_path):
    """Segmentation is of the same class; see tests/e2e/test_fine_tuning_resumes.py."""
    pytest.importorskip('mmdet')
    data = write_data(tmp_path / 'data')
    first = save_downstream_encoder(tmp_path)
    tree = torch.load(first, weights_only=True)
    tree['state_dict']['backbone.conv1.weight'] += 1
    torch.save(tree, tmp_path / 'other.pth')
    work_dir = tmp_path / 'run'

    def config():
        config = config_of('c4', data, work_dir)
        config.default_hooks.checkpoint.update(interval=1, by_epoch=False, max_keep_ckpts=-1)
        return config
    run_benchmark(config(), str(first), device='cpu')
    for path in (work_dir / 'result.json', *work_dir.glob('iter_2.pth*')):
        path.unlink()
    resumed = config()
    resumed.resume = True
    with pytest.raises(ConfigError) as caught:
        run_benchmark(resumed, str(tmp_path / 'other.pth'), device='cpu')
    found = re.findall(r'\b[0-9a-f]{64}\b', str(caught.value))
    assert found == [sha256(first), sha256(tmp_path / 'other.pth')]
    assert not (work_dir / 'result.json').exists()
    assert run_benchmark(resumed, str(first), device='cpu').settings['steps'] == 2
    assert json.loads((work_dir / 'result.json').read_text())['checkpoint_sha256'] == sha256(first)


def test_a_result_that_is_cut_short_leaves_none_with_the_predictions_of_another(encoders, tmp_path,
                                                                                 monkeypatch):
    measure(tmp_path, 'linear', encoders[0], 1)
    before = (tmp_path / 'predictions.npz').read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Result, 'write', lambda result, path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            measure(tmp_path, 'semi-supervised', encoders[1], 1)
    assert (tmp_path / 'predictions.npz').read_bytes() != before
    assert not (tmp_path / 'result.json').exists()
    result = measure(tmp_path, 'linear', encoders[0], 1)
    assert result.predictions_sha256 == sha256(tmp_path / 'predictions.npz')


def test_a_change_in_any_point_of_a_grid_is_in_the_result_and_in_its_row(encoders, tmp_path):
    grid = {'protocol': dict(SEMI, grid=dict(lr=[0.1, 1e-9], head_lr_multiplier=[1]))}
    measure(tmp_path, 'grid', encoders[0], 1, **grid)
    result = measure(tmp_path, 'grid', encoders[1], resume=True, allow_changed=['encoder'], **grid)
    rows = result.settings['grid']
    assert all(row['changed_on_resume'][0]['changes'][0]['key'] == 'encoder.sha256' for row in rows)
    assert len(result.settings['changed_on_resume']) == 2
