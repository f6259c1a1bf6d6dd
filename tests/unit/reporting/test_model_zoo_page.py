"""The page of the model zoo is the one its metafile makes; the tool says the same on the command line."""

from pathlib import Path

import pytest
from processes import run_tool

from mmsimclr.checkpoints.zoo_index import model_entries, other_settings
from mmsimclr.reporting.results_page import model_info, model_zoo_page, models_table

ROOT = Path(__file__).parents[3]
NAME = 'simclr_resnet50_8xb32-coslr-200e_in1k'


def test_the_committed_page_is_made_of_the_committed_metafile():
    committed = (ROOT / 'docs' / 'reference' / 'model_zoo.md').read_text(encoding='utf-8')
    assert committed == model_zoo_page(), 'run python tools/make_model_zoo_page.py'


def test_the_page_has_a_row_for_every_number():
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in model_zoo_page().splitlines()
            if line.startswith('| ')]
    for one in (*model_entries(), *other_settings()):
        for result in one.results:
            for metric, value in result.metrics.items():
                note = f' ({result.note})' if result.note else ''
                where = f'{result.dataset}, {result.protocol}'
                assert [where, metric + note, str(value), result.source] in rows


def test_table_and_description_of_a_model():
    table = models_table(model_entries()).splitlines()
    assert len(table) == 2 + len(model_entries())
    row, = (line.split() for line in table if line.startswith(NAME))
    assert row == [NAME, '200', '256', '28.0', 'M', '4.11', 'G', '62.7', '%', '(openmmlab)', 'yes']
    info = model_info(NAME)
    assert f'{NAME}\n  config         {ROOT}/configs/simclr/{NAME}.py\n' in info
    assert '  weights        https://download.openmmlab.com/mmselfsup/1.x/simclr/' in info
    assert 'weights        none published' in model_info('simclr_resnet50_32xb128-coslr-1000e_in1k')


def test_list_with_a_pattern(tmp_path):
    status, text = run_tool(tmp_path / 'log', 'model_zoo.py', 'list', '*_shapes')
    assert status == 0 and len(text.splitlines()) == 3 and '-5e_shapes' in text


@pytest.mark.parametrize(('arguments', 'status', 'said'), [
    (['info', 'simclr_resnet50_8xb3'], 1, "the zoo; did you mean 'simclr_resnet50_8xb32-coslr-200e_in1k'?"),
    (['download', NAME, '--mirror', 'here'], 1, 'not tried, since MMSIMCLR_OFFLINE is set'),
    (['verify', 'model-index.yml'], 1, 'nothing to hold it against')])
def test_each_command_answers_in_plain_words(tmp_path, arguments, status, said):
    ended, text = run_tool(tmp_path / 'log', 'model_zoo.py', *arguments, MMSIMCLR_OFFLINE='1',
                           MMSIMCLR_CACHE=str(tmp_path / 'cache'))
    assert ended == status and said in text and 'Traceback' not in text


def test_verify_ends_well_for_a_file_that_its_name_promises(tmp_path):
    path = tmp_path / 'a-ba7816bf.pth'                       # SHA-256 of abc: FIPS 180-2, B.1
    path.write_bytes(b'abc')
    status, text = run_tool(tmp_path / 'log', 'model_zoo.py', 'verify', path)
    assert status == 0 and 'the one its name promises' in text
