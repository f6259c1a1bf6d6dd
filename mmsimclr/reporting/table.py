"""Small tables, for the terminal and for Markdown; texts in Markdown; templates of pages."""

import re
from collections.abc import Sequence
from functools import partial
from importlib.resources import files

from jinja2 import Environment, PackageLoader, Template, select_autoescape

from mmsimclr.errors import InputError

# Parts of the names of metrics, and how they are usually written.
_USUAL = ((r'\bmap\b', 'mAP'), (r'\bmiou\b', 'mIoU'), (r'\bap(\d*)\b', r'AP\1'), (r'\btop (\d)\b', r'top-\1'),
          (r'\bknn\b', 'k-NN'))


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Return a table with the first column left-aligned and the others right-aligned."""
    for row in rows:
        if len(row) != len(header):
            raise InputError(f'every row must have {len(header)} cells, got {len(row)}: {list(row)}')
    table = [list(map(str, row)) for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        return f'| {" | ".join(cells)} |' if markdown else '  '.join(cells).rstrip()

    if markdown:
        rule = '|'.join(['', '-' * (widths[0] + 2), *('-' * (width + 1) + ':' for width in widths[1:]), ''])
    else:
        rule = line(['-' * width for width in widths])
    return '\n'.join([line(table[0]), rule, *map(line, table[1:])])


def markdown_text(text: object) -> str:
    """Return a text so that Markdown shows it as it is, on one line and in one cell of a table."""
    line = ' '.join(_readable(str(text)).split())
    # What begins code, emphasis, a cell, a tag, an entity or a link; underscores inside of words do not.
    return re.sub(r'([\\`*|]|<(?=[A-Za-z/!?])|&(?=#?\w+;)|(?<=\])\(|(?<!\w)_|_(?!\w))', r'\\\1', line)


def markdown_code(text: object) -> str:
    """Return a text as code on one line: between more backticks than it has in a row."""
    line = ' '.join(_readable(str(text)).split())
    fence = '`' * (1 + max(map(len, re.findall('`+', line)), default=0))
    space = ' ' if '`' in line else ''
    return f'{fence}{space}{line}{space}{fence}'


def _readable(text: str) -> str:
    """Put a space for control characters, and a question mark for bytes of a path that are no text."""
    plain = ''.join(character if character.isprintable() or character == ' ' else ' '
                    if character.isspace() or ord(character) < 0x20 else '?' for character in text)
    return plain.encode('utf-8', 'replace').decode()


def metric_title(name: str) -> str:
    """Return the name of a metric as it is usually written: ``box_ap50_percent`` is box AP50."""
    title = name.removesuffix('_percent').replace('_', ' ')
    for plain, usual in _USUAL:
        title = re.sub(plain, usual, title)
    return title


def asset(name: str) -> str:
    """Return the text of a file of ``assets``."""
    return (files('mmsimclr.reporting') / 'assets' / name).read_text(encoding='utf-8')


def template(name: str) -> Template:
    """Return a template of ``assets``. One of HTML escapes what it is given, as ``text`` does in Markdown."""
    pages = Environment(loader=PackageLoader('mmsimclr.reporting', 'assets'), autoescape=select_autoescape(),
                        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    pages.globals['table'] = partial(text_table, markdown=True)
    pages.filters |= dict(text=markdown_text, code=markdown_code)
    return pages.get_template(name)
