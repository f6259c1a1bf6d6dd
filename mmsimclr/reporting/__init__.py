"""Tables, curves and pictures."""

from .curves import read_scalars, save_training_curves
from .pictures import original_and_views, save_neighbour_sheet, save_views_sheet
from .results_page import results_page
from .table import text_table

__all__ = ['original_and_views', 'read_scalars', 'results_page', 'save_neighbour_sheet',
           'save_training_curves', 'save_views_sheet', 'text_table']
