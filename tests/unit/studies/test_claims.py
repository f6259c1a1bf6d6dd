"""Claims, tested on seeds."""

import math
import re
import statistics

import pytest

from mmsimclr.studies import (
    CellResult,
    correlations,
    judge,
    published_table,
    read_records,
    spearman,
    values_at,
)


def cells(values, metric='probe.top_1', **more):
    """Return results: values by levels, one for each seed."""
    return [CellResult(f'{at}{seed}', at, seed, '', '', {}, {metric: value}, **more)
            for at, numbers in values.items() for seed, value in enumerate(numbers)]


RESULTS = cells({
    ('a', 'x'): [10.0, 11.0, 12.0], ('a', 'y'): [20.0, 21.0, 22.0], ('b', 'x'): [10.2, 11.4, 12.1]})


def test_values_of_one_cell_by_seed_and_the_mean_of_several():
    assert values_at(RESULTS, dict(at=('a', 'y')), 'probe.top_1') == {0: 20.0, 1: 21.0, 2: 22.0}
    assert values_at(RESULTS, dict(at=['a', '*']), 'probe.top_1') == {0: 15.0, 1: 16.0, 2: 17.0}
    assert values_at(RESULTS, dict(at=[['a', 'b'], 'x']), 'probe.top_1')[1] == pytest.approx(11.2)
    assert values_at(RESULTS, dict(at=['c', 'x']), 'probe.top_1') == {}


def test_a_seed_without_all_the_cells_does_not_count():
    assert values_at(RESULTS[:4], dict(at=['a', '*']), 'probe.top_1') == {0: 15.0}


def test_tuning_cells_and_failures_have_no_say():
    tuning = cells({('a', 'x'): [99.0]}, tuning=True)
    assert values_at(tuning + RESULTS, dict(at=('a', 'x')), 'probe.top_1')[0] == 10.0


@pytest.mark.parametrize(('left', 'right', 'by', 'verdict'), [
    (('a', 'y'), ('a', 'x'), 0.0, 'confirmed'), (('a', 'x'), ('a', 'y'), 0.0, 'contradicted'),
    (('a', 'x'), ('b', 'x'), 0.0, 'not resolved'), (('a', 'y'), ('a', 'x'), 8.0, 'confirmed'),
    (('a', 'y'), ('a', 'x'), 9.5, 'not resolved'), (('a', 'y'), ('a', 'x'), 12.0, 'contradicted')])
def test_a_difference_must_pass_two_standard_errors(left, right, by, verdict):
    judged = judge(dict(text='t', left=dict(at=left), right=dict(at=right), by=by), RESULTS, 'probe.top_1')
    assert judged.verdict == verdict
    by_hand = [[each.metrics['probe.top_1'] for each in RESULTS if each.at == side] for side in (left, right)]
    error = math.sqrt(sum(statistics.variance(side) / 3 for side in by_hand))
    assert judged.standard_error == pytest.approx(error)
    assert judged.difference == pytest.approx(statistics.mean(by_hand[0]) - statistics.mean(by_hand[1]) - by)


def test_one_seed_resolves_nothing():
    one = cells({('a',): [10.0], ('b',): [90.0]})
    judged = judge(dict(text='t', left=dict(at='b'), right=dict(at='a')), one, 'probe.top_1')
    assert judged.verdict == 'not resolved' and judged.standard_error is None


def test_the_same_encoders_by_two_metrics_are_paired():
    both = [CellResult(f'{seed}', ('a',), seed, '', '', {}, {'h': value + 5.0 + seed / 100, 'g': value})
            for seed, value in enumerate([10.0, 40.0, 70.0])]
    judged = judge(dict(text='t', left=dict(at='a', metric='h'), right=dict(at='a', metric='g')), both, 'h')
    assert judged.verdict == 'confirmed' and judged.standard_error < 0.01     # unpaired it would be 17


def test_all_of_several_must_be_exceeded():
    claim = dict(text='t', left=dict(at=('a', 'y')), right=[dict(at=('a', 'x')), dict(at=('b', 'x'))])
    assert judge(claim, RESULTS, 'probe.top_1').verdict == 'confirmed'
    claim['left'] = dict(at=('b', 'x'))
    claim['right'] = [dict(at=('a', 'x')), dict(at=('a', 'y'))]
    assert judge(claim, RESULTS, 'probe.top_1').verdict == 'contradicted'


def test_the_best_and_the_worst_of_the_selected_are_picked_and_some_left_out():
    claim = dict(text='t', left=dict(at=['*', '*'], pick='best'), right=dict(at=['*', '*'], pick='worst'))
    assert judge(claim, RESULTS, 'probe.top_1').difference == pytest.approx(10.0)
    one = dict(text='t', left=dict(at=['b', '*'], pick='best'), right=dict(at=['b', '*'], pick='worst'))
    assert judge(one, RESULTS, 'probe.top_1').verdict == 'not resolved'       # there is one cell only
    claim['left']['without'] = [['a', 'y']]
    assert judge(claim, RESULTS, 'probe.top_1').difference == pytest.approx(11.2333333 - 11.0)


def test_a_missing_cell_is_said_and_resolves_nothing():
    claim = dict(text='t', left=dict(at=('a', 'y')), right=dict(at=('z', 'z')))
    assert judge(claim, RESULTS, 'probe.top_1').verdict == 'not resolved'


def test_spearman_with_published_numbers_by_hand():
    published = {('p', 'p'): 1.0, ('p', 'q'): 2.0, ('q', 'p'): 3.0, ('q', 'q'): 4.0, ('r', 'q'): 5.0}
    ours = cells({
        ('p', 'p'): [5.0], ('p', 'q'): [1.0], ('q', 'p'): [3.0], ('q', 'q'): [0.0], ('r', 'q'): [2.0]})
    # Ranks off the diagonal: published 1 2 3, ours 1 3 2: 1 - 6 * 2 / (3 * 8) = 0.5.
    assert spearman(ours, 'probe.top_1', published, off_diagonal=True) == (pytest.approx(0.5), 3)
    judged = judge(dict(text='t', spearman=0.6, off_diagonal=True), ours, 'probe.top_1', published)
    assert judged.verdict == 'contradicted'
    assert judge(dict(text='t', spearman=0.4, off_diagonal=True), ours, 'probe.top_1',
                 published).verdict == 'confirmed'
    assert judge(dict(text='t', spearman=0.4, off_diagonal=True), ours[:3], 'probe.top_1',
                 published).verdict == 'not resolved'


def test_published_tables_by_level():
    assert published_table('table_5_norm_and_temperature')['norm, 0.1',] == {
        'entropy': 4.5, 'contrastive accuracy': 87.8, 'top1': 64.4}
    figure = published_table('figure_5_linear_top1', num_axes=2)
    assert len(figure) == 49 and figure['crop', 'colour'][''] == 56.3 and figure['colour', 'crop'][''] == 55.8
    assert published_table('table_4_losses_top1')['NT-Xent',][''] == 63.9
    with pytest.raises(ValueError, match='table_4_losses_top1'):
        published_table('table_4_loss_top1')


def test_correlations_in_the_docs_are_those_of_the_result_files(root):
    text = (root / 'docs/how_to/health.md').read_text(encoding='utf-8')
    header, = re.findall(r'^\| figure of h .*$', text, re.MULTILINE)
    rows = re.findall(r'^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$', text, re.MULTILINE)
    for column, study in enumerate(('table5', 'figure8', 'crop_style'), 1):
        found = correlations(read_records(root / f'results/studies/{study}.json'))
        assert {f'health.pooled_{row[0]}': row[column] for row in rows} == {
            name: 'the same in all' if math.isnan(rank) else f'{rank:.2f}'
            for name, (rank, _) in found.items() if name.startswith('health.pooled')}
        assert {number for _, number in found.values()} == {int(re.findall(r'n = (\d+)', header)[column - 1])}


def test_correlations_of_measures_with_an_accuracy_by_hand():
    rows = [(1.0, 9.0, 5.0, 10.0), (2.0, 8.0, 5.0, 30.0), (4.0, 7.0, 5.0, 20.0), (8.0, 1.0, 5.0, 40.0)]
    results = [CellResult(f'cell {number}', ('a',), 0, '', '', {}, {
        'health.rankme': rank, 'health.falls': falls, 'health.same': same, 'probe.top_1': probe,
        'knn.top_1': rank})
        for number, (rank, falls, same, probe) in enumerate(rows)]
    results += [results[0], CellResult('failed', ('a',), 0, '', '', {}, {}, failure='no memory')]
    results[0].metrics['health.once'] = 1.0
    found = correlations(results, 'probe.top_1')
    # Ranks 1 2 3 4 and 1 3 2 4: 1 - 6 (0 + 1 + 1 + 0) / (4 * 15).
    assert found['health.rankme'] == (pytest.approx(0.8), 4)
    assert found['health.falls'] == (pytest.approx(-0.8), 4)
    assert found.keys() == {'health.rankme', 'health.falls', 'health.same', 'health.once'}
    assert math.isnan(found['health.same'][0])
    assert found['health.once'][1] == 1
    assert math.isnan(found['health.once'][0])


@pytest.mark.parametrize('side', [['a', '*'], [['a', 'b'], 'y']])
def test_the_mean_of_the_rest_is_not_that_of_all_where_a_cell_has_failed_with_every_seed(side):
    claim = dict(text='t', left=dict(at=side), right=dict(at=('b', 'x')))
    assert judge(claim, RESULTS, 'probe.top_1').verdict == 'confirmed'
    one = [CellResult('f', ('a', 'y'), 3, '', '', {}, failure='killed')]        # of others there are numbers
    assert judge(claim, RESULTS + one, 'probe.top_1').verdict == 'confirmed'
    every = one + [CellResult('g', ('b', 'y'), seed, '', '', {}, failure='killed') for seed in range(3)]
    claim['left'] = dict(at=['*', 'y'])
    judged = judge(claim, RESULTS + every, 'probe.top_1')
    assert judged.verdict == 'not resolved' and 'failed: b | y' in judged.detail
    claim['left'] = dict(at=['*', 'y'], pick='best', without=[['b', 'y']])
    assert judge(claim, RESULTS + every, 'probe.top_1').verdict == 'confirmed'
