"""The site: `make docs`. Pages are Markdown; those of Python and of the commands come from the code."""

import ast
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'docs')]

import mmsimclr  # noqa: E402

project = 'mmsimclr'
author = copyright = 'the mmsimclr authors'
release = version = mmsimclr.__version__
extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.autosummary', 'sphinx.ext.napoleon',
              'sphinx_copybutton', 'sphinx_design', 'sphinx_click']
exclude_patterns = ['_build', '**.ipynb_checkpoints']

myst_enable_extensions = ['colon_fence', 'dollarmath']
myst_heading_anchors = 4
nb_execution_mode = 'off'                                     # the tests execute them

# A page for each name that a room exports.
PUBLIC = ('checkpoints', 'checkpoints.export', 'config', 'datasets', 'engine', 'evaluation', 'features',
          'files', 'models', 'protocols', 'reporting', 'runner', 'studies', 'transforms')


def exported(room: str) -> list[str]:
    """Return the names that the __init__.py of a room takes from the files beside it."""
    tree = ast.parse((ROOT / 'mmsimclr' / room.replace('.', '/') / '__init__.py').read_text(encoding='utf-8'))
    return sorted((alias.asname or alias.name for node in tree.body
                   if isinstance(node, ast.ImportFrom) and node.level for alias in node.names), key=str.lower)


EXPORTED = {f'mmsimclr.{room}': exported(room) for room in PUBLIC}
for _name, _module in mmsimclr._LAZY.items():
    if _name not in EXPORTED.setdefault(_module, []):
        EXPORTED[_module].append(_name)
autosummary_context = dict(exported=EXPORTED)
# Of an earlier build: pages of names that are gone, and the lists of names, which are written anew.
for page in (ROOT / 'docs/reference/api').glob('*.rst'):
    _room, _, _name = page.stem.rpartition('.')
    if page.stem in EXPORTED or _name not in EXPORTED.get(_room, [_name]):
        page.unlink()
autodoc_typehints = 'signature'
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
napoleon_custom_sections = [('Shapes', 'params_style')]
copybutton_exclude = '.linenos, .gp, .go'

html_theme = 'furo'
html_title = f'mmsimclr {release}'
html_static_path = ['_static']
html_css_files = ['site.css']
html_theme_options = dict(sidebar_hide_name=False, navigation_with_keys=True)
templates_path = ['_templates']

# Pages of the repository that are included in the site.
INCLUDED = {'configs/README.md': 'reference/configs',
            'configs/simclr/README.md': 'reference/pretraining_configs',
            'results/README.md': 'reference/result_files', 'CHANGELOG.md': 'reference/changelog',
            'README.md': 'index'}


def link_to_included(app, docname: str, source: list[str]) -> None:
    """Point the links that leave docs/ for an included page to that page."""
    def point(match: re.Match) -> str:
        target = os.path.normpath(os.path.join('docs', docname, '..', match[1]))
        if target not in INCLUDED:
            return match[0]
        return f']({os.path.relpath(INCLUDED[target], os.path.dirname(docname))}.md'

    source[0] = re.sub(r'\]\(([^)\s#:]+\.md)', point, source[0])


def drop_type_docs(app, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Leave out the text of a constant's type, where the constant has none of its own."""
    if what == 'data' and lines[:1] == (type(obj).__doc__ or '').strip().splitlines()[:1]:
        lines.clear()


def escape_stars(app, command: object, lines: list[str]) -> None:
    """Let a pattern such as *_folder in the help of a command be a pattern."""
    lines[:] = [line.replace('*', r'\*') for line in lines]


def setup(app) -> None:
    """Connect the above."""
    app.connect('sphinx-click-process-description', escape_stars)
    app.connect('source-read', link_to_included)
    app.connect('autodoc-process-docstring', drop_type_docs)
