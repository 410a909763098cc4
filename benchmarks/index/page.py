"""The index benchmark as one HTML page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.index.run import OPTIMUM
from benchmarks.index.table import HEADER, index_cells, ordered
from hashfed.report.curves import GREY, Style, run_style
from hashfed.report.html import plotly_text, write_template
from hashfed.report.layout import axis_title, plain_layout

DRAWN = (
    OPTIMUM,
    "centroids 32",
    "frequency",
    "random",
    "paper: union K8 L8",
    "collisions K8 L64 × frequency",
    "collisions K8 L64",
    "cells 1024",
    "query codes, 1 bit",
    "centroids 8",
    "HNSW (FAISS)",
)
"""Curves of the first plot, where measured; all indexes are points of the second and rows of the table."""

LEAST = 1e-5
"""Smallest shortfall that a logarithmic axis shows."""


def write_index_page(result: Mapping[str, Any], output: Path) -> None:
    """Write the page of a benchmark's result.

    Raises:
        HashfedError: where a package is missing or ``output`` cannot be written.

    """
    at = result["budgets"].index(result["budget"])
    sections = [_section(layer, result["budgets"], at) for layer in result["layers"]]
    content = {
        "sections": sections,
        "header": HEADER,
        "budget": f"{result['budget']:.0%}",
        "clients": result["clients"],
        "seeds": result["seeds"],
    }
    write_template(output, "index_page.html.j2", content, "python -m benchmarks.index", Path(__file__).parent)


def _section(layer: Mapping[str, Any], budgets: Sequence[float], at: int) -> dict[str, Any]:
    shown = [name for name in DRAWN if "coverage" in layer["indexes"].get(name, {})]
    styles = {name: run_style(position) for position, name in enumerate(shown)}
    return {
        "name": layer["name"],
        "rows": f"{layer['rows']:,}",
        "legend": [
            {"position": position, "name": name, "style": styles[name]} for position, name in enumerate(shown)
        ],
        "table": [index_cells(name, found, at) for name, found in ordered(layer, at)],
        "plots": [
            {
                "heading": "Softmax mass on the selected rows",
                "remark": "higher is better",
                "json": _curves(layer, budgets, shown, styles),
            },
            {
                "heading": "Share of the optimum's mass that is missed",
                "remark": "logarithmic; lower is better",
                "json": _shortfalls(layer, budgets, shown, styles),
            },
            {
                "heading": f"The same at a budget of {budgets[at]:.0%}, by bytes of keys and encoder",
                "remark": "down and left is better; blue: the curves above",
                "json": _points(layer, at),
            },
        ],
    }


def _curves(
    layer: Mapping[str, Any], budgets: Sequence[float], shown: Sequence[str], styles: Mapping[str, Style]
) -> dict[str, Any]:
    traces = [
        _line(position, name, budgets, layer["indexes"][name]["coverage"], styles[name])
        for position, name in enumerate(shown)
    ]
    return {
        "data": traces,
        "layout": plain_layout(340, _budget_axis(budgets), {"title": axis_title("Coverage")}),
    }


def _shortfalls(
    layer: Mapping[str, Any], budgets: Sequence[float], shown: Sequence[str], styles: Mapping[str, Style]
) -> dict[str, Any]:
    traces = []
    for position, name in enumerate(shown):
        if name != OPTIMUM:
            found = layer["indexes"][name]
            line = _line(position, name, budgets, _missed(found), styles[name])
            half = [spread / 2 for spread in found["coverage_of_optimum_spread"]]
            traces.append(line | {"error_y": {"array": half, "thickness": 1, "width": 3}})
    return {"data": traces, "layout": plain_layout(340, _budget_axis(budgets), _shortfall_axis())}


def _missed(found: Mapping[str, Any]) -> list[float]:
    """1 − share of the optimum, at least LEAST."""
    return [max(LEAST, 1 - share) for share in found["coverage_of_optimum"]]


def _line(
    position: int, name: str, budgets: Sequence[float], heights: Sequence[float], style: Style
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [100 * budget for budget in budgets],
        "y": heights,
        "line": {"color": style.colour, "dash": style.dash, "width": 2},
        "marker": {"size": 5},
        "meta": {"runs": [position], "name": plotly_text(name)},
        "hovertemplate": "<b>%{meta.name}</b><br>%{x:.3g} % of rows: %{y:.4g}<extra></extra>",
    }


def _points(layer: Mapping[str, Any], at: int) -> dict[str, Any]:
    found = {name: item for name, item in layer["indexes"].items() if "key_bytes" in item}
    # A logarithmic axis has no place for zero: methods without keys stand at one byte.
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [max(1.0, item["key_bytes"] + item["encoder_bytes"])],
            "y": [_missed(item)[at]],
            "marker": {"size": 9, "color": "#0072b2" if name in DRAWN else GREY},
            "meta": {"runs": [], "name": plotly_text(name)},
            "hovertemplate": "<b>%{meta.name}</b><br>%{x:,.0f} bytes: %{y:.4g} missed<extra></extra>",
        }
        for name, item in found.items()
    ]
    axis = {"title": axis_title("Bytes (logarithmic)"), "type": "log", "dtick": 1}
    return {"data": traces, "layout": plain_layout(340, axis, _shortfall_axis())}


def _budget_axis(budgets: Sequence[float]) -> dict[str, Any]:
    return {
        "title": axis_title("Budget (% of rows, logarithmic)"),
        "type": "log",
        "tickvals": [100 * budget for budget in budgets],
        "ticktext": [f"{100 * budget:g}" for budget in budgets],
    }


def _shortfall_axis() -> dict[str, Any]:
    return {"title": axis_title("Missed"), "type": "log", "dtick": 1, "tickformat": "~g"}
