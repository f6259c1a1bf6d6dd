"""Options on the command line: what MMEngine reads is read alike, and spaces and quoted commas stay."""

import re
from argparse import ArgumentParser

import pytest
from mmengine.config import DictAction

from mmsimclr.config import ConfigOptions, parse_value


@pytest.mark.parametrize('text', [
    '3', '-3', '1e-3', '0.5', 'true', 'False', 'None', 'text', 'a/b.py', '1,2,3', '[1,2,3]', '(1,2)', '(1,)',
    '[]', '[a, b, c]', '[(1, 2, 3), [a, b], c]', '[[1,2],[3,4]]', '(1,2),(3,4)', '"quoted"', "'quoted'",
    'a,', '', 'none', 'TRUE', '[true,None,0.1]'])
def test_values_are_those_of_mmengine(text):
    want = [(1, 2), (3, 4)] if text == '(1,2),(3,4)' else DictAction._parse_iterable(text)
    got = parse_value(text)
    assert got == want and type(got) is type(want)


@pytest.mark.parametrize('text, want', [
    ('/data/my images', '/data/my images'), ("COCO with VOC's classes", "COCO with VOC's classes"),
    ("'/data/a, b'", '/data/a, b'), ('["a b", c d]', ['a b', 'c d']), ("['x, y', z]", ['x, y', 'z']),
    ('"3"', '3'), ('a(b)c', 'a(b)c'), ('  3 ', 3), ("it's, isn't", ["it's", "isn't"])])
def test_spaces_and_quoted_commas_are_left(text, want):
    assert parse_value(text) == want


@pytest.mark.parametrize('argument, message', [
    ('train_cfg', "options must be KEY=VALUE, got 'train_cfg'"), ('=3', 'options must be KEY=VALUE'),
    ('a=[1,2', r'a: \] is missing'), ('a=(1,[2,3)', 'a: .* is missing')])
def test_what_cannot_be_read_is_refused(argument, message, capsys):
    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', argument])
    assert re.search(message, capsys.readouterr().err)


def test_options_add_up_and_split_at_the_first_equals_sign():
    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    given = parser.parse_args(['--cfg-options', 'a.b=1', 'c=x=y', '--cfg-options', 'd=[1]'])
    assert given.cfg_options == {'a.b': 1, 'c': 'x=y', 'd': [1]}
