"""Studies: sweeps over a config that end in a table, a figure and tested claims."""

from .claims import Verdict, correlations, judge, spearman, values_at
from .record import CellResult, paper_tables, published_table, read_records, write_records
from .run import Worker, run_study, submit_study
from .study import Cell, Measure, Study, load_study
