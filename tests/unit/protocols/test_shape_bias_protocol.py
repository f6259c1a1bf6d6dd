"""The shape-bias protocol: planted classifiers give known decisions, from images to files."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_benchmark import tiny_benchmark

from mmsimclr.checkpoints import DamagedCheckpointError, LayoutError, read_linear_classifier
from mmsimclr.errors import InputError
from mmsimclr.evaluation.shape_bias import category_classes, read_decisions
from mmsimclr.protocols import ShapeBias, read_predictions
from mmsimclr.reporting import published_values

# Each stimulus, and the decision that is planted for it.
PLANTED = {'cat1-dog2': 'cat', 'cat2-dog1': 'dog', 'cat3-cat4': 'cat', 'dog1-cat1': 'cat',
           'oven1-car1': 'oven', 'truck1-bird2': 'chair', 'bird1-boat3': 'boat', 'boat2-boat1': 'knife'}


def noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(256, size=(32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def stimuli(tmp_path) -> dict:
    for seed, name in enumerate(PLANTED):
        noise(tmp_path / 'stimuli' / name.partition('-')[0].strip('0123456789') / f'{name}.png', seed)
    return dict(type='UnlabeledImageFolder', data_root=str(tmp_path / 'stimuli'))


def plant(benchmark, stimuli: dict, path: Path, decisions: dict = PLANTED) -> str:
    """Write a linear classifier of 1000 classes that answers each stimulus as planted; return its path."""
    files = benchmark.features(stimuli)
    logits = np.zeros((len(files), 1000))
    for row, name in enumerate(files.paths):
        classes = [*category_classes()[decisions[Path(name).stem]].values()]
        logits[row, classes] = 4.0
        # Surer of a single class of a large category, which the mean over the category's classes outweighs.
        logits[row, category_classes()['dog']['n02085936']] += 5.0
    rows = np.array(files.stages['pooled'], np.float64)
    bias = np.linspace(-1, 1, 1000)
    weight = np.linalg.pinv(rows) @ (logits - bias)                     # fewer images than features: exact
    torch.save(dict(state_dict={'head.fc.weight': torch.from_numpy(weight.T.copy()),
                                'head.fc.bias': torch.from_numpy(bias)}), path)
    return str(path)


def test_planted_logits_give_the_planted_decisions_bias_and_files(stimuli, tmp_path):
    benchmark = tiny_benchmark(tmp_path / 'run')
    classifier = plant(benchmark, stimuli, tmp_path / 'classifier.pth')
    result = ShapeBias(stimuli, classifier=classifier).run(benchmark)
    found = read_decisions(tmp_path / 'run' / 'decisions.csv')
    assert dict(zip(found.stimuli, found.response.tolist(), strict=True)) == PLANTED
    # Shape: cat1-dog2, oven1-car1; texture: cat2-dog1, dog1-cat1, bird1-boat3; one neither; two congruent.
    assert result.metrics['shape_bias_percent'] == pytest.approx(40)
    assert result.metrics['shape_decisions_percent'] == pytest.approx(100 * 2 / 6)
    assert result.metrics['texture_decisions_percent'] == pytest.approx(100 * 3 / 6)
    by_shape = {name: value for name, value in result.metrics.items() if name.startswith('shape_bias_')}
    assert by_shape == {'shape_bias_percent': 40, 'shape_bias_cat_percent': 50, 'shape_bias_dog_percent': 0,
                        'shape_bias_oven_percent': 100, 'shape_bias_bird_percent': 0}
    assert result.num_images == dict(conflicts=6, test=8) and result.protocol == 'shape bias'
    low, high = result.settings['interval_95_percent']
    assert low < 40 < high
    kept = read_predictions(tmp_path / 'run' / 'predictions.npz')
    names = [*category_classes()]
    assert {str(image): names[decided] for image, decided in zip(
        kept.images, kept.predicted, strict=True)} == PLANTED
    with open(tmp_path / 'run' / 'decisions.csv') as file:
        assert next(csv.DictReader(file))['category'] == 'bird'


def test_the_encoders_own_classifier_is_taken_and_a_random_encoder_has_none(stimuli, tmp_path):
    benchmark = tiny_benchmark(tmp_path / 'run')
    with pytest.raises(InputError, match=r'protocol\.classifier'):
        ShapeBias(stimuli).run(benchmark)


def test_no_decision_for_shape_or_texture_is_an_error(stimuli, tmp_path):
    benchmark = tiny_benchmark(tmp_path / 'run')
    classifier = plant(benchmark, stimuli, tmp_path / 'c.pth', dict.fromkeys(PLANTED, 'clock'))
    with pytest.raises(InputError, match='6 stimuli with a conflict'):
        ShapeBias(stimuli, classifier=classifier).run(benchmark)


@pytest.fixture
def train(tmp_path) -> dict:
    """Return images of the 16 categories, in each of which are the stimuli that are planted for it."""
    root = tmp_path / 'train'
    for number, name in enumerate(category_classes()):
        noise(root / name / 'own.png', 100 + number)
    for seed, decision in enumerate(PLANTED.values()):
        noise(root / decision / f'{seed}.png', seed)
    noise(root / 'zebra' / 'no_category.png', 0)
    return dict(type='mmpretrain.CustomDataset', data_root=str(root), pipeline=[])


@pytest.mark.parametrize('arguments, name', [
    (dict(k=1), 'shape bias by k-NN'), (dict(l2=1e-9), 'shape bias by logistic regression')])
def test_a_classifier_of_the_categories_decides_under_its_own_name(arguments, name, stimuli, train, tmp_path):
    result = ShapeBias(stimuli, train=train, **arguments).run(tiny_benchmark(tmp_path / 'run'))
    found = read_decisions(tmp_path / 'run' / 'decisions.csv')
    assert dict(zip(found.stimuli, found.response.tolist(), strict=True)) == PLANTED
    assert result.protocol == name and result.num_images['train'] == 24
    assert result.metrics['shape_bias_percent'] == pytest.approx(40)
    assert arguments.items() <= result.settings.items()


def test_only_the_published_measure_stands_beside_published_numbers():
    measure = 'cue conflict', 'shape_bias_percent'
    assert {value.value for value in published_values('shape bias', *measure)} == {38.9, 41.7, 40.7}
    for name in ('shape bias by k-NN', 'shape bias by logistic regression'):
        assert not published_values(name, *measure)


def test_folders_of_wordnet_ids_are_categories_and_missing_ones_are_named(stimuli, tmp_path):
    answers = [*PLANTED.values()]
    for number, (name, classes) in enumerate(category_classes().items()):
        seed = answers.index(name) if name in answers else 100 + number
        noise(tmp_path / 'wnids' / list(classes)[-1] / 'x.png', seed)
    train = dict(type='mmpretrain.CustomDataset', data_root=str(tmp_path / 'wnids'), pipeline=[])
    result = ShapeBias(stimuli, train=train, k=1).run(tiny_benchmark(tmp_path / 'run'))
    assert result.num_images['train'] == 16
    # Each of these stimuli is an image of the category.
    found = read_decisions(tmp_path / 'run' / 'decisions.csv')
    decided = dict(zip(found.stimuli, found.response.tolist(), strict=True))
    own = [name for number, name in enumerate(PLANTED) if answers.index(PLANTED[name]) == number]
    assert len(own) == 6 and [decided[name] for name in own] == [PLANTED[name] for name in own]
    (tmp_path / 'wnids' / list(category_classes()['knife'])[-1] / 'x.png').unlink()
    (tmp_path / 'wnids' / list(category_classes()['knife'])[-1]).rmdir()
    with pytest.raises(InputError, match=r'none of knife$'):
        ShapeBias(stimuli, train=train, k=1).run(tiny_benchmark(tmp_path / 'again'))


def test_arguments_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match=r'classifier.*train'):
        ShapeBias(dict(type='Shapes'), classifier='file.pth', train=dict(type='Shapes'))


@pytest.mark.parametrize('tensors, said', [
    ({'fc.weight': (1000, 8)}, 'none'),
    ({'fc.weight': (1000, 9), 'fc.bias': (1000,)}, 'none'),
    ({'a.weight': (1000, 8), 'a.bias': (1000,), 'b.weight': (1000, 8), 'b.bias': (1000,)},
     'a.weight, .*b.weight')])
def test_a_file_without_one_classifier_is_refused(tensors, said, tmp_path):
    torch.save({name: torch.zeros(shape) for name, shape in tensors.items()}, tmp_path / 'file.pth')
    with pytest.raises(LayoutError, match=f'1000 classes on 8 features.*{said}'):
        read_linear_classifier(tmp_path / 'file.pth', 1000, 8)


def test_a_classifier_is_found_beside_an_encoder(tmp_path):
    weight = torch.randn(1000, 8, dtype=torch.float64)
    torch.save(dict(state_dict={'backbone.conv1.weight': torch.zeros(4, 3, 3, 3), 'fc.weight': weight,
                                'fc.bias': torch.arange(1000.), 'neck.fc.weight': torch.zeros(8, 8),
                                'neck.fc.bias': torch.zeros(8)}), tmp_path / 'file.pth')
    found, bias = read_linear_classifier(tmp_path / 'file.pth', 1000, 8)
    assert torch.equal(found, weight.float()) and bias[999] == 999


def test_a_classifier_of_a_file_that_was_replaced_since_is_refused(tmp_path):
    path = tmp_path / 'c.pth'
    torch.save({'fc.weight': torch.zeros(1000, 4), 'fc.bias': torch.zeros(1000)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_linear_classifier(path, 1000, 4, digest)[0].shape == (1000, 4)
    with pytest.raises(DamagedCheckpointError, match=digest):
        read_linear_classifier(path, 1000, 4, 'f' * 64)
