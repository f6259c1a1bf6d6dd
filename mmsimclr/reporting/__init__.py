"""Tables, curves and pictures."""

from .comparison import Comparison, compare_results
from .figures import (
    original_and_views,
    read_scalars,
    save_neighbour_sheet,
    save_shape_bias_figure,
    save_training_curves,
    save_views_sheet,
)
from .results_page import results_page
from .summary import PublishedValue, Summary, published_values, result_text, summarize
from .table import text_table
