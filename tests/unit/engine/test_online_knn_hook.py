import copy
import json

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from sklearn.neighbors import KNeighborsClassifier
from tiny_run import PACK_IMAGE, log_of, tiny_runner

from mmsimclr.datasets import Shapes
from mmsimclr.engine import OnlineKNNHook
from mmsimclr.features import extract_features

BANK = dict(type=Shapes, num_images=60, image_size=16, pipeline=PACK_IMAGE)
QUERIES = dict(type=Shapes, num_images=30, image_size=16, split='test', pipeline=PACK_IMAGE)


class UnlabelledForKNNTest(BaseDataset):
    def load_data_list(self) -> list[dict]:
        return [dict(img=np.zeros((16, 16, 3), np.uint8))]


@pytest.fixture
def runner(tmp_path):
    return tiny_runner(tmp_path)


def started(runner, **changes) -> OnlineKNNHook:
    hook = OnlineKNNHook(**{**dict(bank=BANK, queries=QUERIES, batch_size=7, at_start=False), **changes})
    hook.before_train(runner)
    return hook


def sklearn_accuracy(model, bank_rows=slice(None), query_rows=slice(None), k: int = 20) -> float:
    features, labels = extract_features(model, dataset(BANK))
    queries, truth = extract_features(model, dataset(QUERIES))
    reference = KNeighborsClassifier(k, metric='cosine', algorithm='brute',
                                     weights=lambda distance: np.exp((1 - distance) / 0.07))
    reference.fit(features[bank_rows].numpy(), labels[bank_rows].numpy())
    return 100 * reference.score(queries[query_rows].numpy(), truth[query_rows].numpy())


def dataset(config: dict) -> Shapes:
    return Shapes(**{key: value for key, value in config.items() if key != 'type'})


def test_accuracy_equals_scikit_learns_on_the_same_features(runner):
    got = started(runner).evaluate(runner.model)
    assert 0 < got < 100
    assert got == pytest.approx(sklearn_accuracy(runner.model))


def test_as_trained_features_have_its_precision_and_come_in_batches_of_one_size(tmp_path, monkeypatch):
    runner = tiny_runner(tmp_path, optim_wrapper=dict(
        type='BFloat16OptimWrapper', optimizer=dict(type='LARS', lr=0.3)))
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    sizes, stances, dtypes = [], [], set()
    forward, stance = runner.model.backbone.forward, torch.compiler.set_stance

    def spied(images):
        sizes.append(len(images))
        maps = forward(images)
        dtypes.add(maps[-1].dtype)
        return maps
    monkeypatch.setattr(runner.model.backbone, 'forward', spied)
    monkeypatch.setattr(torch.compiler, 'set_stance', lambda name: stances.append(name) or stance(name))
    hook = started(runner, at_start=True, as_trained=True)
    assert stances == ['default'] and dtypes == {torch.bfloat16}
    assert sizes == [7] * (9 + 5)                                           # of 60 and of 30 images
    got = runner.message_hub.get_info('knn_accuracy_at_start')
    assert got == pytest.approx(sklearn_accuracy(runner.model), abs=7)
    assert hook.evaluate(runner.model) == pytest.approx(sklearn_accuracy(runner.model))   # in float32 here


def test_limits_take_exactly_as_many_evenly_spaced_images(runner):
    hook = started(runner, max_bank=40, max_queries=4, classifier=dict(type='KNNClassifier', k=3))
    rows = hook.datasets['bank'].indices
    assert len(rows) == len(set(rows)) == 40
    assert set(np.diff(rows)) <= {1, 2} and (rows[0], rows[-1]) == (0, 59)
    assert hook.evaluate(runner.model) == pytest.approx(
        sklearn_accuracy(runner.model, rows, [0, 10, 19, 29], k=3))


def test_evaluation_leaves_weights_statistics_mode_and_random_state_alone(runner):
    hook = started(runner)
    runner.model.train()
    before = copy.deepcopy(runner.model.state_dict())
    random_state = torch.get_rng_state()
    hook.evaluate(runner.model)
    assert all(torch.equal(value, before[name]) for name, value in runner.model.state_dict().items())
    assert all(module.training for module in runner.model.modules())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_runs_every_interval_and_at_the_end_and_is_logged(tmp_path):
    tiny_runner(tmp_path, train_cfg=dict(by_epoch=True, max_epochs=3), custom_hooks=[
        dict(type='OnlineKNNHook', bank=BANK, queries=QUERIES, interval=2)]).train()
    text = log_of(tmp_path)
    assert [f'epoch {epoch}: k-NN accuracy' in text for epoch in (1, 2, 3)] == [False, True, True]
    assert '(k = 20, 60 in the bank, 30 queries)' in text
    lines = next(tmp_path.glob('*/vis_data/scalars.json')).read_text(encoding='utf-8').splitlines()
    assert [entry['step'] for entry in map(json.loads, lines) if 'knn_accuracy' in entry] == [0, 4, 6]


def test_random_initialisation_is_evaluated_before_the_first_step_only(runner):
    hook = started(runner, at_start=True)
    at_start = runner.message_hub.get_info('knn_accuracy_at_start')
    assert at_start == pytest.approx(hook.evaluate(runner.model))
    runner.message_hub.update_info('knn_accuracy_at_start', None)
    runner.train_loop._iter = 7                              # as after a resume
    started(runner, at_start=True)
    assert runner.message_hub.get_info('knn_accuracy_at_start') is None


def test_a_dataset_without_labels_fails_before_the_first_step(runner):
    unlabelled = dict(type=UnlabelledForKNNTest, pipeline=PACK_IMAGE)
    with pytest.raises(ValueError, match='labelled images for its queries, got 1 images of Unlabelled'):
        started(runner, queries=unlabelled)


@pytest.mark.parametrize('name', ['interval', 'max_bank', 'max_queries', 'batch_size'])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f'{name} must be >= 1, got 0'):
        OnlineKNNHook(BANK, QUERIES, **{name: 0})
