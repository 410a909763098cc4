"""What all plots look like; colours of text and grid are the page's."""

from typing import Any


def plain_layout(height: int, across: dict[str, Any], up: dict[str, Any]) -> dict[str, Any]:
    """Plotly's layout without legend and background, from the height in pixels and the two axes."""
    return {
        "height": height,
        "margin": {"l": 56, "r": 12, "t": 12, "b": 52},
        "showlegend": False,
        "hovermode": "closest",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"align": "left", "namelength": -1},
        "xaxis": {"automargin": True, "zeroline": False} | across,
        "yaxis": {"automargin": True, "zeroline": False} | up,
    }


def axis_title(text: str) -> dict[str, Any]:
    """A title close to its axis."""
    return {"text": text, "standoff": 8}
