"""Numbers printed in the paper, by the levels of a study."""

from functools import cache
from pathlib import Path

from mmsimclr.errors import InputError, did_you_mean
from mmsimclr.files import read_json

At = tuple[str, ...]


@cache
def paper_tables() -> dict:
    """Return every table of ``paper_tables.json``."""
    return read_json(Path(__file__).with_name('paper_tables.json'), "the paper's tables")


def published_table(key: str, num_axes: int = 1) -> dict[At, dict[str, float]]:
    """Return a table's numbers: by the levels of its axes, then by column.

    A table with one number for each place has one column, ``''``. With two axes rows and columns are levels.

    Raises:
        InputError: If there is no such table.
    """
    tables = paper_tables()
    if key not in tables or not isinstance(tables[key], dict):
        raise InputError(f'the paper has no {key!r}{did_you_mean(key, tables)}')
    table = tables[key]
    if 'values' in table:                                    # rows and columns are levels
        rows, columns = (next(value for name, value in table.items() if name.startswith(f'{part}_'))
                         for part in ('rows', 'columns'))
        return {(row, column): {'': value} for row, line in zip(rows, table['values'], strict=True)
                for column, value in zip(columns, line, strict=True) if value is not None}
    columns = table.get('columns', [''])
    numbers: dict[At, dict[str, float]] = {}
    for name, values in table.items():
        if isinstance(values, int | float):
            numbers[name,] = {'': float(values)}
        elif isinstance(values, list) and name not in ('columns', 'rows', 'row_means'):
            row = dict(zip(columns, values, strict=True))
            numbers |= {(name, column): {'': value} for column, value in row.items()} if num_axes == 2 else {
                (name,): row}
    return numbers
