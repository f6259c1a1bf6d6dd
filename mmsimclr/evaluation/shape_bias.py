"""Shape bias and error consistency of decisions on cue-conflict stimuli (Geirhos et al. 2019, 2020)."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from mmsimclr.errors import InputError
from mmsimclr.files import atomic_writer, read_csv, read_json

COLUMNS = ('subj', 'session', 'trial', 'rt', 'object_response', 'category', 'condition', 'imagename')
STIMULUS = re.compile(r'([a-z]+)\d+-([a-z]+)\d+')                   # shape and texture, each with a number
NO_ANSWER = 'na'


@cache
def category_classes() -> dict[str, dict[str, int]]:
    """Return ImageNet's classes, WordNet id and number, of each of 16 categories; the file has its source."""
    return read_json(Path(__file__).with_name('sixteen_categories.json'), 'the 16 categories')['classes']


def category_decisions(logits: ndarray) -> ndarray:
    """Return the category whose classes have the largest mean probability, str [N], from logits [N, 1000].

    Source: Geirhos et al. 2019; model-vs-human's ``ImageNetProbabilitiesTo16ClassesMapping``.
    """
    if logits.ndim != 2 or logits.shape[1] != 1000 or not np.isfinite(logits).all():
        raise InputError(f'logits must be finite, [N, 1000], got {list(logits.shape)}')
    # Probabilities up to a factor of each image.
    p = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    means = [p[:, list(classes.values())].mean(axis=1) for classes in category_classes().values()]
    return np.array(list(category_classes()))[np.argmax(means, axis=0)]


class Bias(NamedTuple):
    """Decisions for the shape and for the texture, among the stimuli where these differ."""

    num_shape: int
    num_texture: int
    num_conflicts: int

    @property
    def percent(self) -> float:
        """Shape decisions among those for shape or texture, in percent; NaN if there are none."""
        return 100 * self.num_shape / ((self.num_shape + self.num_texture) or float('nan'))

    def interval(self, num_samples: int = 10_000, seed: int = 0) -> tuple[float, float]:
        """Return the 95 % percentile bootstrap interval over stimuli, in percent; needs a decision."""
        # Of images drawn with replacement only three counts matter, and these are multinomial.
        counts = np.array([*self[:2], self.num_conflicts - sum(self[:2])])
        shape, texture, _ = np.random.default_rng(seed).multinomial(
            self.num_conflicts, counts / self.num_conflicts, num_samples).T
        decided = shape + texture > 0
        low, high = np.percentile(100 * shape[decided] / (shape + texture)[decided], [2.5, 97.5])
        return float(low), float(high)


class Decisions:
    """The decisions of one observer, a model or a person, on stimuli.

    A stimulus ``airplane1-bicycle2`` has the shape of an airplane and the texture of a bicycle; what stands
    before a last underscore, and the ending, do not count. A response is a category, or 'na'. InputError is
    raised for other names and responses, and for a stimulus that is there twice.
    """

    def __init__(self, observer: str, stimuli: Sequence[str], responses: Sequence[str]) -> None:
        self.observer, known = observer, category_classes()
        self.stimuli = [PurePath(name).stem.rpartition('_')[2] for name in stimuli]
        cues = [found.groups() if (found := STIMULUS.fullmatch(name)) else ('', '') for name in self.stimuli]
        for name, pair, response in zip(stimuli, cues, responses, strict=True):
            if not known.keys() >= {*pair} or response not in (*known, NO_ANSWER):
                raise InputError(f'{observer}: {str(response)!r:.80} for {str(name)!r:.80} is no decision: '
                                 'names are such as airplane1-bicycle2.png, and decisions one of '
                                 f'{", ".join(known)}, or {NO_ANSWER}')
        if repeated := len(cues) - len(set(self.stimuli)):
            raise InputError(f'{observer}: {repeated} of {len(cues)} decisions are on a stimulus that was '
                             'decided before; give each observer a file of its own')
        self.shape, self.texture = np.array(cues, str).reshape(-1, 2).T
        self.response = np.array(responses, str)

    def bias(self, category: str | None = None) -> Bias:
        """Return the decisions on stimuli whose shape and texture differ, of all shapes or of one."""
        chosen = (self.shape != self.texture) & (category is None or self.shape == category)
        by_cue = (int((self.response == cue)[chosen].sum()) for cue in (self.shape, self.texture))
        return Bias(*by_cue, int(chosen.sum()))

    def by_category(self) -> dict[str, float]:
        """Return the bias of each shape that has decisions for shape or texture, in percent."""
        biases = {name: self.bias(name).percent for name in category_classes()}
        return {name: value for name, value in biases.items() if not np.isnan(value)}

    def write(self, path: str | Path) -> None:
        """Write a CSV as model-vs-human has them."""
        rows = zip(self.response, self.shape, self.stimuli, strict=True)
        observer = re.sub(r'[",\s]+', '_', self.observer)                 # without quotes, as the source
        lines = [f'{observer},1,{trial},NaN,{response},{shape},NaN,{stimulus}.png'
                 for trial, (response, shape, stimulus) in enumerate(rows, 1)]
        with atomic_writer(path) as file:
            file.write('\n'.join([','.join(COLUMNS), *lines, '']).encode())


def read_decisions(path: str | Path) -> Decisions:
    """Read a CSV of one observer's decisions as model-vs-human has them; InputError if it is none."""
    rows = read_csv(path, f'a CSV of decisions, with the columns {",".join(COLUMNS)}',
                    ('imagename', 'object_response'))
    names, responses = ([row[column] for row in rows] for column in ('imagename', 'object_response'))
    return Decisions(rows[0].get('subj') or Path(path).stem, names, responses)


def error_consistency(a: Decisions, b: Decisions) -> tuple[float, int]:
    """Return Cohen's kappa of which stimuli two observers get right, and the number of stimuli of both.

    Right is the shape. Stimuli without a conflict count too. Observers who agree on every stimulus have 1.

    Source: Geirhos, Meding & Wichmann 2020, Beyond accuracy, Eq. 1 and 3.
    """
    right_a, right_b = (dict(zip(each.stimuli, each.response == each.shape, strict=True)) for each in (a, b))
    shared = np.array([(right, right_b[name]) for name, right in right_a.items() if name in right_b])
    if not len(shared):
        raise InputError(f'{a.observer} and {b.observer} have no stimulus in common')
    observed, (p_a, p_b) = (shared[:, 0] == shared[:, 1]).mean(), shared.mean(axis=0)
    expected = p_a * p_b + (1 - p_a) * (1 - p_b)
    return 1.0 if observed == 1 else float((observed - expected) / (1 - expected)), len(shared)
