"""Sample buckets as one HTML page."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hashfed.report.curves import GREY, run_style
from hashfed.report.html import plotly_text, write_template
from hashfed.report.layout import axis_title, plain_layout
from hashfed.reproduction.buckets import Buckets, principal_plane
from hashfed.reproduction.paper_buckets import PAPER_BITS, PAPER_BUCKET_OF
from hashfed.reproduction.report.buckets_table import (
    facts,
    heading,
    mark,
    paper_baselines,
    paper_heading,
    paper_known,
    paper_name,
    share,
    words_heading,
)
from hashfed.tasks.next_word.vocabulary import SPECIAL

HERE = Path(__file__).parent
POINTS = 3000
"""Words that are drawn, the most frequent, besides those listed: more would be slow, and hide one another."""
LABELS = 2
"""Words of each bucket that are written beside their points."""
BARS = 256
"""With more buckets, a line of their sizes replaces the bars."""


def write_buckets_page(found: Buckets, rows: torch.Tensor, name: str, output: Path) -> None:
    """Write the page.

    Args:
        found: the buckets.
        rows: (n, d) float32, the run's, those of the special symbols first.
        name: of the run.
        output: the page.

    Raises:
        HashfedError: where a package is missing or ``output`` cannot be written.

    """
    few = len(found.sizes) <= BARS
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
        "paper_bucket_of": PAPER_BUCKET_OF,
        "paper": _paper(found),
        "plots": [
            {
                "heading": "Rows of the words",
                "remark": "in the plane in which they vary most" + _drawn_note(found),
                "json": _plane(found, rows),
            },
            {
                "heading": "Words in each bucket",
                "remark": "largest first; grey: not listed here" if few else "largest first",
                "json": _bars(found) if few else _line(found),
            },
        ],
    }
    write_template(output, "buckets_page.html.j2", content, "hashfed reproduce buckets", HERE)


def _paper(found: Buckets) -> dict[str, Any]:
    """What the section about the paper's words shows; styles are those of the buckets listed above it."""
    styles = {bucket.number: run_style(position) for position, bucket in enumerate(found.shown)}
    return {
        "heading": paper_heading(found),
        "some": found.paper.known > 0,
        "same_bits": found.settings.bits == PAPER_BITS,
        "buckets": [
            {
                "number": bucket.number,
                "name": paper_name(bucket),
                "known": paper_known(bucket),
                "share": share(bucket.shared),
                "missing": bucket.missing,
                "ours": [
                    (format(number, f"0{found.settings.bits}b"), styles.get(number), words)
                    for number, words in bucket.ours.items()
                ],
            }
            for bucket in found.paper.buckets
        ],
        "baselines": paper_baselines(found),
    }


def _drawn_note(found: Buckets) -> str:
    drawn = f"; the {POINTS:,} most frequent words" if len(found.words) > POINTS else ""
    return drawn + ("; 1, 2, 3: of the paper's buckets" if found.paper.known else "")


def _plane(found: Buckets, rows: torch.Tensor) -> dict[str, Any]:
    places, shares = principal_plane(rows[len(SPECIAL) :])
    rank_of = {word: rank for rank, word in enumerate(found.words)}
    listed = [rank_of[word] for bucket in found.shown for word in bucket.words]
    known = np.array([rank_of[word] for bucket in found.paper.buckets for word in bucket.known], np.int64)
    frequent = np.arange(min(POINTS, len(found.words)))
    drawn = np.unique(np.concatenate([frequent, np.array(listed, np.int64), known]))
    codes = found.codes[drawn]
    rest = drawn[~np.isin(codes, [bucket.number for bucket in found.shown])]
    traces = [_points(found, places, rest, None)]
    # Labels come last, above all points.
    labels = [_marks(found, places, np.intersect1d(rest, known), None)]
    for position, bucket in enumerate(found.shown):
        ranks = drawn[codes == bucket.number]
        named = [rank_of[word] for word in bucket.words[:LABELS]]
        traces.append(_points(found, places, ranks, position))
        labels.append(_labels(found, places, named, position))
        labels.append(_marks(found, places, np.setdiff1d(np.intersect1d(ranks, known), named), position))
    across, up = (
        {"title": axis_title(f"{which} principal component ({share:.0%} of the variance)")}
        for which, share in zip(("First", "Second"), shares, strict=True)
    )
    return {"data": traces + labels, "layout": plain_layout(560, across, up)}


def _points(found: Buckets, places: np.ndarray, ranks: np.ndarray, position: int | None) -> dict[str, Any]:
    """The words ``ranks`` of the bucket shown at ``position``; None: of buckets that are not shown."""
    if position is None:
        marker: dict[str, Any] = {"size": 4, "color": GREY, "opacity": 0.3}
    else:
        style = run_style(position)
        symbol = "circle-open" if style.hollow else "circle"
        marker = {"size": 6, "color": style.colour, "opacity": 0.8, "symbol": symbol}
    bits = f"0{found.settings.bits}b"
    return {
        "type": "scatter",
        "mode": "markers",
        "x": places[ranks, 0].round(4).tolist(),
        "y": places[ranks, 1].round(4).tolist(),
        "customdata": [[_marked(found.words[rank]), format(found.codes[rank], bits)] for rank in ranks],
        "marker": marker,
        "meta": {"runs": [] if position is None else [position]},
        "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
    }


def _labels(found: Buckets, places: np.ndarray, ranks: list[int], position: int) -> dict[str, Any]:
    """The words ``ranks`` of the bucket shown at ``position``, above their points."""
    texts = [_marked(found.words[rank]) for rank in ranks]
    return _texts(places[ranks], texts, position) | {"textposition": "top center"}


def _marks(found: Buckets, places: np.ndarray, ranks: np.ndarray, position: int | None) -> dict[str, Any]:
    """Beside each of the paper's words ``ranks`` the number of its bucket; ``position`` as of points."""
    texts = [str(PAPER_BUCKET_OF[found.words[rank]]) for rank in ranks]
    return _texts(places[ranks], texts, position) | {"textposition": "middle right"}


def _texts(places: np.ndarray, texts: list[str], position: int | None) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "text",
        "x": places[:, 0].round(4).tolist(),
        "y": places[:, 1].round(4).tolist(),
        "text": texts,
        "textfont": {"size": 13},
        "hoverinfo": "skip",
        "meta": {"runs": [] if position is None else [position]},
    }


def _marked(word: str) -> str:
    return plotly_text(word) + mark(word)


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
        "title": axis_title("Bucket"),
        "type": "category",
        "categoryorder": "array",
        "categoryarray": names,
        "showgrid": False,
        "showticklabels": len(names) <= 32,
    }
    layout = plain_layout(560, across, {"title": axis_title("Words"), "rangemode": "tozero"})
    return {"data": traces, "layout": layout | {"barmode": "overlay", "bargap": 0.15}}


def _line(found: Buckets) -> dict[str, Any]:
    sizes = np.sort(found.sizes[found.sizes > 0])[::-1]
    trace = {
        "type": "scatter",
        "mode": "lines",
        "x": list(range(1, len(sizes) + 1)),
        "y": sizes.tolist(),
        "line": {"color": GREY, "width": 2, "shape": "hv"},
        "fill": "tozeroy",
        "meta": {"runs": []},
        "hovertemplate": "bucket %{x:,} by size: %{y:,} words<extra></extra>",
    }
    across = {"title": axis_title("Buckets with words, by size")}
    return {
        "data": [trace],
        "layout": plain_layout(560, across, {"title": axis_title("Words"), "rangemode": "tozero"}),
    }
