"""The plots of a page as plain data that plotly draws; colours of text and grid are the page's."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle
from typing import Any

from hashfed.report.html import plotly_text
from hashfed.report.layout import axis_title, plain_layout
from hashfed.report.results import RunResult
from hashfed.tasks.presentation import Measure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette for colour-blind readers, less black and yellow, which vanish on one background."""
DASHES = ("solid", "dash", "dot", "dashdot")
"""Tell runs of the same colour apart."""
SYMBOLS = {
    "circle": "●",
    "square": "■",
    "diamond": "◆",
    "triangle-up": "▲",
    "triangle-down": "▼",
    "cross": "✚",
    "star": "★",
    "hexagon": "⬢",
}
"""One for each method, and the character that shows it in a text."""
SIDES = ("left", "right")
"""Ends of the floors' lines that carry their labels, in turn."""
GREY = "#8a8f98"
"""Of floors and other lines that are no run; readable on black and on white."""


@dataclass(frozen=True)
class Style:
    """How a run looks in every plot and table.

    Attributes:
        colour: of lines and points.
        dash: of lines.
        hollow: whether points of the share plots are drawn as outlines.

    """

    colour: str
    dash: str
    hollow: bool


def run_style(position: int) -> Style:
    """The look of the run at this position of the page."""
    turn = position // len(COLOURS)
    return Style(COLOURS[position % len(COLOURS)], DASHES[turn % len(DASHES)], turn % 2 == 1)


@dataclass(frozen=True)
class Drawn:
    """A run to draw.

    Attributes:
        position: of the run on the page; its switch in the legend.
        result: the run.
        family: runs of one family differ in the budget only, and are joined by a line.

    """

    position: int
    result: RunResult
    family: str

    @property
    def style(self) -> Style:
        """Colour and dash."""
        return run_style(self.position)


@dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
        heading: what it shows.
        remark: which direction of the y-axis is better, and which floors are out of sight.
        data: plotly's traces.
        layout: plotly's layout.

    """

    heading: str
    remark: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


def evaluated(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rounds with an evaluation: round, gigabytes moved until then by all clients, and the evaluation."""
    moved = accumulate(sum(line["bytes"].values()) for line in lines)
    return [
        {"round": line["round"], "gigabytes": total / 1e9, **line["evaluation"]}
        for line, total in zip(lines, moved, strict=True)
        if "evaluation" in line
    ]


def method_symbols(runs: Sequence[Drawn]) -> dict[str, str]:
    """Plotly's symbol of each method whose runs are points in the share plots."""
    methods = dict.fromkeys(run.result.method for run in runs if run.result.method != "full")
    return dict(zip(methods, cycle(SYMBOLS), strict=False))


def round_plot(runs: Sequence[Drawn], measure: Measure) -> Plot:
    """A measure on the sample against rounds."""
    traces = [_curve(run, measure, "round", "round %{x}") for run in runs]
    layout = _layout("Rounds", measure, runs)
    if max(line["round"] for run in runs for line in run.result.lines) <= 10:
        layout["xaxis"]["dtick"] = 1
    layout["yaxis"]["range"] = _range([*_heights(traces), *_floors(runs, measure).values()])
    return Plot(f"{measure.name} against rounds", f"{measure.better} is better", traces, layout)


def bytes_plot(runs: Sequence[Drawn], measure: Measure) -> Plot:
    """A measure on the sample against all bytes that moved until then."""
    traces = [_curve(run, measure, "gigabytes", "%{x:.3f} GB") for run in runs]
    layout = _layout("Bytes moved (GB)", measure, runs)
    layout["yaxis"]["range"] = _range([*_heights(traces), *_floors(runs, measure).values()])
    return Plot(f"{measure.name} against bytes moved", f"{measure.better} is better", traces, layout)


def share_plot(runs: Sequence[Drawn], measure: Measure) -> Plot:
    """A final measure against the share of rows on a device; ``full`` runs are horizontal lines.

    It shows the runs closely, and the floors only where they are near.
    """
    partial = [run for run in runs if run.result.method != "full"]
    full = [run for run in runs if run.result.method == "full"]
    symbols = method_symbols(runs)
    end = 1.1 * max((100 * run.result.share for run in partial), default=100.0)
    traces = _families(partial, measure)
    traces += [_full_line(run, measure, end, "full" if len(full) == 1 else "") for run in full]
    traces += [_point(run, measure, symbols[run.result.method]) for run in partial]
    heights, floors = _heights(traces), _floors(runs, measure)
    low, high = _range(heights + _near(list(floors.values()), heights))
    layout = _layout("Computed output parameters (% of rows)", measure, runs)
    layout["xaxis"]["range"] = [0, end]
    layout["yaxis"]["range"] = [low, high]
    for label in layout["annotations"]:
        if label["xanchor"] == "left":  # points of small shares are there
            label |= {"x": 0.5, "xanchor": "center"}
    remark = f"{measure.better} is better"
    for name, height in floors.items():
        if not low < height < high:
            remark += f"; {name} floor at {height:.{measure.digits}f} {measure.unit}"
    return Plot(f"Final {measure.in_text} against computed output parameters", remark, traces, layout)


def _near(floors: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Floors that are no further from the heights than these are apart; all where these are alike."""
    low, high = min(heights, default=0.0), max(heights, default=0.0)
    span = high - low or math.inf
    return [floor for floor in floors if low - span <= floor <= high + span]


def _heights(traces: Sequence[dict[str, Any]]) -> list[float]:
    return [float(height) for trace in traces for height in trace["y"] if height is not None]


def _floors(runs: Sequence[Drawn], measure: Measure) -> dict[str, float]:
    """Where each floor lies on the axis, the best first."""
    result = runs[0].result
    values = {name: measure.floor(result.floors, name) for name in reversed(result.presentation.floors)}
    return {name: value * measure.scale for name, value in values.items() if value is not None}


def _hover(measure: Measure) -> str:
    """Plotly's format of a value."""
    return f"%{{y:.{measure.digits}f}} {measure.unit}"


def _range(heights: Sequence[float]) -> tuple[float, float]:
    """From the least to the greatest, with room for a label above each line."""
    low, high = min(heights), max(heights)
    span = high - low or abs(high) or 1.0
    return low - 0.06 * span, high + 0.1 * span


def _curve(run: Drawn, measure: Measure, across: str, where: str) -> dict[str, Any]:
    points = evaluated(run.result.lines)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [point[across] for point in points],
        "y": [measure.height(point) for point in points],
        "line": {"color": run.style.colour, "dash": run.style.dash, "width": 2},
        "marker": {"size": 5},
        **_named(run, f"{where}: {_hover(measure)}"),
    }


def _point(run: Drawn, measure: Measure, symbol: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [100 * run.result.share],
        "y": [measure.height(run.result.evaluation)],
        "marker": {
            "symbol": symbol + ("-open" if run.style.hollow else ""),
            "size": 10,
            "color": run.style.colour,
            "line": {"width": 2 if run.style.hollow else 0},
        },
        **_named(run, f"%{{x:.3g}} % of rows: {_hover(measure)}"),
    }


def _full_line(run: Drawn, measure: Measure, end: float, label: str) -> dict[str, Any]:
    value = measure.height(run.result.evaluation)
    return {
        "type": "scatter",
        "mode": "lines+text",
        "x": [0, end / 2, end],
        "y": [value] * 3,
        "text": ["", "", label],
        "textposition": "top left",
        "line": {"color": run.style.colour, "dash": run.style.dash, "width": 2},
        **_named(run, f"all rows: {_hover(measure)}"),
    }


def _families(partial: Sequence[Drawn], measure: Measure) -> list[dict[str, Any]]:
    """Thin lines that join the runs which differ in their budget only."""
    traces = []
    for family in dict.fromkeys(run.family for run in partial):
        members = sorted((run for run in partial if run.family == family), key=lambda run: run.result.share)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [100 * run.result.share for run in members],
                "y": [measure.height(run.result.evaluation) for run in members],
                "line": {"color": GREY, "width": 1},
                "hoverinfo": "skip",
                "meta": {"runs": [run.position for run in members]},
            }
        )
    return traces


def _named(run: Drawn, values: str) -> dict[str, Any]:
    """What ties a trace to its run. Plotly reads tags in texts, so the name is escaped."""
    name = plotly_text(run.result.name)
    return {
        "name": name,
        "meta": {"runs": [run.position], "name": name},
        "hovertemplate": f"<b>%{{meta.name}}</b><br>{values}<extra></extra>",
    }


def _layout(across: str, measure: Measure, runs: Sequence[Drawn]) -> dict[str, Any]:
    floors = _floors(runs, measure)
    layout = plain_layout(
        340,
        {"title": {"text": across, "standoff": 10}, "rangemode": "tozero"},
        {"title": axis_title(f"{measure.full} ({measure.unit})")},
    )
    return layout | {"shapes": _floor_lines(list(floors.values())), "annotations": _floor_labels(floors)}


def _floor_lines(heights: Sequence[float]) -> list[dict[str, Any]]:
    return [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": height,
            "y1": height,
            "layer": "above",
            "line": {"color": GREY, "dash": "6px,4px", "width": 1.5},
        }
        for height in heights
    ]


def _floor_labels(floors: Mapping[str, float]) -> list[dict[str, Any]]:
    """Each on the side where curves are seldom."""
    return [
        {
            "text": f"{floor} floor",
            "xref": "paper",
            "x": 0 if side == "left" else 1,
            "xanchor": side,
            "y": height,
            "yanchor": "bottom",
            "borderpad": 0,
            "showarrow": False,
            "font": {"size": 11},
        }
        for (floor, height), side in zip(floors.items(), cycle(SIDES), strict=False)
    ]
