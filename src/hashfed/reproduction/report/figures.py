"""Figure 1 as SVG and PDF for a paper: the same bytes for the same results."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashfed.errors import HashfedError
from hashfed.files import write_atomically
from hashfed.report.curves import GREY
from hashfed.reproduction.analysis import (
    WITHIN_NATS,
    WITHIN_POINTS,
    Gap,
    Point,
    curve,
    full_accuracy,
    smallest,
)
from hashfed.reproduction.report import looks, texts
from hashfed.reproduction.report.plots import (
    COMPUTED,
    LEAST_NATS,
    TICKS,
    drawn_nats,
    logarithmic_ends,
    paper_methods,
    shown_vocabularies,
)
from hashfed.reproduction.report.tables import partial_methods
from hashfed.reproduction.results import FULL, Reproduction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("figure1", "figure1-ours")
WIDTH, PAPER_HEIGHT, OUR_HEIGHT = 3.7, 2.8, 6.4
"""Inches of a panel, and of the two figures."""
SETTINGS: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same on every machine
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "pdf.fonttype": 42,  # many conferences refuse Type 3
    "svg.fonttype": "path",  # the same in every viewer, whatever fonts it has
    "svg.hashsalt": "hashfed",
}


def require_figures(command: str) -> None:
    """Raise a HashfedError that names ``command`` where figures cannot be made for want of a package."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise HashfedError(
            f"{command}: needs the package matplotlib (pip install 'hashfed[report]')"
        ) from None


def write_figures(found: Reproduction, folder: Path) -> list[Path]:
    """Write figure 1 in the paper's form and ours, each as SVG and PDF; none where no run has a result.

    Raises:
        HashfedError: where a file cannot be written.

    """
    from matplotlib import rc_context, rcdefaults

    panels = shown_vocabularies(found)
    written = []
    if panels:
        with rc_context():
            rcdefaults()  # whatever a matplotlibrc of the user says
            with rc_context(SETTINGS):  # type: ignore[arg-type]  # names of settings are literals there
                for name, made in zip(
                    NAMES, (_paper_figure(found, panels), _our_figure(found, panels)), strict=True
                ):
                    for kind in ("svg", "pdf"):
                        write_atomically(folder / f"{name}.{kind}", _bytes(made, kind))
                        written.append(folder / f"{name}.{kind}")
    return written


def figure_names(found: Reproduction) -> list[str]:
    """File names without their ends."""
    return list(NAMES) if shown_vocabularies(found) else []


def _bytes(figure: "Figure", kind: str) -> bytes:
    date = "Date" if kind == "svg" else "CreationDate"
    file = io.BytesIO()
    figure.savefig(file, format=kind, facecolor="white", metadata={"Creator": "hashfed", date: None})
    return file.getvalue()


def _figure(columns: int, rows: int, height: float) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH * columns, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _paper_figure(found: Reproduction, panels: Sequence[int]) -> "Figure":
    figure, axes = _figure(len(panels), 1, PAPER_HEIGHT)
    for axis, vocabulary in zip(axes[0], panels, strict=True):
        _draw_full(axis, found, vocabulary)
        for method in paper_methods(found):
            _draw_curve(axis, curve(found.runs, vocabulary, method), method, looks.title(method))
        axis.set_title(f"{vocabulary:,} words")
        axis.set_xlabel(COMPUTED)
        axis.set_xlim(0, 103)
        _legend(axis, loc="lower right")
    axes[0][0].set_ylabel("Accuracy (%)")
    return figure


def _our_figure(found: Reproduction, panels: Sequence[int]) -> "Figure":
    figure, axes = _figure(len(panels), 2, OUR_HEIGHT)
    for column, vocabulary in enumerate(panels):
        upper, lower = axes[0][column], axes[1][column]
        _draw_full(upper, found, vocabulary)
        for method in partial_methods(found):
            best, points = smallest(found.runs, vocabulary, method), curve(found.runs, vocabulary, method)
            _draw_curve(upper, points, method, f"{looks.title(method)}: {texts.smallest_points(best)}")
            if best.points is not None:
                _draw_ring(upper, method, best.points.point.share, 100 * best.points.point.accuracy.mean)
            _draw_gaps(lower, best.gaps, method, f"{looks.title(method)}: {texts.smallest_nats(best)}")
            if best.nats is not None:
                _draw_ring(lower, method, best.nats.point.share, drawn_nats(best.nats))
        upper.set_title(f"{vocabulary:,} words")
        lower.axhline(WITHIN_NATS, color=GREY, linestyle="--", linewidth=0.9, zorder=1)
        lower.set_yscale("log")
        lower.yaxis.set_major_formatter("{x:g}")
        for axis, within in ((upper, f"{WITHIN_POINTS} points"), (lower, f"{WITHIN_NATS} nats")):
            _logarithmic(axis, logarithmic_ends(found, vocabulary))
            _legend(
                axis,
                title=f"○ within {within} of full from",
                loc="upper center",
                bbox_to_anchor=(0.5, -0.2),
                ncols=2,
            )
    axes[0][0].set_ylabel("Accuracy (%)")
    axes[1][0].set_ylabel(f"NLL above full (nats, at least {LEAST_NATS})")
    return figure


def _legend(axis: "Axes", **how: Any) -> None:
    """Where something is drawn: matplotlib would warn of an empty one."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(**how)


def _draw_full(axis: "Axes", found: Reproduction, vocabulary: int) -> None:
    accuracy = full_accuracy(found.runs, vocabulary)
    colour, mean = looks.style(FULL).colour, 100 * accuracy.mean
    if math.isfinite(mean):
        axis.axhline(mean, color=colour, label=looks.title(FULL), zorder=2)
        if accuracy.deviation is not None:
            half = 100 * accuracy.deviation
            axis.axhspan(mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)


def _draw_curve(axis: "Axes", points: Sequence[Point], method: str, label: str) -> None:
    drawn = [point for point in points if math.isfinite(point.accuracy.mean)]
    style = looks.style(method)
    across = [100 * point.share for point in drawn]
    axis.plot(
        across,
        [100 * point.accuracy.mean for point in drawn],
        color=style.colour,
        marker=looks.marker(method),
        label=label,
        zorder=3,
    )
    half = [point.accuracy.deviation or 0.0 for point in drawn]
    if any(half):
        low = [100 * (point.accuracy.mean - width) for point, width in zip(drawn, half, strict=True)]
        up = [100 * (point.accuracy.mean + width) for point, width in zip(drawn, half, strict=True)]
        axis.fill_between(across, low, up, color=style.colour, alpha=0.15, linewidth=0)


def _draw_gaps(axis: "Axes", gaps: Sequence[Gap], method: str, label: str) -> None:
    drawn = [gap for gap in gaps if math.isfinite(gap.nll.mean)]
    axis.plot(
        [100 * gap.point.share for gap in drawn],
        [drawn_nats(gap) for gap in drawn],
        color=looks.style(method).colour,
        marker=looks.marker(method),
        label=label,
        zorder=3,
    )


def _draw_ring(axis: "Axes", method: str, share: float, height: float) -> None:
    axis.plot(
        [100 * share],
        [height],
        marker="o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor=looks.style(method).colour,
        markeredgewidth=1.2,
        linestyle="none",
        zorder=4,
    )


def _logarithmic(axis: "Axes", ends: tuple[float, float]) -> None:
    low, high = ends
    ticks = [tick for tick in TICKS if low <= tick <= high]
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.set_xlabel(COMPUTED)
