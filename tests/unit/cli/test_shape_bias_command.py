"""The command that scores decisions."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from mmsimclr.cli import main
from mmsimclr.evaluation.shape_bias import Decisions

FOLDER = Path(__file__).parents[4] / 'shared/data/shape_bias'


def shape_bias(*args) -> str:
    done = CliRunner().invoke(main, ['shape-bias', *map(str, args)])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_published_decisions_print_the_published_numbers():
    files = sorted(FOLDER.glob('*.csv'))
    if len(files) < 3:
        pytest.skip('the decisions of model-vs-human are not here')
    lines = [line.split() for line in shape_bias(*files).splitlines()]
    biases = {line[0]: line[4] for line in lines if len(line) > 4 and line[3] == '1200'}
    assert biases == {'resnet50': '21.42', 'simclr_resnet50x1': '38.79', 'subject-01': '96.17'}
    assert {line[1] for line in lines if line[:1] == ['published:']} == {'38.9', '41.7', '40.7'}


def test_biases_consistency_and_figure_of_two_observers(tmp_path):
    names = ['cat1-dog1.png', 'cat2-dog1.png', 'oven1-car1.png', 'dog1-cat1.png']
    for observer, answers in dict(a=['cat', 'dog', 'oven', 'cat'], b=['cat', 'cat', 'na', 'cat']).items():
        Decisions(observer, names, answers).write(tmp_path / f'{observer}.csv')
    said = shape_bias(tmp_path / 'a.csv', tmp_path / 'b.csv', '--out', tmp_path / 'figure.png')
    lines = [line.split() for line in said.splitlines()]
    assert ['a', '2', '2', '4', '50.00'] in [line[:5] for line in lines]
    assert ['b', '2', '1', '4', '66.67'] in [line[:5] for line in lines]
    # Both are right on cat1, one on cat2, one on oven1: they agree on 2 of 4, where 0.5 is expected.
    assert 'error consistency of a and b, 4 stimuli: 0.0000' in said
    assert ['cat', '50.00', '100.00'] in lines and (tmp_path / 'figure.png').read_bytes()[:4] == b'\x89PNG'


def test_a_file_of_something_else_is_one_line(tmp_path):
    (tmp_path / 'file.csv').write_text('a,b\n1,2\n')
    done = CliRunner().invoke(main, ['shape-bias', str(tmp_path / 'file.csv')])
    assert done.exit_code == 1 and 'object_response' in done.output
