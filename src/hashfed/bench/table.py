"""The cells as plain text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from hashfed.bench.device import ENGINE, PEER, PLAIN, PRODUCTS
from hashfed.hardware import show_bytes
from hashfed.report.columns import print_columns

HEADER = (
    "clients",
    "rows",
    "budget",
    "cohort",
    "client-steps/s",
    "(least – most)",
    "rounds/s",
    "rounds",
    "padding",
    "× plain",
    "products",
    "of products",
    "",
)


def print_device_table(result: Mapping[str, Any], file: TextIO) -> None:
    """Print what ``bench_device`` found.

    ``× plain`` is how many times the client-steps of the plain loop with all rows on the same clients;
    ``products`` are client-steps/s of the step's matrix products alone.
    """
    device, machine = result["device"], result["machine"]
    memory = "" if device["memory"] is None else f", {show_bytes(device['memory'])}"
    threads = "" if device["kind"] == "cuda" else ", 1 thread"
    print(
        f"{device['kind']}: {device['name']}{memory}{threads}; "
        f"{machine['system']}, {machine['cores']} cores, "
        f"Python {machine['python']}, torch {result['torch']}, hashfed {result['hashfed']}; "
        f"{result['seconds']:.0f} s",
        file=file,
    )
    print_columns([HEADER, *_lines(result["cells"])], file)
    for name, peer in result["peers"].items():
        print(f"{name}: {peer.get('left_out') or peer['version']}", file=file)


def _lines(cells: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """By clients, rows and budget; the plain loop and the peer first."""
    plain = {_whose(cell): cell for cell in cells if cell["what"] == PLAIN}
    products = {_which(cell): cell for cell in cells if cell["what"] == PRODUCTS}
    for whose, loop in plain.items():
        mine = [cell for cell in cells if cell["what"] == ENGINE and _whose(cell) == whose]
        if loop.get("left_out") and {cell.get("left_out") for cell in mine} == {loop["left_out"]}:
            yield _line(loop["clients"], {**loop, "budget": "any", "cohort": "any"}, None, None)
            continue
        yield _line(f"{loop['clients']}, {PLAIN}", loop, None, None)
        for cell in _joined([cell for cell in cells if cell["what"] == PEER and _whose(cell) == whose]):
            yield _line(f"{cell['clients']}, {PEER}", cell, loop, products.get(_which(cell)))
        budgets = list(dict.fromkeys(cell["budget"] for cell in mine))
        for cell in sorted(mine, key=lambda one: budgets.index(one["budget"])):
            yield _line(cell["clients"], cell, loop, products[_which(cell)])


def _joined(cells: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """One of any cohort, where all are left out for the same reason."""
    reasons = {cell.get("left_out") for cell in cells}
    return [{**cells[0], "cohort": "any"}] if len(reasons) == 1 and None not in reasons else cells


def _whose(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return cell["clients"], cell["rows"]


def _which(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return *_whose(cell), cell["budget"], cell["cohort"]


def _line(
    name: str, cell: Mapping[str, Any], loop: Mapping[str, Any] | None, floor: Mapping[str, Any] | None
) -> tuple[str, ...]:
    budget = "full" if cell["budget"] == "1" else cell["budget"]
    bare, slowest = _median(floor), _median(loop)
    products = "" if bare is None else _number(bare)
    start = name, f"{cell['rows']:,}", budget, f"{cell['cohort']}"
    if "left_out" in cell:
        return *start, "", "", "", "", "", "", products, "", f"left out: {cell['left_out']}"
    speed, rounds = cell["steps_per_second"], cell.get("rounds_per_second")
    return (
        *start,
        _number(speed["median"]),
        f"({_number(speed['minimum'])} – {_number(speed['maximum'])})",
        "" if rounds is None else f"{rounds['median']:.3g}",
        f"{cell['repetitions']}",
        f"{cell['padding']:.0%}" if "padding" in cell else "",
        "" if slowest is None else f"{speed['median'] / slowest:.2f}",
        products,
        "" if bare is None else f"{speed['median'] / bare:.0%}",
        "",
    )


def _median(cell: Mapping[str, Any] | None) -> float | None:
    return None if cell is None or "left_out" in cell else cell["steps_per_second"]["median"]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
