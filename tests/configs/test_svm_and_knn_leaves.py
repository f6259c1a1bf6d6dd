"""The leaves of the protocols on features say what their sources do."""

import ast
from pathlib import Path

import pytest

from mmsimclr.config import load_config
from mmsimclr.protocols import KNN, SVM, LowShotSVM, TransformPrediction
from mmsimclr.registry import DATASETS, PROTOCOLS

FOLDER = Path(__file__).parents[2] / 'configs' / 'benchmarks' / 'classification'
LEAVES = {path.stem: path for kind in ('knn', 'svm', 'low-shot-svm', 'transform-prediction')
          for path in sorted(FOLDER.glob(f'{kind}_*.py'))}
KINDS = {'knn': KNN, 'svm': SVM, 'low-shot-svm': LowShotSVM,
         'transform-prediction': TransformPrediction}


@pytest.mark.parametrize('name', LEAVES)
def test_leaf_builds_the_protocol_of_its_name_and_gives_its_command(name):
    protocol = PROTOCOLS.build(load_config(LEAVES[name]).protocol)
    assert type(protocol) is KINDS[name.split('_')[0]]
    header = ast.get_docstring(ast.parse(LEAVES[name].read_text()))
    assert f'Command: mmsimclr benchmark {name} CHECKPOINT' in ' '.join(header.split())


def test_knn_leaves_have_the_published_settings():
    for name in ('knn_in1k', 'knn_cifar10', 'knn_shapes'):
        protocol = PROTOCOLS.build(load_config(LEAVES[name]).protocol)
        assert protocol.k == [10, 20, 100, 200] and protocol.temperature == 0.07


def test_transformations_have_the_papers_chances():
    for name in ('transform-prediction_cifar10', 'transform-prediction_shapes'):
        protocol = PROTOCOLS.build(load_config(LEAVES[name]).protocol)
        chances = {task: max(share for share, _ in classes.values())
                   for task, classes in protocol.tasks.items()}
        assert chances == dict(colour=0.8, rotation=0.25, noise=0.5, sobel=0.5)
        assert protocol.stages == ('pooled', 'projection')


def test_voc07_leaves_have_the_published_settings():
    costs = [1, 10, 100, *(0.5 ** power for power in range(4, 20))]
    for name in ('svm_voc07', 'low-shot-svm_voc07'):
        config = load_config(LEAVES[name])
        protocol = PROTOCOLS.build(config.protocol)
        assert list(protocol.costs) == costs and protocol.max_iterations == 2000
        assert protocol.stages == ('stem', 'layer1', 'layer2', 'layer3', 'layer4')
        assert (config.protocol.train.split, config.protocol.test.split) == ('trainval', 'test')
        assert config.dataset_name == 'VOC2007'
    assert protocol.k == [1, 2, 4, 8, 16, 32, 64, 96]
    assert (protocol.num_samples, protocol.negatives_per_positive) == (5, 19)
    assert PROTOCOLS.build(load_config(LEAVES['svm_voc07']).protocol).num_folds == 3


def test_a_missing_devkit_is_an_error_that_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'host\.robots\.ox\.ac\.uk'):
        DATASETS.build(load_config(LEAVES['svm_voc07']).protocol.train)


def test_shapes_leaves_have_images_enough_for_every_k():
    protocol = PROTOCOLS.build(load_config(LEAVES['low-shot-svm_shapes']).protocol)
    num_images = protocol.datasets['train']['num_images']
    assert num_images // 10 >= max(protocol.k) and \
        num_images * 9 // 10 >= max(protocol.k) * protocol.negatives_per_positive
