"""Retrieval against a plain loop, and galleries with known answers."""

import numpy as np
import pytest

from mmsimclr.errors import InputError
from mmsimclr.evaluation.retrieval import (
    mean_average_precision,
    rank_accuracy,
    rank_gallery,
    sum_with_mirrored,
    unit,
)


def loop(queries, gallery, query_labels, gallery_labels, query_views, gallery_views, ranks=(1, 5, 10)):
    """Rank one gallery image after another in plain Python, as the official Matlab code does."""
    hits, areas, plain = dict.fromkeys(ranks, 0), [], []
    for q in range(len(queries)):
        scored = sorted((-round(sum(float(a) * float(b) for a, b in zip(queries[q], row, strict=True)), 9), g)
                        for g, row in enumerate(gallery))
        good = {g for g in range(len(gallery)) if gallery_labels[g] == query_labels[q] and (
            query_views is None or gallery_views[g] != query_views[q])}
        junk = {g for g in range(len(gallery)) if gallery_labels[g] == -1 or (
            query_views is not None and gallery_labels[g] == query_labels[q]
            and gallery_views[g] == query_views[q])}
        place = found = 0
        old_recall, old_precision, area, precisions, first = 0.0, 1.0, 0.0, [], None
        for _, g in scored:
            if g in junk:
                continue
            found += g in good
            if g in good:
                first = place if first is None else first
                precisions.append(found / (place + 1))
            recall = found / len(good) if good else 0.0
            precision = found / (place + 1)
            area += (recall - old_recall) * (old_precision + precision) / 2
            old_recall, old_precision = recall, precision
            place += 1
        areas.append(area)
        plain.append(sum(precisions) / len(good) if good else 0.0)
        for rank in ranks:
            hits[rank] += first is not None and first < rank
    count = len(queries)
    return ({rank: 100 * number / count for rank, number in hits.items()}, 100 * sum(areas) / count,
            100 * sum(plain) / count)


def lattice(seed: int, num_queries: int = 25, num_gallery: int = 60):
    """Return queries and gallery with identities and cameras; few directions, so that many are equal."""
    random = np.random.default_rng(seed)
    directions = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [.6, .8, 0], [0, .6, .8], [.8, 0, .6]])
    queries, gallery = (directions[random.integers(6, size=size)] for size in (num_queries, num_gallery))
    return (queries, gallery, random.integers(6, size=num_queries), random.integers(-1, 8, size=num_gallery),
            random.integers(3, size=num_queries), random.integers(3, size=num_gallery))


def rank(queries, gallery, people, gallery_people, *views):
    """Rank with the identity -1 as junk."""
    return rank_gallery(queries, gallery, people, gallery_people, gallery_people == -1, *views)


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('by_view', [True, False])
def test_cmc_and_both_average_precisions_are_those_of_a_loop(seed, by_view):
    queries, gallery, labels, gallery_labels, views, gallery_views = lattice(seed)
    if not by_view:
        views = gallery_views = None
    want, area, plain = loop(queries, gallery, labels, gallery_labels, views, gallery_views)
    places, _ = rank(queries, gallery, labels, gallery_labels, views, gallery_views)
    assert {number: rank_accuracy(places, number) for number in want} == pytest.approx(want)
    assert mean_average_precision(places, trapezoid=True) == pytest.approx(area)
    assert mean_average_precision(places, trapezoid=False) == pytest.approx(plain)
    assert 0 < want[1] < want[10] and abs(area - plain) > 0.1


def test_distinct_similarities_and_names_as_identities_give_the_loops_numbers():
    random = np.random.default_rng(9)
    queries, gallery = unit(random.normal(size=(17, 5))), unit(random.normal(size=(80, 5)))
    people, cameras = random.integers(9, size=17), random.integers(2, size=17)
    gallery_people, gallery_cameras = random.integers(-1, 9, size=80), random.integers(2, size=80)
    want, area, plain = loop(queries, gallery, people, gallery_people, cameras, gallery_cameras)
    places, best = rank_gallery(queries, gallery, people.astype(str), gallery_people.astype(str),
                                gallery_people == -1, cameras.astype(str), gallery_cameras.astype(str))
    assert rank_accuracy(places, 5) == pytest.approx(want[5])
    assert mean_average_precision(places, True) == pytest.approx(area)
    assert mean_average_precision(places, False) == pytest.approx(plain)
    assert np.mean(gallery_people[best] == people) == pytest.approx(want[1] / 100)


def on_a_line(*positions: float) -> np.ndarray:
    """Return unit vectors that are the nearer to [1, 0] the smaller the position."""
    return np.stack([np.cos(positions), np.sin(positions)], axis=1)


def test_a_gallery_with_a_known_answer():
    # In order: junk, same camera, another person, right, another person, right.
    gallery = on_a_line(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    people, cameras = np.array([-1, 7, 3, 7, 0, 7]), np.array([1, 1, 2, 2, 1, 3])
    places, best = rank(on_a_line(0.0), gallery, np.array([7]), people, np.array([1]), cameras)
    assert places[0].tolist() == [1, 3] and best.tolist() == [2]
    assert [rank_accuracy(places, number) for number in (1, 2, 10)] == [0, 100, 100]
    # Precision 1/2 and 2/4; before them 0/1 and 1/3.
    assert mean_average_precision(places, False) == pytest.approx(100 * (1 / 2 + 2 / 4) / 2)
    area = ((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2
    assert mean_average_precision(places, True) == pytest.approx(100 * area)


def test_the_same_camera_of_another_person_counts_and_the_same_person_of_another_camera_too():
    people, cameras = np.array([2, 1]), np.array([5, 6])
    places, _ = rank(on_a_line(0.0), on_a_line(0.1, 0.2), np.array([1]), people, np.array([5]), cameras)
    assert places[0].tolist() == [1] and rank_accuracy(places, 1) == 0


def test_of_equals_the_earlier_comes_first():
    gallery = on_a_line(0.2, 0.2, 0.2)
    for place in range(3):
        people = np.zeros(3, int)
        people[place] = 1
        places, best = rank(on_a_line(0.0), gallery, np.array([1]), people)
        assert places[0].tolist() == [place] and best.tolist() == [0]


def test_a_query_without_a_right_image_counts_as_wrong():
    places, _ = rank(on_a_line(0, 0), on_a_line(0.1), np.array([1, 2]), np.array([1]))
    assert rank_accuracy(places, 1) == 50
    assert mean_average_precision(places, False) == mean_average_precision(places, True) == 50


def test_where_nothing_counts_nothing_is_first():
    places, best = rank(on_a_line(0), on_a_line(0.1), np.array([1]), np.array([-1]))
    assert best.tolist() == [-1] and rank_accuracy(places, 10) == 0


def test_first_places_have_an_average_precision_of_one_by_both_rules():
    places = [np.array([0]), np.array([0, 1])]
    assert mean_average_precision(places, False) == mean_average_precision(places, True) == 100


@pytest.mark.parametrize('normalise, want', [
    ('after', [3 + 0, 0 + 4]), ('before', [1 + 0, 0 + 1]), ('first', [1 + 0, 0 + 4])])
def test_the_mirror_image_is_added_before_or_after_normalising(normalise, want):
    found = sum_with_mirrored(np.array([[3., 0.]]), np.array([[0., 4.]]), normalise)
    np.testing.assert_allclose(found, [np.array(want) / np.hypot(*want)])


def test_the_order_of_normalising_changes_a_ranking():
    # The image is long and its mirror image short, so that before, both count alike.
    rows, mirrored = np.array([[10., 0.], [0., 0.9]]), np.array([[0., 1.], [0.5, 0.]])
    query = unit(np.array([[1., 1.2]]))
    best = {normalise: int(rank(query, sum_with_mirrored(rows, mirrored, normalise), np.array([0]),
                                np.array([0, 1]))[1][0]) for normalise in ('after', 'before')}
    assert best == dict(after=1, before=0)


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match='not finite'):
        unit(np.array([[1.0, np.nan]]))
