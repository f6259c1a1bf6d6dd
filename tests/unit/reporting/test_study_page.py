"""A study's page holds its numbers, whatever characters its texts have."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from mmsimclr.reporting.study_page import study_html
from mmsimclr.studies import CellResult, Study


class Cells(HTMLParser):
    """Collects the texts of elements by tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.texts, self.attributes = [], {}, {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.attributes.setdefault(tag, dict(attrs))

    def handle_data(self, data):
        if data.strip():
            self.texts.setdefault(self.open[-1], []).append(data.strip())


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
    picture = tmp_path / 'picture.png'
    picture.write_bytes(b'picture')
    found = Cells(study_html(study, results, picture))
    assert found.texts['h1'] == ['a < b'] and 'Why & how.' in found.texts['p']
    assert found.texts['td'][:4] == ['low', '15.00 ± 7.07 (2)', 'high', '62.00 ± 1.41 (2)']
    assert found.texts['td'][4:6] == ['high > low', 'confirmed']
    assert found.texts['h2'] == ['Ours', 'Claims']
    assert found.attributes['img']['src'] == 'data:image/png;base64,cGljdHVyZQ=='
    assert 'img' not in Cells(study_html(study, results, None)).attributes
