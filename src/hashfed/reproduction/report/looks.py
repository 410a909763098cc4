"""How methods look in every figure, plot and table of a reproduction."""

from hashfed.report.curves import COLOURS, DASHES, SYMBOLS, Style
from hashfed.reproduction.methods import METHODS

_ORDER = (1, 4, 0, 3, 5, 2)
"""Of ``COLOURS``: full is red as in the paper, and ours the best to be seen."""
_MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "cross": "P",
    "star": "*",
    "hexagon": "h",
}
"""Matplotlib's names of plotly's symbols."""


def title(method: str) -> str:
    """Its name in legends and tables."""
    return METHODS[method].title


def place(method: str) -> int:
    """Its number among all methods, which decides colour and symbol; its switch in legends."""
    return list(METHODS).index(method)


def style(method: str) -> Style:
    """Colour and dash of lines and swatches."""
    turn, at = divmod(place(method), len(_ORDER))
    return Style(COLOURS[_ORDER[at]], DASHES[turn % len(DASHES)], False)


def symbol(method: str) -> str:
    """Plotly's name of its symbol; the full method is a line, and has the symbol for legends only."""
    return list(SYMBOLS)[place(method) % len(SYMBOLS)]


def marker(method: str) -> str:
    """Matplotlib's name of its symbol."""
    return _MARKERS[symbol(method)]
