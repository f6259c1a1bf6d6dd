"""Shape bias and error consistency: published decisions, planted logits, hand-made cases."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from mmsimclr.errors import InputError
from mmsimclr.evaluation.shape_bias import (
    COLUMNS,
    Bias,
    Decisions,
    category_classes,
    category_decisions,
    error_consistency,
    read_decisions,
)

CATEGORIES = ['airplane', 'bear', 'bicycle', 'bird', 'boat', 'bottle', 'car', 'cat', 'chair', 'clock', 'dog',
              'elephant', 'keyboard', 'knife', 'oven', 'truck']
# Copied from model-vs-human's human_categories.py, its lists of numbers written as ranges.
SOURCE = dict(
    airplane='404', bear='294-297', bicycle='444 671',
    bird='8 10-16 18-20 22-24 80-83 87-96 98-100 127-133 135-145', boat='472 554 625 814 914',
    bottle='440 720 737 898 899 901 907', car='436 511 817', cat='281-286', chair='423 559 765 857',
    clock='409 530 892', dog='152-191 193-203 205-226 228-241 243-250 252-257 259 261-263 265-268',
    elephant='385 386', keyboard='508 878', knife='499', oven='766', truck='555 569 656 675 717 734 864 867')
PUBLISHED = Path(__file__).parents[4] / 'shared/data/shape_bias'            # beside the checkout, if anywhere


def numbers(text: str) -> list[int]:
    found = []
    for part in text.split():
        first, _, last = part.partition('-')
        found += range(int(first), int(last or first) + 1)
    return found


def published(name: str) -> Path:
    if not (PUBLISHED / name).is_file():
        pytest.skip(f'{name}, decisions of model-vs-human, is not here')
    return PUBLISHED / name


def test_the_16_categories_are_the_sources_list():
    found = {name: list(classes.values()) for name, classes in category_classes().items()}
    assert list(found) == CATEGORIES
    assert found == {name: numbers(text) for name, text in SOURCE.items()}
    assert sum(map(len, found.values())) == 207


def test_the_wordnet_ids_are_those_of_the_numbers():
    synsets = (Path(pytest.importorskip('timm').__file__).parent /
               'data/_info/imagenet_synsets.txt').read_text().split()
    for classes in category_classes().values():
        assert [synsets[number] for number in classes.values()] == list(classes)


def test_the_category_has_the_largest_mean_probability_not_the_largest_sum_nor_the_surest_class():
    p = np.full((3, 1000), 1e-9)
    p[:, numbers(SOURCE['dog'])] = 0.6 / 109                # the largest sum
    p[:, 404] = 0.01                                        # airplane, the largest mean
    p[1, numbers(SOURCE['bottle'])[0]] = 0.05               # the surest class, of seven
    p[2, 1] = 0.3                                           # a class of no category
    assert category_decisions(np.log(p)).tolist() == ['airplane'] * 3
    p[1, 899] = 0.05                                        # two of seven: a mean of more than 0.01
    assert category_decisions(np.log(p))[1] == 'bottle'


def test_adding_a_number_to_all_logits_of_an_image_changes_no_decision():
    logits = np.random.default_rng(0).normal(size=(50, 1000)).astype(np.float32)
    moved = logits + 300 * np.arange(50, dtype=np.float32)[:, None]
    found = category_decisions(logits)
    assert len(set(found.tolist())) > 5 and (category_decisions(moved) == found).mean() > 0.95


@pytest.mark.parametrize('logits', [np.zeros((2, 999)), np.full((2, 1000), np.nan), np.zeros(1000)])
def test_logits_of_another_kind_are_refused(logits):
    with pytest.raises(InputError, match='1000'):
        category_decisions(logits)


@pytest.mark.parametrize('name, shape, texture, percent', [
    ('simclr-resnet50x1', 249, 393, 38.79), ('resnet50', 169, 620, 21.42), ('subject-01', 829, 33, 96.17)])
def test_published_decisions_give_the_published_bias(name, shape, texture, percent):
    bias = read_decisions(published(f'cue-conflict_{name}.csv')).bias()
    assert (bias.num_shape, bias.num_texture, bias.num_conflicts) == (shape, texture, 1200)
    assert round(bias.percent, 2) == percent


def hand_made(*cases: tuple[str, str], observer: str = 'model') -> Decisions:
    return Decisions(observer, *zip(*cases, strict=True))


def test_counts_of_the_published_size_give_the_published_number():
    """Among 1,280 stimuli 80 have no conflict; counting them as well would give 45.57."""
    decided = [('cat', 249), ('dog', 393), ('oven', 558)]
    answers = [answer for answer, count in decided for _ in range(count)]
    cases = [(f'cat{number}-dog1.png', answer) for number, answer in enumerate(answers)]
    cases += [(f'cat{number}-cat2.png', 'cat') for number in range(80)]
    bias = hand_made(*cases).bias()
    assert round(bias.percent, 2) == 38.79 and bias.num_conflicts == 1200 and len(cases) == 1280


CASES = [('cat1-dog2.png', 'cat'), ('cat2-dog1.png', 'dog'), ('cat3-car1.png', 'car'),
         ('dog1-cat1.png', 'oven'), ('dog2-oven1.png', 'dog'), ('dog3-dog4.png', 'dog'),
         ('cat4-cat5.png', 'cat'), ('boat1-car2.png', 'na')]


def test_congruent_stimuli_and_other_answers_do_not_count():
    bias = hand_made(*CASES).bias()
    assert (bias.num_shape, bias.num_texture, bias.num_conflicts) == (2, 2, 6)
    # Were the two congruent ones counted, it would be 4 of 6.
    assert bias.percent == 50
    assert hand_made(*CASES).by_category() == {'cat': pytest.approx(100 / 3), 'dog': 100}
    assert math.isnan(hand_made(*CASES).bias('boat').percent)


def test_the_interval_is_that_of_stimuli_drawn_with_replacement():
    random = np.random.default_rng(3)
    outcomes = np.repeat([0, 1, 2], [30, 20, 40])           # shape, texture, another answer
    samples = []
    for _ in range(4000):
        drawn = random.choice(outcomes, len(outcomes))
        samples.append(100 * (drawn == 0).sum() / (drawn < 2).sum())
    found = Bias(30, 20, 90).interval()
    assert found == pytest.approx(np.percentile(samples, [2.5, 97.5]), abs=1.0)
    assert found[0] < 60 < found[1] and found[1] - found[0] > 20
    assert Bias(30, 20, 90).interval(seed=1) != found == Bias(30, 20, 90).interval()


def test_what_is_written_is_read_back_and_is_model_vs_humans_format(tmp_path):
    decisions = hand_made(*CASES)
    decisions.write(tmp_path / 'decisions.csv')
    lines = (tmp_path / 'decisions.csv').read_text().splitlines()
    assert lines[0] == ','.join(COLUMNS)
    assert lines[0] == 'subj,session,trial,rt,object_response,category,condition,imagename'
    assert lines[1] == 'model,1,1,NaN,cat,cat,NaN,cat1-dog2.png' and len(lines) == 9
    again = read_decisions(tmp_path / 'decisions.csv')
    assert again.bias() == decisions.bias() and again.observer == 'model'
    assert error_consistency(again, decisions) == (1.0, 8)


def test_our_lines_are_those_of_the_source(tmp_path):
    source = published('cue-conflict_simclr-resnet50x1.csv')
    read_decisions(source).write(tmp_path / 'again.csv')
    assert (tmp_path / 'again.csv').read_text() == source.read_text()


def test_names_of_a_persons_trials_are_read():
    decisions = Decisions('subject-01', ['0001_s5n_s01_0_bird_00_bird3-bird2.png', 'a/b/knife10-clock1.jpg'],
                          ['bird', 'na'])
    assert decisions.stimuli == ['bird3-bird2', 'knife10-clock1']
    assert (decisions.shape[1], decisions.texture[1]) == ('knife', 'clock')


@pytest.mark.parametrize('case', [('cow1-dog1.png', 'dog'), ('cat1-dog1.png', 'cow'), ('cat-dog.png', 'cat'),
                                  ('cat1.png', 'cat'), ('cat1-dog1.png', '')])
def test_a_line_that_is_no_decision_is_refused_by_name(case):
    with pytest.raises(InputError) as error:
        hand_made(CASES[0], case)
    assert case[0] in str(error.value) and 'bicycle' in str(error.value)


def test_two_observers_in_one_file_are_refused():
    with pytest.raises(InputError, match='1 of 3 decisions are on a stimulus that was decided before'):
        hand_made(*CASES[:2], CASES[0])


@pytest.mark.parametrize('text', ['', 'imagename\ncat1-dog1.png\n', 'object_response,imagename\ncat\n'])
def test_a_file_without_decisions_is_refused(text, tmp_path):
    (tmp_path / 'file.csv').write_text(text)
    with pytest.raises(InputError, match=r'object_response|no decision'):
        read_decisions(tmp_path / 'file.csv')


def test_kappa_of_a_hand_computed_case():
    # Of ten stimuli one observer has 6 right, the other 5; both 4, neither 3. So they agree on 7;
    # 0.6 * 0.5 + 0.4 * 0.5 = 0.5 is expected, and kappa = (0.7 - 0.5) / (1 - 0.5) = 0.4.
    names = [f'cat{number}-dog1.png' for number in range(10)]
    a = Decisions('a', names, ['cat'] * 6 + ['dog'] * 4)
    b = Decisions('b', names, ['cat'] * 4 + ['oven'] * 2 + ['cat'] + ['na'] * 3)
    assert error_consistency(a, b) == (pytest.approx(0.4), 10)
    assert error_consistency(b, a) == (pytest.approx(0.4), 10)


def test_kappa_compares_errors_on_the_same_stimuli_whatever_their_order():
    random = np.random.default_rng(5)
    names = [f'cat{number}-dog1.png' for number in range(40)]
    answers = np.array(['cat', 'dog', 'car'])[random.integers(3, size=(2, 40))]
    order = random.permutation(40)
    a, b = Decisions('a', names, answers[0]), Decisions('b', names, answers[1])
    shuffled = Decisions('b', [f'x_{names[i].replace("png", "jpg")}' for i in order], answers[1][order])
    assert error_consistency(a, shuffled) == error_consistency(a, b)
    assert abs(error_consistency(a, b)[0]) < 0.5
    fewer = Decisions('b', names[:7], answers[1][:7])
    assert error_consistency(a, fewer) == error_consistency(Decisions('a', names[:7], answers[0][:7]), fewer)
    with pytest.raises(InputError, match='no stimulus in common'):
        error_consistency(a, Decisions('c', ['oven1-dog1.png'], ['oven']))


def test_observers_who_are_both_always_right_agree_and_opposites_disagree():
    names = ['cat1-dog1.png', 'dog1-cat1.png']
    right, half, other = (Decisions('x', names, answers) for answers in (
        ['cat', 'dog'], ['cat', 'cat'], ['dog', 'dog']))
    assert error_consistency(right, right)[0] == 1 and error_consistency(half, other)[0] == -1
    assert error_consistency(right, half)[0] == 0


def test_the_file_of_the_categories_names_its_source():
    path = Path(__file__).parents[3] / 'mmsimclr/evaluation/sixteen_categories.json'
    assert 'model-vs-human' in json.loads(path.read_text())['source']
