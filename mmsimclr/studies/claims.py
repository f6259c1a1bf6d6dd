"""Claims of a paper, tested on seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmsimclr.errors import InputError
from mmsimclr.studies.record import CellResult

CONFIRMED, CONTRADICTED, OPEN = 'confirmed', 'contradicted', 'not resolved'


@dataclass(frozen=True)
class Verdict:
    """A claim, and what the numbers say of it."""

    text: str
    verdict: str                                # 'confirmed', 'contradicted' or 'not resolved'
    difference: float | None                    # of the means, left less right, beyond what was claimed
    standard_error: float | None                # of the difference; None with fewer than two seeds on a side
    detail: str                                 # the numbers, for people


def values_at(results: Iterable[CellResult], where: Mapping[str, Any], metric: str) -> dict[int, float]:
    """Return a metric by seed, averaged over the cells ``where['at']`` selects.

    ``at`` has one level for each axis, or a list of levels, or '*' for all. A seed counts if each selected
    cell has it, unless some cells have no seed in common.
    """
    found: dict[int, dict[tuple, float]] = {}
    for each in results:
        value = each.value(where.get('metric', metric))
        if value is not None and not each.tuning and _matches(each.at, where['at']):
            found.setdefault(each.seed, {})[each.at] = value
    complete = max((len(cells) for cells in found.values()), default=0)
    return {seed: float(np.mean(list(cells.values()))) for seed, cells in sorted(found.items())
            if len(cells) == complete}


def difference(left: Mapping[int, float], right: Mapping[int, float], paired: bool
               ) -> tuple[float, float | None]:
    """Return the difference of two means and its standard error; None for it with fewer than two seeds.

    Welch's; of the differences by seed where ``paired``: the same encoders, measured in two ways.
    """
    if paired:
        values = [left[seed] - right[seed] for seed in left if seed in right]
        return float(np.mean(values)), _standard_error(values)
    errors = [_standard_error(list(side.values())) for side in (left, right)]
    return (float(np.mean(list(left.values())) - np.mean(list(right.values()))),
            None if None in errors else float(np.hypot(*errors)))


def judge(claim: Mapping[str, Any], results: Iterable[CellResult], metric: str,
          published: Mapping[tuple[str, ...], float] | None = None) -> Verdict:
    """Test a claim: confirmed or contradicted where two standard errors say so, else not resolved.

    A claim has ``text`` and one of

    - ``left`` and ``right``: ``left`` exceeds ``right``, by at least ``by`` (0). Both select cells as
      :func:`values_at` does, with a ``metric`` of their own perhaps; a list of selections on the right must
      all be exceeded. ``pick='best'`` or ``'worst'`` takes of the selected cells the one with the highest or
      lowest mean, ``without`` those in a list.
    - ``spearman``: the rank correlation with the ``published`` numbers is at least so much. ``off_diagonal``
      leaves out cells whose two levels are equal.
    """
    results, text = list(results), claim['text']
    if 'spearman' in claim:
        return _judge_ranks(claim, results, metric, published or {})
    rights = claim['right'] if isinstance(claim['right'], Sequence) else [claim['right']]
    verdicts = []
    for right in rights:
        sides = [_picked(results, side, metric) for side in (claim['left'], right)]
        if not all(values for _, values in sides):
            return Verdict(text, OPEN, None, None, 'cells are missing')
        if sides[0][0] == sides[1][0]:
            return Verdict(text, OPEN, None, None, 'both sides are the same cells')
        (left_name, left), (right_name, other) = sides
        failed = _without_numbers(results, [claim['left'], right])
        paired = left_name[0] == right_name[0]               # the same cells by two metrics
        gap, error = difference(left, other, paired)
        beyond = gap - claim.get('by', 0.0)
        verdict = OPEN
        if error is not None and not failed and abs(beyond) > 2 * error:
            verdict = CONFIRMED if beyond > 0 else CONTRADICTED
        means = [float(np.mean(list(values.values()))) for values in (left, other)]
        detail = (f'{_named(left_name)} {means[0]:.2f}, {_named(right_name)} {means[1]:.2f}: '
                  f'difference {gap:+.2f}'
                  + ('' if error is None else f', standard error {error:.2f}')
                  + f' (n = {len(left)} and {len(other)})'
                  + (f'; failed: {", ".join(failed)}' if failed else ''))
        verdicts.append(Verdict(text, verdict, beyond, error, detail))
    # All of them must hold; the weakest is shown.
    order = [CONTRADICTED, OPEN, CONFIRMED]
    return min(verdicts, key=lambda each: (order.index(each.verdict), each.difference))


def _without_numbers(results: Iterable[CellResult], sides: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of selected cells that have failed with every seed."""
    cells = [each for each in results if not each.tuning and any(
        _matches(each.at, side['at']) and [*each.at] not in map(list, side.get('without', ()))
        for side in sides)]
    ran = {each.at for each in cells if not each.failure}
    return sorted({' | '.join(each.at) for each in cells if each.at not in ran})


def spearman(results: Iterable[CellResult], metric: str, published: Mapping[tuple[str, ...], float],
             off_diagonal: bool = False) -> tuple[float, int]:
    """Return Spearman's rank correlation of the cells' means with published numbers, and their number."""
    means = {at: np.mean(list(values_at(results, dict(at=at), metric).values())) for at in
             {each.at for each in results if not each.tuning and metric in each.metrics}}
    pairs = [(means[at], value) for at, value in published.items()
             if at in means and not (off_diagonal and len(set(at)) == 1)]
    return _rank_correlation(pairs), len(pairs)


def correlations(results: Iterable[CellResult], accuracy: str = 'probe.top_1_accuracy_percent',
                 prefix: str = 'health.') -> dict[str, tuple[float, int]]:
    """Return Spearman's correlation of each metric of a prefix with an accuracy over cells, and their number.

    Of cells in several studies one counts, and tuning does. NaN where there are fewer than three or a metric
    is the same in all.
    """
    cells = [each.metrics for each in {each.name: each for each in results}.values()
             if accuracy in each.metrics]
    found = {}
    for name in sorted({name for cell in cells for name in cell if name.startswith(prefix)}):
        pairs = [(cell[name], cell[accuracy]) for cell in cells if name in cell]
        found[name] = _rank_correlation(pairs), len(pairs)
    return found


def _rank_correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Return Spearman's; NaN of fewer than three pairs, and where one side is the same in all."""
    from scipy.stats import spearmanr
    sides = np.array(pairs).T
    varies = len(pairs) > 2 and (np.ptp(sides, axis=1) > 0).all()
    return float(spearmanr(*sides).statistic) if varies else float('nan')


def _judge_ranks(claim: Mapping[str, Any], results: list[CellResult], metric: str,
                 published: Mapping[tuple[str, ...], float]) -> Verdict:
    off_diagonal = claim.get('off_diagonal', False)
    rank, number = spearman(results, metric, published, off_diagonal)
    expected = sum(not (off_diagonal and len(set(at)) == 1) for at in published)
    beyond = None if np.isnan(rank) else rank - claim['spearman']
    verdict = OPEN
    if beyond is not None and number == expected:
        verdict = CONFIRMED if beyond >= 0 else CONTRADICTED
    return Verdict(claim['text'], verdict, beyond, None,
                   f"Spearman's rank correlation {rank:.2f} over {number} of {expected} cells")


def _picked(results: list[CellResult], where: Mapping[str, Any], metric: str
            ) -> tuple[tuple[str, str], dict[int, float]]:
    """Return a name of the selected cells, their metric, and the values by seed."""
    metric = where.get('metric', metric)
    if 'pick' not in where:
        return (_title(where['at']), metric), values_at(results, where, metric)
    if where['pick'] not in ('best', 'worst'):
        raise InputError(f"pick must be 'best' or 'worst', got {where['pick']!r}")
    without = {tuple(each) for each in where.get('without', ())}
    chosen = {at: values for at in {each.at for each in results if not each.tuning} - without
              if _matches(at, where['at']) and (values := values_at(results, dict(at=at), metric))}
    if not chosen:
        return ('none', metric), {}
    sign = 1 if where['pick'] == 'best' else -1
    at = max(chosen, key=lambda each: (sign * np.mean(list(chosen[each].values())), each))
    return (_title(at), metric), chosen[at]


def _title(at: Any) -> str:
    levels = [at] if isinstance(at, str) else at
    return ' | '.join('all' if level == '*' else level if isinstance(level, str) else ' or '.join(level)
                      for level in levels)


def _matches(at: tuple[str, ...], wanted: Any) -> bool:
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    return len(at) == len(wanted) and all(
        level == '*' or each == level or (not isinstance(level, str) and each in level)
        for level, each in zip(wanted, at, strict=True))


def _named(name: tuple[str, str]) -> str:
    return f'{name[0]} ({name[1].removesuffix("_percent")})'


def _standard_error(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
