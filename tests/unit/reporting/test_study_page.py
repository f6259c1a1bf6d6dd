"""A study's page holds its numbers, whatever characters its texts have."""

from pathlib import Path

import pytest

from mmsimclr.files import shipped_configs
from mmsimclr.reporting.study_page import command_of, study_text, write_page
from mmsimclr.studies import CellResult, Study, load_study


@pytest.fixture
def study() -> Study:
    return Study(
        name='small', base=Path('base.py'), axes=dict(lr={'low': {}, 'high': {}}), metric='knn.top_1_percent',
        title='a < b', text='Why & how.', claims=[dict(text='high > low', left=dict(at='high'),
                                                       right=dict(at='low'))])


def test_the_page_has_the_table_the_claims_and_the_picture(study, tmp_path):
    results = [CellResult('0', at, seed, '', None, {}, {'knn.top_1_percent': value})
               for at, values in ((('low',), (10, 20)), (('high',), (61, 63)))
               for seed, value in enumerate(values)]
    page = study_text(study, results, 'small.png')
    assert page.startswith('# a < b\n\nWhy & how.\n') and '![a < b](small.png)' in page
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in page.splitlines()
             if line[:1] == '|']
    assert cells[2:4] == [['low', '15.00 ± 7.07 (2)'], ['high', '62.00 ± 1.41 (2)']]
    assert cells[6][:2] == ['high > low', '**confirmed**'] and '+47.00' in cells[6][2]
    assert '![' not in study_text(study, results, None)
    assert write_page(study, results, tmp_path).read_text() == study_text(study, results, None)
    assert write_page(study, results, tmp_path / 'new', 'README') == tmp_path / 'new/README.md'


def test_setting_and_finding_are_of_the_preset_that_was_run(study):
    study.setting, study.finding, study.source = 'Ten images.', 'Nothing.', 'a book'
    results = [CellResult('0', ('low',), 0, '', None, {}, {'knn.top_1_percent': 1.0})]
    page = study_text(study, results, None)
    assert '**In the paper.** Why' in page and '**Here.** Nothing.' in page and 'Ten images.' in page
    study.preset = 'smoke'
    page = study_text(study, results, None)
    assert 'Nothing.' not in page and 'Ten images.' not in page
    assert 'Nothing.' not in study_text(study, [], None)


def test_the_command_names_a_study_of_the_package_and_no_folder_of_this_machine(study, tmp_path, monkeypatch):
    study.path = shipped_configs()['table5']
    monkeypatch.chdir(tmp_path)
    assert command_of(study) == 'mmsimclr study table5'
    study.path = tmp_path / 'mine.py'
    assert command_of(study) == 'mmsimclr study mine.py'


def test_of_a_study_with_other_options_the_page_has_these_and_no_finding_of_another():
    given = {'train_cfg.max_epochs': 1, 'optim_wrapper.optimizer.lr': 0.001}
    plain, changed = (load_study('table5', 'cpu', {'data_root': '/nowhere', **options})
                      for options in ({}, given))
    for study in (plain, changed):
        study.setting, study.finding, study.claims = 'Six epochs.', 'It is so.', []
    results = [CellResult('0', next(iter(plain.grid)), 0, '', None, {}, {plain.metric: 1.0})]
    page = study_text(plain, results, None)
    assert 'Six epochs.' in page and 'It is so.' in page and page.strip().endswith("table5.py`")
    page = study_text(changed, results, None)
    assert 'Six epochs.' not in page and 'It is so.' not in page and '/nowhere' not in page
    assert command_of(changed).endswith(' train_cfg.max_epochs=1 optim_wrapper.optimizer.lr=0.001')
