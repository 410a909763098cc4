"""Sample buckets as one HTML page."""

import html
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hashfed.data.vocabulary import SPECIAL
from hashfed.experiments.buckets import Bucket, Buckets, principal_plane
from hashfed.report.buckets_table import facts, heading, words_heading
from hashfed.report.curves import GREY, run_style
from hashfed.report.html import write_template

POINTS = 3000
"""Words that are drawn, the most frequent: more would be slow, and hide one another."""
LABELS = 3
"""Words of each bucket that are written beside their points."""
BARS = 256
"""With more buckets, a line of their sizes replaces the bars."""


def write_buckets_page(found: Buckets, rows: torch.Tensor, name: str, output: Path) -> None:
    """Write the page.

    Args:
        found: the buckets.
        rows: (n, d) float32, those that were hashed, with the special symbols' first.
        name: of the run.
        output: the page.

    Raises:
        HashfedError: where a package is missing or ``output`` cannot be written.

    """
    styles = [run_style(position) for position in range(len(found.shown))]
    content = {
        "name": name,
        "heading": heading(found),
        "facts": facts(found),
        "words_heading": words_heading(found),
        "near": found.settings.near,
        "legend_runs": [
            {"position": position, "name": bucket.bits, "style": styles[position]}
            for position, bucket in enumerate(found.shown)
        ],
        "buckets": list(zip(found.shown, styles, strict=True)),
        "plots": [
            {
                "heading": "Rows of the words",
                "remark": "in the plane in which they vary most" + _drawn_note(found),
                "json": _plane(found, rows),
            },
            {
                "heading": "Words in each bucket",
                "remark": "largest first; grey: buckets that are not listed here",
                "json": _bars(found) if len(found.sizes) <= BARS else _line(found),
            },
        ],
    }
    write_template(output, "buckets_page.html.j2", content, "hashfed reproduce buckets")


def _drawn_note(found: Buckets) -> str:
    return f"; the {POINTS:,} most frequent words" if len(found.words) > POINTS else ""


def _plane(found: Buckets, rows: torch.Tensor) -> dict[str, Any]:
    places, shares = principal_plane(rows[len(SPECIAL) :])
    codes = found.codes[:POINTS]
    rest = np.flatnonzero(~np.isin(codes, [bucket.number for bucket in found.shown]))
    traces = [_points(found, places, rest, None, 0)]
    traces += [
        _points(found, places, np.flatnonzero(codes == bucket.number), bucket, position)
        for position, bucket in enumerate(found.shown)
    ]
    across, up = (
        {"title": _title(f"{which} principal component ({share:.0%} of the variance)")}
        for which, share in zip(("First", "Second"), shares, strict=True)
    )
    return {"data": traces, "layout": _layout(across, up, height=560)}


def _points(
    found: Buckets, places: np.ndarray, ranks: np.ndarray, bucket: Bucket | None, position: int
) -> dict[str, Any]:
    """A bucket's words; of the buckets that are not shown if ``bucket`` is None."""
    style = run_style(position)
    texts = [html.escape(found.words[rank]) for rank in ranks]
    if bucket is None:
        marker = {"size": 4, "color": GREY, "opacity": 0.3}
    else:
        symbol = "circle-open" if style.hollow else "circle"
        marker = {"size": 6, "color": style.colour, "opacity": 0.8, "symbol": symbol}
    return {
        "type": "scatter",
        "mode": "markers" if bucket is None else "markers+text",
        "x": places[ranks, 0].round(4).tolist(),
        "y": places[ranks, 1].round(4).tolist(),
        "text": texts if bucket is None else _labels(texts, bucket),
        "textposition": "top center",
        "textfont": {"size": 12},
        "customdata": [
            [text, format(found.codes[rank], f"0{found.settings.bits}b")]
            for text, rank in zip(texts, ranks, strict=True)
        ],
        "marker": marker,
        "meta": {"runs": [] if bucket is None else [position]},
        "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
    }


def _labels(texts: list[str], bucket: Bucket) -> list[str]:
    """The texts of the first words listed, nothing for the others."""
    labelled = {html.escape(word) for word in bucket.words[:LABELS]}
    return [text if text in labelled else "" for text in texts]


def _bars(found: Buckets) -> dict[str, Any]:
    order = np.argsort(-found.sizes, kind="stable")
    names = [format(number, f"0{found.settings.bits}b") for number in order]
    positions = {bucket.number: position for position, bucket in enumerate(found.shown)}
    traces = []
    for position in (None, *range(len(found.shown))):
        numbers = [place for place, number in enumerate(order) if positions.get(int(number)) == position]
        traces.append(
            {
                "type": "bar",
                "x": [names[place] for place in numbers],
                "y": [int(found.sizes[order[place]]) for place in numbers],
                "marker": {"color": GREY if position is None else run_style(position).colour},
                "opacity": 0.5 if position is None else 1,
                "meta": {"runs": [] if position is None else [position]},
                "hovertemplate": "<b>%{x}</b><br>%{y:,} words<extra></extra>",
            }
        )
    across = {
        "title": _title("Bucket"),
        "type": "category",
        "categoryorder": "array",
        "categoryarray": names,
        "showticklabels": len(names) <= 32,
    }
    layout = _layout(across, {"title": _title("Words"), "rangemode": "tozero"}, height=560)
    return {"data": traces, "layout": layout | {"barmode": "overlay", "bargap": 0.15}}


def _line(found: Buckets) -> dict[str, Any]:
    sizes = np.sort(found.sizes)[::-1]
    trace = {
        "type": "scatter",
        "mode": "lines",
        "x": list(range(1, len(sizes) + 1)),
        "y": sizes.tolist(),
        "line": {"color": GREY, "width": 2, "shape": "hv"},
        "fill": "tozeroy",
        "meta": {"runs": []},
        "hovertemplate": "%{x:,}th largest bucket: %{y:,} words<extra></extra>",
    }
    across = {"title": _title("Buckets, by size")}
    return {
        "data": [trace],
        "layout": _layout(across, {"title": _title("Words"), "rangemode": "tozero"}, height=560),
    }


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "standoff": 8}


def _layout(across: dict[str, Any], up: dict[str, Any], height: int) -> dict[str, Any]:
    return {
        "height": height,
        "margin": {"l": 56, "r": 12, "t": 12, "b": 52},
        "showlegend": False,
        "hovermode": "closest",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"align": "left", "namelength": -1},
        "xaxis": across | {"automargin": True, "zeroline": False},
        "yaxis": up | {"automargin": True, "zeroline": False},
    }
