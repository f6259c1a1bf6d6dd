"""One table of all results: rows, columns, several runs, published numbers, Markdown and HTML."""

from html.parser import HTMLParser

import pytest

from mmsimclr.protocols import Result
from mmsimclr.reporting import summarise

TOP_1 = 'top_1_accuracy_percent'


def write(folder, value: float, protocol='linear', dataset='ImageNet-1k', sha='a' * 64, checkpoint='x/a.pth',
          config='configs/one.py', **changes):
    return Result(protocol, {TOP_1: value}, {}, 0, dataset=dataset, checkpoint=checkpoint,
                  checkpoint_sha256=sha, config=config, **changes).write(folder / 'result.json')


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / '1', 60)
    write(tmp_path / '2', 64)
    write(tmp_path / '3', 50, sha='b' * 64, checkpoint='y/b.pth')
    write(tmp_path / 'deep' / '4', 20, sha=None, checkpoint=None)
    write(tmp_path / '5', 30.5, protocol='k-NN', dataset='Shapes | <b>')
    write(tmp_path / '6', 99, settings=dict(parts={'X': 'x'}))
    return tmp_path


def row_of(markdown: str, beginning: str) -> list[str]:
    line, = [line for line in markdown.splitlines() if line.startswith(f'| {beginning}')]
    return [cell.strip() for cell in line.strip('|').split(' | ')]


def test_rows_are_measurements_and_columns_encoders(folder):
    summary = summarise([folder])
    assert list(summary.encoders) == ['random initialisation', 'x/a.pth', 'y/b.pth']
    text = summary.markdown()
    cells = row_of(text, 'linear, ImageNet-1k (one)')
    assert cells[1:5] == ['top 1 accuracy', '20.00', '62.00 ± 2.83 (2)', '50.00']
    assert '62.7 simclr_resnet50_8xb32-coslr-200e_in1k (openmmlab)' in cells[5]
    assert '99.00' not in text


def test_data_without_published_numbers_have_none_and_bars_are_escaped(folder):
    line, = [line for line in summarise([folder]).markdown().splitlines() if line.startswith('| k-NN')]
    assert 'Shapes \\| <b>' in line and line.count('30.50') == 1 and line.rstrip(' |').endswith('30.50')


def test_results_of_different_configs_have_rows_of_their_own(folder):
    write(folder / '7', 61, config='configs/other.py')
    text = summarise([folder]).markdown()
    assert '61.00' in row_of(text, 'linear, ImageNet-1k (other)')


def test_encoders_of_one_path_and_different_content_are_told_apart(folder):
    write(folder / '7', 61, sha='c' * 64)
    assert {'x/a.pth (aaaaaaaa)', 'x/a.pth (cccccccc)'} <= set(summarise([folder]).encoders)


class Page(HTMLParser):
    """Collects rows of cells; fails on what would need another file."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.open = [], []

    def handle_starttag(self, tag, attrs):
        assert tag not in ('script', 'link', 'img')
        if tag not in ('meta', 'br'):
            self.open.append(tag)
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.rows[-1].append('*' if ('class', 'best') in attrs else '')

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ('td', 'th'):
            self.rows[-1][-1] += data


def test_the_page_holds_the_same_numbers_and_marks_the_best(folder):
    page = Page()
    page.feed(summarise([folder]).html())
    assert not page.open and {len(row) for row in page.rows} == {1, 6}
    line, = [row for row in page.rows if '20.00' in row]
    assert line[1:5] == ['top 1 accuracy', '20.00', '*62.00 ± 2.83 (2)', '50.00']
    assert ['k-NN, Shapes | <b> (one)'] in page.rows


def test_folders_without_results_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='no folder'):
        summarise([tmp_path / 'nowhere'])
    with pytest.raises(FileNotFoundError, match=r'no result.json below'):
        summarise([tmp_path])
    (tmp_path / 'result.json').write_text('{}')
    with pytest.raises(ValueError, match='not a result'):
        summarise([tmp_path])
