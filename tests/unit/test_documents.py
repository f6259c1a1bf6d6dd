"""What documents link to is there, and nothing in them waits to be filled in."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md'), *(ROOT / 'configs').rglob('*.md')])


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere_and_nothing_is_left_blank(document):
    text = document.read_text(encoding='utf-8')
    for target in re.findall(r'\]\(([^)#]+)', text):
        if '://' not in target:
            assert (document.parent / target).exists(), f'{document.name} links to {target}'
    assert not re.search(r'[A-Z]+_OUTPUT|TODO|FIXME|TBD', text)
