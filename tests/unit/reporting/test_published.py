"""Published numbers are found by protocol, data and metric, and only where all three agree."""

import pytest

from mmsimclr.checkpoints.zoo_index import model_entries
from mmsimclr.protocols import Result
from mmsimclr.reporting import published_values, result_text

SMALL, LARGE = 'simclr_resnet50_8xb32-coslr-200e_in1k', 'simclr_resnet50-4x_32xb128-coslr-1000e_in1k'


def values(*names) -> dict:
    return {value.model: value.value for value in published_values(*names)}


@pytest.mark.parametrize('names, model, value', [
    (('k-NN', 'ImageNet-1k', 'top_1_accuracy_k20_percent'), SMALL, 48.4),
    (('k-nn', 'ImageNet-1k', 'top_1_accuracy_k200_percent'), SMALL, 45.2),
    (('low-shot SVM', 'VOC2007', 'map_k16_percent'), SMALL, 67.38),
    (('SVM', 'VOC2007', 'map_percent'), SMALL, 79.98),
    (('linear on each feature', 'Places205', 'top_1_accuracy_feature_4_percent'), SMALL, 45.25),
    (('transfer linear', 'Food-101', 'top_1_accuracy_percent'), LARGE, 76.9),
    (('transfer linear', 'FGVC Aircraft', 'mean_class_accuracy_percent'), LARGE, 61.2),
    (('transfer fine-tuned', 'VOC2007', '11_point_map_percent'), LARGE, 86.6),
])
def test_numbers_are_found_under_the_names_of_results(names, model, value):
    assert values(*names)[model] == value


@pytest.mark.parametrize('names', [
    ('k-NN', 'Shapes', 'top_1_accuracy_k20_percent'), ('k-NN', None, 'top_1_accuracy_k20_percent'),
    ('k-NN', 'ImageNet-1k', 'top_1_accuracy_k2_percent'), ('SVM', 'VOC2007', '11_point_map_percent'),
    ('transfer linear', 'FGVC Aircraft', 'top_1_accuracy_percent'),
    ('linear', 'Food-101', 'top_1_accuracy_percent'),
])
def test_other_data_protocols_or_metrics_have_no_numbers(names):
    assert values(*names) == {}


def test_every_transfer_number_of_the_index_is_reached_by_a_config(root):
    from mmsimclr.config import load_config
    tasks = load_config(root / 'configs/benchmarks/classification/transfer-linear.py').protocol.tasks
    reached = sum(len(published_values(protocol, task.name, task.metric)) for task in tasks
                  for protocol in ('transfer linear', 'transfer fine-tuned'))
    assert reached == sum(result.protocol.startswith('transfer') for entry in model_entries()
                          for result in entry.results) > 40


def test_a_result_is_told_with_the_published_numbers_of_each_of_its_datasets():
    metrics = {f'{name}_top_1_accuracy_percent': value
               for name, value in (('cifar_10', 90.123), ('dtd', 70.), ('x', 1.))}
    result = Result('transfer linear', metrics, {}, 0, settings=dict(parts={
        'CIFAR-10': 'cifar_10/result.json', 'DTD': 'dtd/result.json', 'X': 'x/result.json'}))
    lines = result_text(result).splitlines()
    assert lines[0].split() == ['cifar_10_top_1_accuracy_percent', '90.12']
    assert any(line.startswith('    published: 95.3 simclr_resnet50-4x') for line in lines[1:3])
    dtd = next(number for number, line in enumerate(lines) if line.startswith('dtd'))
    assert '74.5' in lines[dtd + 1] and lines[-1].split() == ['x_top_1_accuracy_percent', '1.00']
