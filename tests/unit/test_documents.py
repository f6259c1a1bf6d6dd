"""Documents: links that lead somewhere, nothing left to fill in, docstrings that name their module."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md'), *(ROOT / 'configs').rglob('*.md')])


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere_and_nothing_is_left_blank(document):
    text = document.read_text(encoding='utf-8')
    for target in re.findall(r'\]\(([^)#]+)', text):
        # The pages of names are made with the site, whose test follows the links to them.
        if '://' not in target and '/api/' not in f'/{target}':
            assert (document.parent / target).exists(), f'{document.name} links to {target}'
    assert not re.search(r'[A-Z]+_OUTPUT|TODO|FIXME|TBD', text)


@pytest.mark.parametrize('folder', ['mmsimclr', 'configs', 'tools', 'benchmarks', 'tests'])
def test_the_docstring_of_a_module_is_no_question(folder):
    modules = [path for path in sorted((ROOT / folder).rglob('*.py'))
               if path.relative_to(ROOT).parts[:2] != ('tests', 'data')]
    assert modules
    docstrings = {str(path): ast.get_docstring(ast.parse(path.read_text())) or '' for path in modules}
    assert not [path for path, text in docstrings.items()
                if re.match(r'(What|Whether|Which|How|Where|When|Why|Who|From)\b', text)]
