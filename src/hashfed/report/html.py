"""HTML pages that need nothing else: a template, its style and plotly in one file."""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hashfed.display import printable
from hashfed.errors import HashfedError
from hashfed.files import write_atomically

HERE = Path(__file__).parent


def require_report(command: str) -> None:
    """Raise a HashfedError that names ``command`` where a page cannot be made for want of a package."""
    try:
        import jinja2  # noqa: F401
        import plotly.offline  # noqa: F401
    except ImportError:
        raise HashfedError(
            f"{command}: needs the packages plotly and jinja2 (pip install 'hashfed[report]')"
        ) from None


def _plain(value: object) -> object:
    """What a template shows: texts without what would turn the reading direction of the rest."""
    return value if not isinstance(value, str) or hasattr(value, "__html__") else printable(value)


def plotly_text(text: str) -> str:
    """A text for a plot, in which Plotly reads tags; it would show the escape of a quote as it is."""
    return html.escape(printable(text), quote=False)


def write_template(
    output: Path, template: str, content: Mapping[str, Any], command: str, folder: Path = HERE
) -> None:
    """Render a template with ``content`` and plotly's code, and write it atomically.

    Args:
        output: the page.
        template: its file name.
        content: what it shows; texts are escaped.
        command: named where a package is missing.
        folder: of the template, which may include those of ``hashfed.report``.

    Raises:
        HashfedError: where a package is missing, or ``output`` cannot be written.

    """
    require_report(command)
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(content, plotly=Markup(get_plotlyjs()))
    write_atomically(output, page.encode())
