"""Results of a study's cells and the file that keeps them; the paper's numbers."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from mmsimclr.errors import InputError, did_you_mean
from mmsimclr.files import atomic_writer, check_fields, read_if_whole, read_json


@dataclass
class CellResult:
    """What one cell gave.

    Attributes:
        name: The cell's name, a hash of ``config_sha256`` and ``data_sha256``.
        at, seed: The level of each axis; the seed of the pre-training.
        measures: Hash of each measurement's config, by name.
        metrics: Values by ``measure.metric``; those of pre-training begin with ``pretraining.``.
        seconds: Time of pre-training and measurements.
        tuning: Whether it only helped to choose options of other cells.
        failure: Why it has no numbers.
        options: The values that were overridden.
        series: Numbers of pictures, by ``measure.name``.
        provenance: Versions, hardware, and the encoder's hash.
    """

    name: str
    at: tuple[str, ...]
    seed: int
    config_sha256: str
    data_sha256: str | None
    measures: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    tuning: bool = False
    failure: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    series: dict[str, list[float]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.at = tuple(self.at)

    def value(self, metric: str) -> float | None:
        """Return a metric; of 'METRIC or METRIC' the first that the cell has, None if it has none."""
        return next((self.metrics[name] for name in metric.split(' or ') if name in self.metrics), None)


NONE = type(None)
TYPES = dict(name=(str,), at=(tuple,), seed=(int,), config_sha256=(str,), data_sha256=(str, NONE),
             measures=(dict,), metrics=(dict,), seconds=(int, float, NONE), tuning=(bool,),
             failure=(str, NONE), options=(dict,), series=(dict,), provenance=(dict,))


def read_records(path: str | Path) -> list[CellResult]:
    """Return the results that a file keeps; none where there is no such file.

    Raises:
        InputError: If it is no record of a study.
    """
    path = Path(path)
    if not path.is_file():
        return []
    content = read_json(path, 'results of a study')
    return read_cells(content.get('cells') if isinstance(content, dict) else None, path)


def read_cell(path: Path, name: str) -> CellResult | None:
    """Return the result of the cell of a name; None where there is no whole one."""
    found = read_if_whole(lambda path: read_cells([read_json(path, "a cell's result")], path)[0], path)
    return found if found and found.name == name else None


def read_cells(cells: Any, path: Path) -> list[CellResult]:
    """Return the results that JSON values describe; InputError if they describe none."""
    try:
        read = [CellResult(**each) for each in cells]
        for each in read:
            check_fields(vars(each), str(path), 'results of a study', TYPES)
            check_fields(each.metrics, str(path), 'metrics', dict.fromkeys(each.metrics, (int, float)))
        return read
    except TypeError as error:
        raise InputError(f'{path} holds no results of a study: {error}') from error


def write_records(path: str | Path, study: dict[str, Any], results: Iterable[CellResult]) -> Path:
    """Write a study's results, ordered, whole or not at all; return the path.

    Where the data lie on this machine is left out.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = sorted(results, key=lambda each: (each.tuning, each.at, each.seed))
    ordered = [replace(each, options={key: value for key, value in each.options.items()
                                      if key != 'data_root'}) for each in ordered]
    head = json.dumps(study, indent=1, allow_nan=False).removesuffix('\n}')
    cells = ',\n  '.join(json.dumps(asdict(each), allow_nan=False) for each in ordered)     # a line each
    with atomic_writer(path) as file:
        file.write(f'{head},\n "cells": [\n  {cells}\n ]\n}}\n'.encode())
    return path


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
