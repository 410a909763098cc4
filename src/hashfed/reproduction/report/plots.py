"""Figure 1 as plotly's data: the paper's form, ours, and the gap in negative log-likelihood."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from hashfed.report.curves import GREY, SYMBOLS
from hashfed.report.html import plotly_text
from hashfed.report.layout import axis_title, plain_layout
from hashfed.reproduction.analysis import (
    WITHIN_NATS,
    WITHIN_POINTS,
    Gap,
    Point,
    Spread,
    curve,
    full_accuracy,
    smallest,
)
from hashfed.reproduction.methods import METHODS
from hashfed.reproduction.report import looks
from hashfed.reproduction.report.tables import partial_methods
from hashfed.reproduction.results import FULL, Reproduction

LEAST_NATS = 1e-3
"""Smallest gap that a logarithmic axis shows; smaller ones and gains stand there."""
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
"""Of a logarithmic axis, percent."""
HEIGHT = 360
LEFT, RIGHT = 0.8, 1.15
"""Room beside the points of a logarithmic axis, as factors."""
COMPUTED = "Computed output parameters (%)"


def paper_methods(found: Reproduction) -> list[str]:
    """Those with some of the rows that the paper has."""
    return [method for method in partial_methods(found) if METHODS[method].paper]


def shown_vocabularies(found: Reproduction) -> list[int]:
    """Those whose panel has something to show."""
    return [
        vocabulary
        for vocabulary in found.vocabularies
        if "figure1" in found.experiments
        and any(point.runs for method in found.methods for point in curve(found.runs, vocabulary, method))
    ]


def figure1_plots(found: Reproduction) -> list[dict[str, Any]]:
    """Groups of plots, one for each vocabulary: the paper's form, all methods, and the gap in nats."""
    partial = partial_methods(found)
    groups: list[tuple[str, str, list[str], Callable[[Reproduction, int], dict[str, Any]]]] = [
        ("The paper's form", "", [FULL, *paper_methods(found)], _paper_plot),
        (
            "All methods",
            f"Logarithmic across. A ring marks the smallest budget within {WITHIN_POINTS} points of full.",
            [FULL, *partial],
            _accuracy_plot,
        ),
        (
            "Gap in negative log-likelihood",
            f"Logarithmic both ways; gaps up to {LEAST_NATS} nats stand at the lower edge. A ring marks the "
            f"smallest budget within {WITHIN_NATS} nats of full, the dashed line.",
            partial,
            _nats_plot,
        ),
    ]
    made = []
    for title, note, methods, plot in groups:
        figures = [plot(found, vocabulary) for vocabulary in shown_vocabularies(found)]
        figures = [figure for figure in figures if figure["json"]["data"]]
        if figures:
            drawn = {
                run for figure in figures for trace in figure["json"]["data"] for run in trace["meta"]["runs"]
            }
            legend = [_switch(method) for method in methods if looks.place(method) in drawn]
            made.append({"title": title, "note": note, "legend": legend, "figures": figures})
    return made


def _paper_plot(found: Reproduction, vocabulary: int) -> dict[str, Any]:
    methods = paper_methods(found)
    traces = _full_line(found, vocabulary, (0.0, 100.0))
    for method in methods:
        traces += _accuracy_traces(curve(found.runs, vocabulary, method), method)
    across = {"title": axis_title(COMPUTED), "range": [0, 103]}
    return _plot(
        vocabulary, "accuracy; higher is better", traces, across, {"title": axis_title("Accuracy (%)")}
    )


def _accuracy_plot(found: Reproduction, vocabulary: int) -> dict[str, Any]:
    ends = logarithmic_ends(found, vocabulary)
    traces = _full_line(found, vocabulary, ends)
    for method in partial_methods(found):
        traces += _accuracy_traces(curve(found.runs, vocabulary, method), method)
        best = smallest(found.runs, vocabulary, method).points
        if best is not None:
            traces.append(_ring(method, 100 * best.point.share, 100 * best.point.accuracy.mean))
    return _plot(
        vocabulary,
        "accuracy; higher is better",
        traces,
        _logarithmic(ends),
        {"title": axis_title("Accuracy (%)")},
    )


def _nats_plot(found: Reproduction, vocabulary: int) -> dict[str, Any]:
    ends, traces = logarithmic_ends(found, vocabulary), list[dict[str, Any]]()
    for method in partial_methods(found):
        best = smallest(found.runs, vocabulary, method)
        gaps = [gap for gap in reversed(best.gaps) if math.isfinite(gap.nll.mean)]
        if gaps:
            traces.append(_gap_trace(gaps, method))
        if best.nats is not None:
            traces.append(_ring(method, 100 * best.nats.point.share, drawn_nats(best.nats)))
    up = {"title": axis_title("NLL above full (nats)"), "type": "log", "dtick": 1, "tickformat": "~g"}
    plot = _plot(vocabulary, "lower is better", traces, _logarithmic(ends), up)
    plot["json"]["layout"]["shapes"] = [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": WITHIN_NATS,
            "y1": WITHIN_NATS,
            "line": {"color": GREY, "dash": "6px,4px", "width": 1.5},
        }
    ]
    return plot


def drawn_nats(gap: Gap) -> float:
    """Where a gap stands on a logarithmic axis."""
    return max(LEAST_NATS, gap.nll.mean)


def _accuracy_traces(points: Sequence[Point], method: str) -> list[dict[str, Any]]:
    """The band over seeds and the means."""
    drawn = [point for point in points if math.isfinite(point.accuracy.mean)]
    if not drawn:
        return []
    line = _line(
        method,
        [100 * point.share for point in drawn],
        [100 * point.accuracy.mean for point in drawn],
        "%{x:.3g}% of the rows: %{y:.2f}%%{customdata}",
    )
    line["customdata"] = [_plus_minus(point.accuracy) for point in drawn]
    return [*_band(drawn, method), line]


def _gap_trace(gaps: Sequence[Gap], method: str) -> dict[str, Any]:
    line = _line(
        method,
        [100 * gap.point.share for gap in gaps],
        [drawn_nats(gap) for gap in gaps],
        "%{x:.3g}% of the rows: %{customdata:+.4f} nats",
    )
    return line | {"customdata": [gap.nll.mean for gap in gaps]}


def _line(method: str, across: Sequence[float], up: Sequence[float], values: str) -> dict[str, Any]:
    style = looks.style(method)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": list(across),
        "y": list(up),
        "line": {"color": style.colour, "dash": style.dash, "width": 2},
        "marker": {"size": 10, "symbol": looks.symbol(method), "color": style.colour},
        **_named(method, values),
    }


def _band(points: Sequence[Point], method: str) -> list[dict[str, Any]]:
    spread = [(100 * point.share, point.accuracy) for point in points if point.accuracy.deviation is not None]
    if not spread:
        return []
    upper = [(at, 100 * (found.mean + (found.deviation or 0.0))) for at, found in spread]
    lower = [(at, 100 * (found.mean - (found.deviation or 0.0))) for at, found in reversed(spread)]
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [at for at, _ in upper + lower],
            "y": [height for _, height in upper + lower],
            "fill": "toself",
            "fillcolor": _faint(looks.style(method).colour),
            "line": {"width": 0},
            "hoverinfo": "skip",
            "meta": {"runs": [looks.place(method)]},
        }
    ]


def _full_line(found: Reproduction, vocabulary: int, ends: tuple[float, float]) -> list[dict[str, Any]]:
    """A line, and a band where there are several seeds."""
    accuracy = full_accuracy(found.runs, vocabulary)
    if not math.isfinite(accuracy.mean):
        return []
    colour, mean = looks.style(FULL).colour, 100 * accuracy.mean
    middle = math.sqrt(ends[0] * ends[1]) if ends[0] > 0 else sum(ends) / 2
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": [ends[0], middle, ends[1]],
        "y": [mean] * 3,
        "line": {"color": colour, "width": 2},
        **_named(FULL, f"all rows: %{{y:.2f}}%{_plus_minus(accuracy)}"),
    }
    if accuracy.deviation is None:
        return [line]
    up, low = mean + 100 * accuracy.deviation, mean - 100 * accuracy.deviation
    band = {
        "type": "scatter",
        "mode": "lines",
        "x": [ends[0], ends[1], ends[1], ends[0]],
        "y": [up, up, low, low],
        "fill": "toself",
        "fillcolor": _faint(colour),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "meta": {"runs": [looks.place(FULL)]},
    }
    return [band, line]


def _ring(method: str, across: float, up: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [across],
        "y": [up],
        "marker": {
            "symbol": "circle-open",
            "size": 19,
            "color": looks.style(method).colour,
            "line": {"width": 2},
        },
        "hoverinfo": "skip",
        "meta": {"runs": [looks.place(method)]},
    }


def _plot(
    vocabulary: int, remark: str, traces: list[dict[str, Any]], across: dict[str, Any], up: dict[str, Any]
) -> dict[str, Any]:
    return {
        "heading": f"{vocabulary:,} words",
        "remark": remark,
        "json": {"data": traces, "layout": plain_layout(HEIGHT, across, up)},
    }


def logarithmic_ends(found: Reproduction, vocabulary: int) -> tuple[float, float]:
    """Of a logarithmic axis, percent."""
    shares = [
        100 * point.share
        for method in partial_methods(found)
        for point in curve(found.runs, vocabulary, method)
        if point.runs and point.share > 0
    ]
    return LEFT * min(shares, default=10.0), RIGHT * 100


def _logarithmic(ends: tuple[float, float]) -> dict[str, Any]:
    return {
        "title": axis_title(COMPUTED),
        "type": "log",
        "range": [math.log10(end) for end in ends],
        "tickvals": list(TICKS),
        "ticktext": [f"{tick:g}" for tick in TICKS],
    }


def _plus_minus(found: Spread) -> str:
    return "" if found.deviation is None else f" ± {100 * found.deviation:.2f}"


def _named(method: str, values: str) -> dict[str, Any]:
    name = plotly_text(looks.title(method))
    return {
        "name": name,
        "meta": {"runs": [looks.place(method)], "name": name},
        "hovertemplate": f"<b>%{{meta.name}}</b><br>{values}<extra></extra>",
    }


def _switch(method: str) -> dict[str, Any]:
    """Of a legend."""
    symbol = "" if method == FULL else f"{SYMBOLS[looks.symbol(method)]} "
    name = symbol + looks.title(method)
    return {"position": looks.place(method), "name": name, "style": looks.style(method)}


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
