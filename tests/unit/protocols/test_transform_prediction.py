"""Prediction of transformations: what images go through, and what MLPs find in features that are known."""

import numpy as np
import pytest
import torch
from fixed_features import FixedFeatures
from scipy import ndimage
from tiny_benchmark import shapes, tiny_benchmark

from mmsimclr.datasets import data_identity
from mmsimclr.features import FeatureFiles
from mmsimclr.protocols import TransformPrediction, read_result
from mmsimclr.protocols.transform_prediction import TASKS, TransformedImages, predict_by_mlp
from mmsimclr.registry import DATASETS


def transformed(task, num_images=40, seed=3, crop_px=16):
    return TransformedImages(shapes(num_images, pipeline=[]), TASKS[task] if isinstance(task, str) else task,
                             seed, crop_px, crop_px)


def sources(num_images=40):
    plain = DATASETS.build(shapes(num_images, pipeline=[]))
    return [plain.get_data_info(i)['img'] for i in range(num_images)]


@pytest.mark.parametrize('task', TASKS)
def test_the_label_says_what_was_done_to_the_image(task):
    dataset, seen = transformed(task), set()
    for index, source in enumerate(sources()):
        item = dataset.get_data_info(index)
        img, label = item['img'], dataset.metainfo['classes'][item['gt_label']]
        seen.add(label)
        if label in ('original', 'colour', '0'):
            assert np.array_equal(img, source)
        elif task == 'rotation':
            assert np.array_equal(img, np.rot90(source, int(label) // 90))
        elif task == 'colour':
            assert (img == img[..., :1]).all() and not (source == source[..., :1]).all()
        elif task == 'sobel':
            gradient = np.hypot(*(ndimage.sobel(source[..., 1].astype(float), axis, mode='mirror') / 4
                                  for axis in (0, 1)))
            assert np.abs(img[..., 1] - gradient.clip(max=255)).max() <= 0.501
        else:
            assert 10 < (img.astype(float) - source).std() < 110
    assert seen == set(dataset.metainfo['classes']) == set(TASKS[task])


@pytest.mark.parametrize('task', TASKS)
def test_classes_have_their_shares(task):
    dataset = transformed(task, 1000)
    labels = [dataset.get_data_info(i)['gt_label'] for i in range(1000)]
    for label, (share, _) in enumerate(TASKS[task].values()):
        assert abs(labels.count(label) / 1000 - share) < 4 * np.sqrt(share * (1 - share) / 1000)


def test_an_image_is_the_same_whenever_it_is_asked_for_and_another_seed_draws_anew():
    first, again, other = transformed('noise'), transformed('noise'), transformed('noise', seed=4)
    order = [5, 0, 39, 5]
    for index in order:
        assert np.array_equal(first.get_data_info(index)['img'], again.get_data_info(index)['img'])
    labels = [[part.get_data_info(i)['gt_label'] for i in range(40)] for part in (first, other)]
    assert labels[0] != labels[1]
    assert first.get_data_info(3).keys() == {'img', 'gt_label', 'sample_idx'}


def test_images_that_another_seed_draws_of_are_the_same_images():
    """In a summary, runs with other seeds are runs of one row."""
    first, second = (transformed('noise', seed=seed) for seed in (0, 1))
    drawn = [[each.get_data_info(index)['gt_label'] for index in range(40)] for each in (first, second)]
    assert drawn[0] != drawn[1]
    assert data_identity({'test': first}) == data_identity({'test': second})


def test_images_are_cut_before_the_step():
    dataset = transformed({'all': (0.5, dict(type='Sobel')), 'none': (0.5, None)}, crop_px=8)
    assert {dataset.get_data_info(i)['img'].shape for i in range(10)} == {(8, 8, 3)}


class PlantedFeatures(FixedFeatures):
    """Features of which 'pooled' tells the class, in a way that is not linear, and 'projection' nothing."""

    def __init__(self, folder):
        super().__init__(folder, (), (), 'pooled')
        self.asked = []

    def features(self, dataset, stages='pooled', **preparation):
        self.asked.append((dataset['seed'], tuple(stages)))
        generator = np.random.default_rng(dataset['seed'])
        shares = [share for share, _ in dataset['classes'].values()]
        labels = generator.choice(len(shares), 1500, p=shares)
        signs = generator.choice([-1, 1], (1500, 2))
        known = np.concatenate([signs * (1 + (labels // 2)[:, None]),
                                signs[:, :1] * signs[:, 1:] * (labels % 2 * 2 - 1)[:, None]], axis=1)
        rows = {'pooled': known + 0.05 * generator.normal(size=known.shape), 'projection': generator.normal(
            size=(1500, 3))}
        return FeatureFiles({stage: rows[stage].astype(np.float32) for stage in stages}, None, labels,
                            dict(images=dict(classes=[])))


@pytest.fixture(scope='module')
def planted(tmp_path_factory):
    benchmark = PlantedFeatures(tmp_path_factory.mktemp('planted'))
    protocol = TransformPrediction(shapes(10), shapes(10), hidden_dims=64, epochs=40, lr=5e-3)
    return benchmark, protocol.run(benchmark)


def test_what_is_in_the_features_is_found_and_what_is_not_is_at_chance(planted):
    _, result = planted
    chance = dict(colour=80, rotation=25, noise=50, sobel=50)
    for task, value in chance.items():
        assert result.metrics[f'{task}_chance_percent'] == value
        assert result.metrics[f'{task}_pooled_accuracy_percent'] > 97
        assert abs(result.metrics[f'{task}_projection_accuracy_percent'] - value) < 7


def test_the_result_says_what_was_done_and_is_written(planted):
    benchmark, result = planted
    assert read_result(benchmark.work_dir / 'result.json') == result
    settings = result.settings
    assert settings['hidden_dims'] == 64 and settings['feature_dims'] == dict(pooled=3, projection=3)
    assert settings['tasks']['colour']['grey'] == dict(share=0.2, step='RandomGrayscale(prob=1.0)')
    assert settings['tasks']['noise']['original'] == dict(share=0.5, step='none')
    assert 'GaussianNoise(std=(0.08, 0.38)' in settings['tasks']['noise']['noisy']['step']
    assert result.num_images == dict(train=1500, test=1500)


def test_each_task_and_part_draws_by_itself(planted):
    benchmark, _ = planted
    assert len({seed for seed, _ in benchmark.asked}) == len(benchmark.asked) == 8
    assert {stages for _, stages in benchmark.asked} == {('pooled', 'projection')}


def test_an_mlp_learns_what_is_not_linear_and_keeps_the_global_random_state():
    generator = np.random.default_rng(0)
    rows = generator.choice([-1.0, 1.0], (800, 2)).astype(np.float32)
    labels = (rows[:, 0] * rows[:, 1] > 0).astype(np.int64)
    state = torch.get_rng_state()
    features = 100 * rows + 7
    found = [predict_by_mlp(features[:600], labels[:600], features[600:], 2, 16, 30, 32, 1e-2, seed)
             for seed in (0, 0)]
    assert torch.equal(torch.get_rng_state(), state) and np.array_equal(*found)
    assert (found[0] == labels[600:]).mean() > 0.99


def test_a_random_encoder_sees_that_an_image_was_filtered(tmp_path):
    protocol = TransformPrediction(shapes(200), shapes(100, 'test'), ['sobel', 'noise'], ['pooled'],
                                   epochs=40)
    result = protocol.run(tiny_benchmark(tmp_path / 'run'))
    assert result.num_images == dict(train=200, test=100) and result.settings['init'] == 'random'
    assert result.metrics['sobel_pooled_accuracy_percent'] > 90
    assert result.metrics.keys() == {f'{task}_{name}_percent' for task in ('sobel', 'noise')
                                     for name in ('pooled_accuracy', 'chance')}


@pytest.mark.parametrize(('arguments', 'words'), [
    (dict(transformations=['rotatoin']), ['transformations', 'rotatoin', "mean 'rotation'"]),
    (dict(transformations={'mine': {'a': (0.5, None), 'b': (0.6, None)}}), ['mine', 'sum 1', '0.6']),
    (dict(transformations={'mine': {'a': (1.0, None)}}), ['mine', 'two or more']),
    (dict(epochs=0), ['epochs', '0']), (dict(lr=0), ['lr', '0']),
    (dict(hidden_dims=-1), ['hidden_dims', '-1'])])
def test_wrong_arguments_are_refused_by_name(arguments, words):
    with pytest.raises(ValueError, match='.*'.join(words)):
        TransformPrediction(shapes(10), shapes(10), **arguments)
