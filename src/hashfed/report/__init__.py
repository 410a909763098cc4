"""Tables and pages about finished runs."""

from hashfed.report.page import write_page
from hashfed.report.table import print_table

__all__ = ["print_table", "write_page"]
