"""Evaluating a classifier: what a plain loop finds, each image once, and never a number for nothing."""

import numpy as np
import pytest
import torch
from tiny_probe import TINY, shapes
from torch.utils.data import DataLoader

from mmsimclr.cpu_memory import is_memory_kept, kept_memory
from mmsimclr.models import Classifier
from mmsimclr.protocols import evaluate
from mmsimclr.protocols.training import image_names
from mmsimclr.registry import DATASETS

NUM_IMAGES = 23


def classifier(num_classes: int = 10, **settings) -> Classifier:
    torch.manual_seed(1)
    head = dict(type='mmsimclr.LinearHead', map_shape=(32, 2, 2), num_classes=num_classes, init_std=1.0)
    return Classifier(dict(type='mmsimclr.ResNet', **TINY), dict(pooled={**head, **settings}), frozen=True)


@pytest.fixture(scope='module')
def images():
    return DATASETS.build(dict(shapes('test', NUM_IMAGES), type='mmsimclr.Shapes',
                               pipeline=[dict(type='mmsimclr.PackImage')]))


def test_memory_is_kept_between_its_batches(images, monkeypatch):
    model, kept = classifier(), []
    model.register_forward_hook(lambda *_: kept.append(is_memory_kept()))
    evaluate(model, DataLoader(images, 12))
    with kept_memory() as can_be_kept:
        assert kept == [can_be_kept] * 2


def test_answers_and_accuracy_equal_a_plain_loop(images):
    model = classifier()
    found = evaluate(model, DataLoader(images, 5))
    top_1 = top_5 = 0
    for number in range(NUM_IMAGES):
        item = images[number]
        with torch.no_grad():
            logits = model(item['inputs'][None].float() / 255)['pooled'][0].tolist()
        best = sorted(range(10), key=lambda label: -logits[label])[:5]
        assert found.answers['pooled'][number].tolist() == best
        label = item['data_samples']['gt_label']
        assert found.labels[number] == label
        top_1 += best[0] == label
        top_5 += label in best
    assert 0 < top_1 < top_5 < NUM_IMAGES, 'the case tells the two apart'
    assert found.metrics('pooled') == pytest.approx({
        'top_1_accuracy_percent': 100 * top_1 / NUM_IMAGES,
        'top_5_accuracy_percent': 100 * top_5 / NUM_IMAGES})
    predictions = found.predictions('pooled', images)
    assert np.array_equal(predictions.predicted, found.answers['pooled'][:, 0])


def test_order_and_repetition_of_images_change_nothing(images):
    model = classifier()
    want = evaluate(model, DataLoader(images, 4))
    order = [*reversed(range(NUM_IMAGES)), 3, 3, 7]
    again = evaluate(model, DataLoader(images, 4, sampler=order))
    assert np.array_equal(want.labels, again.labels)
    assert np.array_equal(want.answers['pooled'], again.answers['pooled'])


def test_a_constant_feature_gives_chance(images):
    model = classifier()
    torch.nn.init.zeros_(model.backbone.layer4[1].bn2.weight)
    for parameter in model.backbone.parameters():
        parameter.data.zero_()
    model.heads.pooled.fc.bias.data[3] = 1.0
    found = evaluate(model, DataLoader(images, 8)).metrics('pooled')
    assert found['top_1_accuracy_percent'] == pytest.approx(
        100 * float((images.get_gt_labels() == 3).mean()))


def test_five_classes_or_fewer_have_no_top_5(images):
    few = torch.utils.data.Subset(images, [i for i in range(NUM_IMAGES) if images.get_gt_labels()[i] < 4])
    relabelled = [{**few[i], 'data_samples': {**few[i]['data_samples'], 'sample_idx': i}}
                  for i in range(len(few))]
    assert list(evaluate(classifier(4), DataLoader(relabelled, 4)).metrics('pooled')) == [
        'top_1_accuracy_percent']


@pytest.mark.parametrize('make, said', [
    (lambda images: (classifier(init_std=0.0), DataLoader(images, 8)),
     'pooled are all zero: a probe that was never trained'),
    (lambda images: (classifier(), DataLoader(images, 8, sampler=range(20))), '20 of 23 images'),
    (lambda images: (classifier(), DataLoader([], 8)), '0 of 0 images'),
    (lambda images: (classifier(6), DataLoader(images, 8)), r'must be in \[0, 6\), got 0 to 9'),
    (lambda images: (damaged(), DataLoader(images, 8)), 'logits of image 0 of the test are not finite'),
    (lambda images: (classifier(), DataLoader([dict(inputs=images[0]['inputs'], data_samples={})], 1)),
     'must carry gt_label, sample_idx'),
])
def test_what_would_be_a_number_for_nothing_is_refused(make, said, images):
    with pytest.raises(ValueError, match=said):
        evaluate(*make(images))


def damaged() -> Classifier:
    model = classifier()
    model.backbone.conv1.weight.data[0, 0, 0, 0] = float('nan')
    return model


def test_images_are_named_by_path_below_the_root_or_by_number(images):
    class Files:
        data_root = 'data/voc'

        def __len__(self):
            return 2

        def get_data_info(self, index):
            return {'img_path': f'data/voc/a/{index}.jpg'}

    assert image_names(Files()).tolist() == ['a/0.jpg', 'a/1.jpg']
    assert image_names(images).tolist() == [str(number) for number in range(NUM_IMAGES)]
