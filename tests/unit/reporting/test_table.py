import pytest

from mmsimclr.reporting import text_table
from mmsimclr.reporting.table import markdown_code, markdown_text

HEADER, ROWS = ['encoder', 'k-NN', 'linear'], [['random', '41.0 %', '50.25 %'], ['SimCLR', '7 %', '81 %']]


def test_plain_table_letter_by_letter():
    assert text_table(HEADER, ROWS) == (
        'encoder    k-NN   linear\n'
        '-------  ------  -------\n'
        'random   41.0 %  50.25 %\n'
        'SimCLR      7 %     81 %')


def test_markdown_table_letter_by_letter():
    assert text_table(HEADER, ROWS, markdown=True) == (
        '| encoder |   k-NN |  linear |\n'
        '|---------|-------:|--------:|\n'
        '| random  | 41.0 % | 50.25 % |\n'
        '| SimCLR  |    7 % |    81 % |')


def test_cells_may_be_numbers_and_rows_may_be_none():
    assert text_table(['n', 'value'], [[1, 2.5]]).splitlines()[-1] == '1    2.5'
    assert len(text_table(HEADER, []).splitlines()) == 2


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"3 cells, got 2: \['random', '41'\]"):
        text_table(HEADER, [['random', '41']])


@pytest.mark.parametrize('text, shown', [
    ('a|b', 'a\\|b'), ('two\nlines\r\n\x0b', 'two lines'), ('`code`', '\\`code\\`'), ('*x*', '\\*x\\*'),
    ('_x_ top_1_accuracy', '\\_x\\_ top_1_accuracy'), ('<img src=x>', '\\<img src=x>'), ('a < 3', 'a < 3'),
    ('[a](http://b)', '[a]\\(http://b)'), ('\\|', '\\\\\\|'), ('&lt;', '\\&lt;'), ('A & B', 'A & B'),
    ('b\udce4d', 'b?d'), ('\u202egnp', '?gnp'), ('\x00', '')])
def test_text_of_files_is_shown_as_it_is(text, shown):
    assert markdown_text(text) == shown
    table = text_table(['a', 'b'], [[markdown_text(text), '1']], markdown=True)
    assert len(table.splitlines()) == 3 and table.encode('utf-8')


@pytest.mark.parametrize('text, shown', [
    ('plain', '`plain`'), ('a`b', '`` a`b ``'), ('``', '``` `` ```'), ('a\nb', '`a b`'),
    ('b\udce4d', '`b?d`')])
def test_code_has_more_backticks_around_it_than_in_it(text, shown):
    assert markdown_code(text) == shown
