"""Linear, per layer, semi-supervised and supervised: what is trained, refused, and said in the result."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny_probe import TINY, benchmark_of, probe_config, save_encoder, shapes

from mmsimclr.config import ConfigError, load_config
from mmsimclr.errors import MissingFileError
from mmsimclr.models import POOLED_FEATURES, NonLinearNeck, ResNet
from mmsimclr.protocols import (
    LinearEvaluation,
    LinearPerLayer,
    SemiSupervised,
    Supervised,
    read_predictions,
    run_benchmark,
)
from mmsimclr.registry import DATASETS

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp('encoder'))


def saved(work_dir, epoch: int = 2) -> dict:
    return torch.load(work_dir / f'epoch_{epoch}.pth', weights_only=False)['state_dict']


def features_and_labels(checkpoint, split: str, num_images: int):
    """Return the averaged last maps, ImageNet's scale assumed as a bare state dict says nothing."""
    encoder = ResNet(**TINY).eval()
    encoder.load_state_dict(torch.load(checkpoint))
    mean = torch.tensor((123.675, 116.28, 103.53)).view(3, 1, 1)
    std = torch.tensor((58.395, 57.12, 57.375)).view(3, 1, 1)
    images = DATASETS.build(dict(shapes(split, num_images), type='mmsimclr.Shapes', pipeline=[]))
    rows, labels = [], []
    with torch.no_grad():
        for number in range(num_images):
            item = images[number]
            image = (torch.from_numpy(item['img']).permute(2, 0, 1).float() - mean) / std
            rows.append(encoder(image[None])[-1].mean(dim=(2, 3))[0])
            labels.append(item['gt_label'])
    return torch.stack(rows), torch.tensor(labels)


def plain_loop(features, labels):
    """Return weight and bias after 2 epochs of 5 batches of 8, in order."""
    weight, bias = torch.zeros(10, features.shape[1]), torch.zeros(10)
    velocity = [torch.zeros_like(weight), torch.zeros(10)]
    for step in range(10):
        chosen = slice(8 * (step % 5), 8 * (step % 5) + 8)
        errors = (features[chosen] @ weight.T + bias).softmax(dim=1) - F.one_hot(labels[chosen], 10)
        rate = 0.1 * 0.5 * (1 + math.cos(math.pi * step / 10))
        for number, (value, gradient) in enumerate(
                ((weight, errors.T @ features[chosen] / 8), (bias, errors.mean(dim=0)))):
            velocity[number] = 0.9 * velocity[number] + gradient
            value -= rate * (gradient + 0.9 * velocity[number])
    return weight, bias


def test_the_probe_equals_a_plain_loop(checkpoint, tmp_path):
    config = probe_config(tmp_path, **{'train_dataloader.sampler.shuffle': False})
    result = run_benchmark(config, str(checkpoint))
    weight, bias = plain_loop(*features_and_labels(checkpoint, 'train', 40))
    state = saved(tmp_path)
    assert torch.allclose(state['heads.pooled.fc.weight'], weight, atol=1e-4)
    assert torch.allclose(state['heads.pooled.fc.bias'], bias, atol=1e-4)

    test_features, test_labels = features_and_labels(checkpoint, 'test', 21)
    ranked = (test_features @ weight.T + bias).topk(5, dim=1).indices
    hits = (ranked == test_labels[:, None]).float()
    assert result.metrics['top_1_accuracy_percent'] == pytest.approx(100 * hits[:, 0].mean().item())
    assert result.metrics['top_5_accuracy_percent'] == pytest.approx(100 * hits.sum(dim=1).mean().item())
    predictions = read_predictions(tmp_path / result.predictions)
    assert np.array_equal(predictions.predicted, ranked[:, 0].numpy())
    assert np.array_equal(predictions.labels, test_labels.numpy())


def test_the_encoder_is_the_checkpoint_s_and_the_result_says_so(checkpoint, tmp_path):
    result = run_benchmark(probe_config(tmp_path), str(checkpoint))
    source, state = torch.load(checkpoint), saved(tmp_path)
    assert all(torch.equal(state[f'backbone.{name}'], tensor) for name, tensor in source.items())
    written = json.loads((tmp_path / 'result.json').read_text())
    assert written['protocol'] == 'linear' and written['num_images'] == dict(train=40, test=21)
    assert written['tensors_loaded'] == [120, 120] and written['dataset'] == 'Shapes'
    assert len(written['settings']['frozen_encoder_sha256']) == 64
    assert written['settings']['global_batch'] == 8 and written['settings']['steps'] == 10
    assert written['settings']['optimizer']['type'] == 'SGD' and result.settings['epochs'] == 2
    # What was saved is a checkpoint that says how its encoder is built and fed.
    again = run_benchmark(probe_config(tmp_path / 'again'), str(tmp_path / 'epoch_2.pth'))
    assert again.metrics == result.metrics and again.settings['input']['stated']


def test_random_initialisation_can_be_asked_for(tmp_path):
    result = run_benchmark(probe_config(tmp_path), None)
    assert result.settings['init'] == 'random' and result.checkpoint is None


def test_an_encoder_changed_on_the_way_stops_the_run(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr('mmsimclr.models.Classifier.train', torch.nn.Module.train)
    with pytest.raises(RuntimeError, match='norms were in training mode'):
        run_benchmark(probe_config(tmp_path), str(checkpoint))
    assert not (tmp_path / 'result.json').exists() and not (tmp_path / 'epoch_1.pth').exists()


@pytest.mark.parametrize('changes, said', [
    ({'optim_wrapper.optimizer.lr': 0.0}, r'optim_wrapper\.optimizer\.lr must be a number > 0, got 0\.0'),
    ({'optim_wrapper.paramwise_cfg': dict(custom_keys=dict(heads=dict(lr_mult=0.0)))},
     'never trained: 10 steps were made and pooled.fc.weight stayed'),
    ({'train_cfg.max_epochs': 0, 'param_scheduler': []}, r'train_cfg.max_epochs'),
])
def test_a_probe_that_was_never_trained_is_refused(changes, said, checkpoint, tmp_path):
    for init_std in (0.0, 0.01):
        with pytest.raises(ValueError, match=said):
            run_benchmark(probe_config(tmp_path / str(init_std), **{
                **changes, 'model.heads.pooled.init_std': init_std}), str(checkpoint))


def test_an_interrupted_probe_goes_on_to_the_same_end(checkpoint, tmp_path):
    whole = run_benchmark(probe_config(tmp_path / 'whole'), str(checkpoint))
    # It stops after one epoch of two, with the schedule of two.
    first = probe_config(tmp_path / 'parts', **{'train_cfg.max_epochs': 1})
    first.param_scheduler[0].update(total=2, end=2)
    run_benchmark(first, str(checkpoint))
    resumed = run_benchmark(probe_config(tmp_path / 'parts', resume=True), str(checkpoint))
    assert resumed.metrics == whole.metrics and resumed.settings['steps'] == 10
    left, right = saved(tmp_path / 'whole'), saved(tmp_path / 'parts')
    assert all(torch.equal(left[name], right[name]) for name in left)
    # All epochs done: only the evaluation is left.
    again = run_benchmark(probe_config(tmp_path / 'parts', resume=True), str(checkpoint))
    assert again.metrics == whole.metrics


def test_a_probe_of_another_encoder_is_not_resumed(checkpoint, tmp_path):
    run_benchmark(probe_config(tmp_path), str(checkpoint))
    other = str(save_encoder(tmp_path, seed=1))
    with pytest.raises(ConfigError, match=r'encoder\.sha256: [0-9a-f]{64} in the checkpoint, [0-9a-f]{64}'):
        run_benchmark(probe_config(tmp_path, resume=True), other)
    # On purpose neither: the checkpoint has a frozen encoder of its own.
    with pytest.raises(RuntimeError, match='what is resumed from was trained on another encoder'):
        run_benchmark(probe_config(tmp_path, resume=True, allow_changed=['encoder']), other)


@pytest.mark.parametrize('changes, error, said', [
    ({'model.frozen': False}, ConfigError, 'set model.frozen=True'),
    ({'model.heads': {}}, ConfigError, r'model.heads must name 1 head\(s\), got \[\]'),
    ({'test_dataloader': {}}, ConfigError, 'needs test_dataloader'),
    ({'test_dataloader.dataset.indices': []}, ValueError, 'the test has no images'),
    ({'test_dataloader.dataset.indices': [], 'test_dataloader.dataset.serialize_data': False}, ValueError,
     'the test has no images'),
    ({'test_dataloader.dataset.metainfo': dict(classes=('a', 'b'))}, ValueError,
     'of different classes, .* 10 and 2 classes'),
    ({'train_dataloader.dataset.indices': list(range(8))}, ValueError,
     r'classes \[\d, \d\] are in validation or test and have no training image'),
    ({'train_dataloader.batch_size': 64}, ValueError, 'an epoch would have no steps'),
    ({'train_dataloader.dataset.indices': [0], 'train_dataloader.batch_size': 1}, ValueError,
     'training images must be of two classes or more'),
])
def test_what_cannot_be_trained_is_refused_before_training(changes, error, said, checkpoint, tmp_path):
    config = probe_config(tmp_path)
    config.merge_from_dict(changes, allow_list_keys=True)
    for key in ('model.heads', 'test_dataloader'):
        if changes.get(key) == {}:
            node, _, last = key.rpartition('.')
            (config[node] if node else config)[last] = {}
    with pytest.raises(error, match=said):
        LinearEvaluation().run(benchmark_of(config, checkpoint))


def per_layer_config(work_dir, features=POOLED_FEATURES, **changes):
    config = probe_config(work_dir, 'LinearPerLayer', **changes)
    config.model.heads = {feature: dict(type='LinearHead', feature=feature, norm=True)
                          for feature in features}
    config.optim_wrapper.optimizer.update(lr=0.01, weight_decay=1e-4)
    return config


def test_five_heads_together_learn_as_one_alone(checkpoint, tmp_path):
    together = run_benchmark(per_layer_config(tmp_path / 'five'), str(checkpoint))
    assert together.protocol == 'linear on each feature'
    assert list(together.metrics) == [f'feature_{n}_top_{k}_accuracy_percent'
                                      for n in range(1, 6) for k in (1, 5)]
    states = saved(tmp_path / 'five')
    assert states['heads.stem.fc.weight'].shape == (10, 4 * 12 * 12)
    assert states['heads.layer4.fc.weight'].shape == (10, 32 * 2 * 2)
    # The first head is drawn first, so it starts as it does alone.
    alone = run_benchmark(per_layer_config(tmp_path / 'one', ['stem']), str(checkpoint))
    one = saved(tmp_path / 'one')
    assert all(torch.allclose(one[name], states[name], atol=1e-6) for name in one if name.startswith('heads'))
    assert alone.metrics == {name: value for name, value in together.metrics.items() if 'feature_1' in name}
    best = together.settings['predictions_of']
    predictions = read_predictions(tmp_path / 'five' / together.predictions)
    assert 100 * (predictions.labels == predictions.predicted).mean() == pytest.approx(
        max(value for name, value in together.metrics.items() if 'top_1' in name))
    assert together.metrics[f'{best}_top_1_accuracy_percent'] == max(
        value for name, value in together.metrics.items() if 'top_1' in name)


def test_heads_that_are_not_named_as_their_features_are_refused(checkpoint, tmp_path):
    config = probe_config(tmp_path, 'LinearPerLayer')
    with pytest.raises(ConfigError, match="got 'pooled' on 'pooled'"):
        LinearPerLayer().run(benchmark_of(config, checkpoint))


def semi_config(work_dir, **changes):
    config = probe_config(work_dir, **{'model.frozen': False, 'model.heads.pooled.init_std': 0.01, **changes})
    config.train_dataloader.dataset = dict(
        type='BalancedSubset', fraction=0.5, dataset=config.train_dataloader.dataset)
    return config


def test_fine_tuning_trains_the_whole_network_on_the_share(checkpoint, tmp_path):
    config = semi_config(tmp_path)
    config.protocol = dict(type='SemiSupervised', labels='10%')
    result = run_benchmark(config, str(checkpoint))
    assert result.protocol == 'semi-supervised 10%' and result.num_images == dict(train=20, test=21)
    assert 'frozen_encoder_sha256' not in result.settings
    source, state = torch.load(checkpoint), saved(tmp_path)
    for name in ('conv1.weight', 'layer4.1.bn2.weight', 'bn1.running_mean'):
        assert not torch.equal(state[f'backbone.{name}'], source[name]), name


def test_the_grid_is_trained_and_the_best_is_said_to_be_chosen_on_the_test(checkpoint, tmp_path):
    config = semi_config(tmp_path, **{'train_cfg.max_epochs': 1})
    protocol = SemiSupervised('1%', grid=dict(lr=[0.1, 1e-9], head_lr_multiplier=[1, 10]))
    result = protocol.run(benchmark_of(config, checkpoint))
    rows = result.settings['grid']
    assert [(row['lr'], row['head_lr_multiplier']) for row in rows] == [
        (0.1, 1), (0.1, 10), (1e-9, 1), (1e-9, 10)]
    best = max(rows, key=lambda row: row['top_1_accuracy_percent'])
    assert result.metrics['top_1_accuracy_percent'] == best['top_1_accuracy_percent']
    assert result.settings['chosen'] == {key: best[key] for key in ('lr', 'head_lr_multiplier')}
    assert result.settings['selected_on'] == 'test'


def test_the_multiplier_is_the_head_s_alone(checkpoint, tmp_path):
    # One step without momentum: the way of each weight is its learning rate times the same gradient.
    options = {'train_cfg.max_epochs': 1, 'optim_wrapper.optimizer.momentum': 0.0,
               'optim_wrapper.optimizer.nesterov': False, 'train_dataloader.batch_size': 20}
    config = semi_config(tmp_path, **options)
    protocol = SemiSupervised('1%', grid=dict(lr=[0.01], head_lr_multiplier=[1, 10]))
    protocol.run(benchmark_of(config, checkpoint))
    one, ten = (saved(tmp_path / f'lr0.01_head{factor}', 1) for factor in (1, 10))
    assert torch.allclose(ten['heads.pooled.fc.bias'], 10 * one['heads.pooled.fc.bias'], rtol=1e-4)
    assert torch.equal(ten['backbone.conv1.weight'], one['backbone.conv1.weight'])
    assert not torch.equal(one['backbone.conv1.weight'], torch.load(checkpoint)['conv1.weight'])


def test_a_grid_or_a_model_that_does_not_fit_is_refused(checkpoint, tmp_path):
    for grid in (dict(lr=[0.1]), dict(lr=[], head_lr_multiplier=[1]), dict(lr=[0.0], head_lr_multiplier=[1])):
        with pytest.raises(ValueError, match='grid must be dict'):
            SemiSupervised('1%', grid)
    with pytest.raises(ConfigError, match=r'model\.frozen=False'):
        SemiSupervised('1%').run(benchmark_of(probe_config(tmp_path), checkpoint))


def supervised_config(work_dir, **changes):
    return probe_config(work_dir, 'Supervised', **{
        'model.frozen': False, 'model.heads.pooled.init_std': 0.01, **changes})


def test_supervised_training_learns_the_labels_of_the_images_from_the_start(tmp_path):
    config = supervised_config(tmp_path, **{'train_cfg.max_epochs': 40, 'optim_wrapper.optimizer.lr': 0.05})
    config.test_dataloader.dataset = dict(config.train_dataloader.dataset)
    result = run_benchmark(config, None)
    assert result.protocol == 'supervised' and result.settings['init'] == 'random'
    assert result.num_images == dict(train=40, test=40) and result.settings['epochs'] == 40
    assert result.metrics['top_1_accuracy_percent'] > 85          # the last maps alone do not tell them apart
    torch.manual_seed(0)
    start, state = ResNet(**TINY).state_dict(), saved(tmp_path, 40)
    assert not torch.allclose(state['backbone.conv1.weight'], start['conv1.weight'], atol=1e-2)
    answers = read_predictions(tmp_path / 'predictions.npz')
    assert 100 * (answers.labels == answers.predicted).mean() == result.metrics['top_1_accuracy_percent']


def test_supervised_training_begins_with_the_encoder_of_the_seed(tmp_path):
    config = supervised_config(tmp_path, **{'train_cfg.max_epochs': 1, 'optim_wrapper.optimizer.lr': 1e-9})
    run_benchmark(config, None)
    torch.manual_seed(0)
    for name, weight in ResNet(**TINY).named_parameters():
        assert torch.allclose(saved(tmp_path, 1)[f'backbone.{name}'], weight, atol=1e-6), name


def test_supervised_training_refuses_a_checkpoint_and_a_frozen_encoder(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match='give no CHECKPOINT, but --init random'):
        Supervised().run(benchmark_of(supervised_config(tmp_path), checkpoint))
    with pytest.raises(ConfigError, match=r'model\.frozen=False'):
        Supervised().run(benchmark_of(probe_config(tmp_path, 'Supervised'), None))


def test_permuting_the_test_images_permutes_the_predictions_and_nothing_else(checkpoint, tmp_path):
    straight = run_benchmark(probe_config(tmp_path / 'a'), str(checkpoint))
    order = np.random.default_rng(0).permutation(21).tolist()
    config = probe_config(tmp_path / 'b')
    config.test_dataloader.dataset.indices = order
    permuted = run_benchmark(config, str(checkpoint))
    assert permuted.metrics == straight.metrics
    left, right = (read_predictions(tmp_path / name / 'predictions.npz') for name in 'ab')
    assert np.array_equal(left.predicted[order], right.predicted)


@pytest.mark.parametrize('feature', ['projection', 'projection.hidden1'])
def test_a_probe_on_the_projection_head_equals_a_plain_loop_and_leaves_the_head_as_it_was(
        feature, checkpoint, tmp_path):
    torch.manual_seed(3)
    neck = NonLinearNeck(32, 12, 6, with_bias=True).eval()
    neck.bn0.running_mean.uniform_(-1, 1)
    neck.bn1.running_var.uniform_(0.5, 2)
    tensors = {f'backbone.{key}': value for key, value in torch.load(checkpoint).items()}
    with_head = tmp_path / 'model.pth'
    torch.save(dict(state_dict=tensors | {f'neck.{k}': v for k, v in neck.state_dict().items()}), with_head)
    config = probe_config(tmp_path / 'run', **{'train_dataloader.sampler.shuffle': False,
                                               'model.heads.pooled.feature': feature})
    result = run_benchmark(config, str(with_head))
    rows, labels = features_and_labels(checkpoint, 'train', 40)
    with torch.no_grad():
        hidden = F.relu(neck.bn0(neck.fc0(rows)))
        rows = hidden if feature.endswith('1') else neck.bn1(neck.fc1(hidden))
    weight, bias = plain_loop(rows, labels)
    state = saved(tmp_path / 'run')
    assert torch.allclose(state['heads.pooled.fc.weight'], weight, atol=1e-4)
    assert torch.allclose(state['heads.pooled.fc.bias'], bias, atol=1e-4)
    for key, value in neck.state_dict().items():
        assert torch.equal(state[f'neck.{key}'], value), key
    assert 'projection head' in result.settings['feature']


def test_a_probe_on_a_head_that_is_not_there_is_refused(checkpoint, tmp_path):
    config = probe_config(tmp_path, **{'model.heads.pooled.feature': 'projection'})
    with pytest.raises(ValueError, match=r'has no projection head'):
        run_benchmark(config, str(checkpoint))
    with pytest.raises(ValueError, match=r'randomly initialised encoder has no projection head'):
        run_benchmark(config, None)


@pytest.mark.parametrize('lr, warns', [(0.1, False), (1e4, True)])
def test_a_probe_that_ends_no_better_than_guessing_says_what_to_try(lr, warns, checkpoint, tmp_path, capsys):
    run_benchmark(probe_config(tmp_path / 'run', **{'optim_wrapper.optimizer.lr': lr}), checkpoint)
    assert (f'guessing has {math.log(10):.3g}' in capsys.readouterr().out) == warns


def test_folders_that_are_not_laid_out_by_class_are_told_the_layout(checkpoint, tmp_path):
    config = load_config('knn_folder', dict(data_root=str(tmp_path / 'photos')), tmp_path / 'run')
    with pytest.raises(MissingFileError, match=r'train/CLASS/IMAGE and val/CLASS/IMAGE'):
        run_benchmark(config, str(checkpoint))


def test_the_leaf_for_folders_splits_them_and_takes_the_size_of_the_views(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(40):
        name = ('dark', 'light')[number % 2]
        (tmp_path / 'photos' / name).mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 120, (40, 52, 3), np.uint8) + np.uint8(120 * (number % 2))
        Image.fromarray(image).save(tmp_path / 'photos' / name / f'{number}.png')
    encoder = ResNet(**TINY).eval()
    path = tmp_path / 'encoder.pth'
    torch.save(encoder.state_dict(), path)
    config = load_config('linear_1xb64-coslr-40e_folder', dict(
        data_root=str(tmp_path / 'photos'), epochs=4, batch_size=8, work_dir=str(tmp_path / 'work'),
        **{'train_dataloader.num_workers': 0, 'test_dataloader.num_workers': 0}))
    result = run_benchmark(config, str(path))
    assert result.num_images == dict(train=32, test=8)
    assert result.settings['image_px'] == [32, 32]        # of CIFAR's stem
    assert result.settings['split'] == dict(held_out_share=0.2, seed=0)
    lines = (tmp_path / 'work/split.csv').read_text().splitlines()
    assert len(lines) == 41 and sum(line.startswith('val,') for line in lines) == 8
    assert result.metrics['top_1_accuracy_percent'] == 100.0
