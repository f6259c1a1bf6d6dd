"""The site: it builds without a warning, its links lead somewhere, and every public name is in it."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from processes import ROOT

import mmsimclr

pytest.importorskip('sphinx', reason='needs Sphinx (requirements/docs.lock)')
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    """Return the folder of the built site; a warning is an error, as in make docs."""
    out = tmp_path_factory.mktemp('site')
    words = ['-W', '--keep-going', '-q', '-b', 'html', '-d', str(out / 'doctrees'), 'docs', str(out / 'html')]
    done = subprocess.run([sys.executable, '-m', 'sphinx', *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / 'html'


class Links(HTMLParser):
    """The places that a page links to, and those in it that can be linked to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets, self.places = [], {''}
        self.feed(page.read_text(encoding='utf-8'))

    def handle_starttag(self, tag: str, attrs: list) -> None:
        attrs = dict(attrs)
        self.places |= {attrs.get('id')}
        self.targets += [attrs[name] for name in ('href', 'src') if attrs.get(name)]


def test_links_inside_the_site_lead_to_pages_and_places(site):
    pages = {page: Links(page) for page in site.rglob('*.html')}
    assert len(pages) > 200
    checked = 0
    for page, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            there = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert there.exists(), f'{page.name} links to {target}'
            if there in pages:
                assert unquote(parts.fragment) in pages[there].places, f'{page.name} links to {target}'
                checked += bool(parts.fragment)
    assert checked > 1000


def test_every_public_name_and_every_command_has_its_place(site):
    from sphinx.util.inventory import InventoryFile
    text = (site / 'objects.inv').read_bytes()
    known = {name for kind in InventoryFile.loads(text, uri='').data.values() for name in kind}
    for name in mmsimclr.__all__:
        if name in mmsimclr._LAZY:
            assert f'{mmsimclr._LAZY[name]}.{name}' in known, name
        elif name != '__version__':
            assert f'mmsimclr.{name}' in known, name
    from mmsimclr.cli import COMMANDS
    page = Links(site / 'reference/commands.html')
    assert {f'mmsimclr-{name}' for name in COMMANDS} <= page.places


def test_the_four_kinds_of_page_are_kept_apart(site):
    text = (site / 'index.html').read_text(encoding='utf-8')
    captions = [text.index(f'<span class="caption-text">{kind}') for kind in (
        'Tutorials', 'How-to guides', 'Explanation', 'Reference')]
    assert captions == sorted(captions)
    for page, start, end in zip(('tutorials/first_run', 'how_to/install', 'explanation/gradient'),
                                captions[:-1], captions[1:], strict=True):
        assert start < text.index(f'href="{page}.html"', start) < end
