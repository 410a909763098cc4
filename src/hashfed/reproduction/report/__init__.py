"""What a reproduction of the paper's experiments shows: page, Markdown, figures, CSV files, plain text."""

from pathlib import Path

from hashfed.files import write_atomically
from hashfed.report.html import require_report
from hashfed.reproduction.csv_files import write_csv_files
from hashfed.reproduction.report.figures import require_figures, write_figures
from hashfed.reproduction.report.markdown import markdown
from hashfed.reproduction.report.page import write_page
from hashfed.reproduction.report.terminal import print_reproduction
from hashfed.reproduction.results import Reproduction

__all__ = ["print_reproduction", "require_reproduction_report", "write_reports"]

COMMAND = "hashfed reproduce"


def require_reproduction_report() -> None:
    """Find out before a long work whether its reports can be made.

    Raises:
        HashfedError: naming the extra, where a package is missing.

    """
    require_report(COMMAND)
    require_figures(COMMAND)


def write_reports(found: Reproduction, folder: Path) -> list[Path]:
    """Write ``report.html``, ``report.md``, the CSV files and figure 1 as SVG and PDF.

    The same records give the same bytes; ``Reproduction.seconds`` decides one line of the page and one of the
    Markdown.

    Args:
        found: what to show; parts that were not asked for, or have no result yet, are left out.
        folder: of the reproduction; runs and the page of buckets lie below it.

    Returns:
        the files, the page first.

    Raises:
        HashfedError: where a package is missing or a file cannot be written.

    """
    require_reproduction_report()
    data = write_csv_files(found, folder)
    figures = write_figures(found, folder)
    names = [path.name for path in data]
    page, text = folder / "report.html", folder / "report.md"
    write_page(found, page, names, COMMAND)
    write_atomically(text, markdown(found, names).encode())
    return [page, text, *data, *figures]
