"""Which datasets of a transfer benchmark run, and how training images are held out."""

import numpy as np
import pytest

from mmsimclr.protocols.transfer import TransferDataset, choose_datasets, count_classes, hold_out


def task(name: str, root=None, **changes) -> TransferDataset:
    return TransferDataset(**{**dict(name=name, metric='top_1_accuracy_percent', train={}, test={},
                                     root=None if root is None else str(root), needs=('meta/*.txt', 'images'),
                                     source='http://example.org/x.tgz'), **changes})


def test_missing_datasets_are_told_all_at_once_with_source_and_layout(tmp_path):
    tasks = [task('Here'), task('There', tmp_path / 'there'), task('Elsewhere', tmp_path / 'else')]
    with pytest.raises(FileNotFoundError) as error:
        choose_datasets(tasks, None, skip_missing=False)
    text = str(error.value)
    assert text.startswith('2 of 3 datasets are not here') and 'There: no meta/*.txt, images in' in text
    assert 'Elsewhere' in text and 'http://example.org/x.tgz' in text and 'skip_missing' in text


def test_missing_datasets_are_skipped_only_if_asked_and_named(tmp_path):
    tasks = [task('Here'), task('There', tmp_path / 'there')]
    here, skipped = choose_datasets(tasks, None, skip_missing=True)
    assert [one.name for one in here] == ['Here']
    assert len(skipped) == 1 and skipped[0].startswith('There: no ')
    with pytest.raises(FileNotFoundError, match='1 of 1'):
        choose_datasets(tasks, 'There', skip_missing=True)


def test_a_dataset_is_here_when_all_it_needs_is(tmp_path):
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'images').mkdir()
    assert task('X', tmp_path).missing == ['meta/*.txt']
    (tmp_path / 'meta' / 'train.txt').touch()
    assert task('X', tmp_path).missing == []


def test_datasets_are_chosen_by_name():
    tasks = [task('DTD'), task('Food-101'), task('VOC2007')]
    assert [one.name for one in choose_datasets(tasks, ['VOC2007', 'DTD'], False)[0]] == ['VOC2007', 'DTD']
    with pytest.raises(ValueError, match=r"no dataset 'Food' .* did you mean 'Food-101'"):
        choose_datasets(tasks, 'Food', False)


def test_the_same_share_of_each_class_is_held_out():
    labels = np.repeat([0, 1, 2], [50, 20, 5])
    fit, validate = hold_out(labels, 0.2, seed=0)
    assert np.bincount(labels[validate]).tolist() == [10, 4, 1]
    assert sorted([*fit, *validate]) == list(range(75))
    assert not np.array_equal(validate, hold_out(labels, 0.2, seed=1)[1])
    assert np.array_equal(validate, hold_out(labels, 0.2, seed=0)[1])


def test_small_classes_keep_an_image_to_fit_to():
    labels = np.array([0, 1, 1, 2, 2, 2])
    for share in (0.01, 0.99):
        fit, validate = hold_out(labels, share, seed=3)
        assert set(labels[fit]) == {0, 1, 2} and set(labels[validate]) == {1, 2}


@pytest.mark.parametrize('labels, message', [
    (np.arange(4), 'no class has two'), (np.zeros(0, int), 'no class has two'),
    (np.zeros((4, 2), int), 'give a val'),
])
def test_what_cannot_be_held_out_is_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        hold_out(labels, 0.2, seed=0)


def test_classes_without_training_images_are_refused():
    assert count_classes('X', np.array([0, 2, 4]), np.array([2])) == 5
    with pytest.raises(ValueError, match=r'X: classes \[1, 3\] are in validation or test'):
        count_classes('X', np.array([0, 2, 4]), np.array([1, 2]), np.array([3]))
    with pytest.raises(ValueError, match='labels must be >= 0'):
        count_classes('X', np.array([0, -2]), np.array([0]))
    with pytest.raises(ValueError, match='no labels'):
        count_classes('X', np.array([0, 1]), None)
    with pytest.raises(ValueError, match='X training images must be of two classes or more'):
        count_classes('X', np.array([3, 3]), np.array([3]))
    with pytest.raises(ValueError, match='number of classes'):
        count_classes('X', np.zeros((3, 4), int), np.zeros((3, 5), int))


@pytest.mark.parametrize('changes, message', [(dict(metric='accuracy'), 'metric of X must be one of'),
                                              (dict(held_out=1.0), 'held_out of X must be > 0 and < 1')])
def test_wrong_descriptions_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        task('X', **changes)
