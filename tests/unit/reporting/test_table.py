import pytest

from mmsimclr.reporting import text_table

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
