"""Reading of files that others made: never waits, never too much, never another error than the user's."""

import json
import os
import resource
import subprocess
import sys

import pytest

from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import parse_json, read_csv, read_if_whole, read_json
from mmsimclr.files.reading import MAX_JSON_DEPTH, read_regular

HOSTILE = {
    'deep list': '[' * 200_000 + ']' * 200_000,
    'deep dict': '{"a":' * 200_000 + '1' + '}' * 200_000,
    'open list': '[' * 200_000,
    'one level too many': '[' * (MAX_JSON_DEPTH + 1) + ']' * (MAX_JSON_DEPTH + 1),
    'NaN': '{"loss": NaN}',
    'infinity': '[-Infinity]',
    'overflow to infinity': '[1e999]',
    'overflow of int64': f'[{10 ** 30}]',
    'more digits than Python converts': f'[{"9" * 5000}]',
    'key twice': '{"a": 1, "b": {"c": 1, "c": 2}}',
    'cut off': '{"a": ',
    'empty': '',
    'not UTF-8': b'{"a": "\xff"}',
    'UTF-16': '{"a": 1}'.encode('utf-16'),
}


@pytest.mark.parametrize('text', HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_is_an_error_of_the_user_that_names_the_file(tmp_path, text):
    path = tmp_path / 'record.json'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=r'record\.json is not a record'):
        read_json(path, 'a record')


@pytest.mark.parametrize('value', [None, 3, -(10 ** 17), 2.5e-308, [], {}, [[1, [2.5, 'ä\n"']], {'a': {}}]])
def test_what_python_wrote_is_read_back(value):
    assert parse_json(json.dumps(value), 'text', 'value') == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode(), 'text', 'value') == value


def test_the_deepest_accepted_text_is_read():
    text = '[' * MAX_JSON_DEPTH + ']' * MAX_JSON_DEPTH
    assert parse_json(text, 'text', 'value') == json.loads(text)


def test_nan_is_read_where_it_is_asked_for():
    loss, = parse_json('[NaN]', 'text', 'log', finite=False)
    assert loss != loss


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r'no file at .*absent\.json, which should be a record'):
        read_json(tmp_path / 'absent.json', 'a record')


@pytest.mark.parametrize('size', [11, 40_000_000_000])
def test_a_larger_file_is_not_read_even_where_it_is_a_hole(tmp_path, size):
    path = tmp_path / 'large.json'
    with open(path, 'wb') as file:
        file.truncate(size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=f'{size:,} bytes, and at most 10 '):
        read_regular(path, 10)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000                 # in kB
    with open(path, 'r+b') as file:
        file.truncate(10)
    assert read_regular(path, 10) == bytes(10)


def test_a_pipe_does_not_block(tmp_path):
    # In a process of its own: Python cannot interrupt an open() that waits in this one.
    os.mkfifo(tmp_path / 'pipe.json')
    program = ('import sys\nfrom mmsimclr.errors import InputError\nfrom mmsimclr.files import read_json\n'
               'try:\n    read_json(sys.argv[1], "a record")\n'
               'except InputError as error:\n    print(error)')
    ran = subprocess.run([sys.executable, '-c', program, tmp_path / 'pipe.json'], timeout=60,
                         capture_output=True, text=True)
    assert 'pipe.json is a pipe' in ran.stdout, ran


def test_no_descriptor_is_left_open(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    before = len(os.listdir('/proc/self/fd'))
    for path in (tmp_path / 'pipe', tmp_path, '/dev/null'):
        for _ in range(3):
            with pytest.raises(InputError, match='not a regular file'):
                read_regular(path, 10)
    assert len(os.listdir('/proc/self/fd')) == before


def test_rows_of_a_table_are_those_of_its_columns(tmp_path):
    (tmp_path / 'a.csv').write_bytes(b'\xef\xbb\xbfpath,b\r\n"x\n,",1,9\r\ny\r\n')
    assert read_csv(tmp_path / 'a.csv', 'a table', ('b', 'path')) == [
        {'path': 'x\n,', 'b': '1'}, {'path': 'y', 'b': ''}]


@pytest.mark.parametrize('text', ['a,b\n"' + 'x,1\n' * 50_000, '', 'a,b\n', 'a,c\n1,2\n', 'a,b\n\0,1\n"\xff'],
                         ids=['a lone quote', 'empty', 'no rows', 'another column', 'no text'])
def test_what_is_no_table_is_an_error_of_the_user(tmp_path, text):
    (tmp_path / 'a.csv').write_text(text, encoding='latin1')
    with pytest.raises(InputError, match=r'a\.csv is not a table'):
        read_csv(tmp_path / 'a.csv', 'a table', ('a', 'b'))


def test_a_damaged_file_of_a_run_counts_as_not_there_with_a_warning(tmp_path, capfd):
    assert read_if_whole(lambda path: read_json(path, 'a point'), tmp_path / 'point.json') is None
    assert not capfd.readouterr().err
    (tmp_path / 'point.json').write_text('{"a": 1}')
    assert read_if_whole(lambda path: read_json(path, 'a point'), tmp_path / 'point.json') == {'a': 1}
    (tmp_path / 'point.json').write_text('{"a": ')
    assert read_if_whole(lambda path: read_json(path, 'a point'), tmp_path / 'point.json') is None
    assert 'point.json is not a point' in capfd.readouterr().err
