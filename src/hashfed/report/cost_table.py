"""A client's cost as plain text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from hashfed.federated.protocols import ways
from hashfed.models import MODELS, ModelSettings
from hashfed.report.columns import print_columns


def print_cost(result: Mapping[str, Any], file: TextIO) -> None:
    """Print what ``cost.run.bill`` found.

    Costs are of one client in one round; memory is above the libraries, predicted and, where it was
    measured, measured.
    """
    config, clients = result["config"], result["clients"]
    method, selection = config["retrieval"]["method"], config["selection"]
    model = MODELS[config["model"]["name"]]
    share = "" if method == "full" else f" at {_held(selection)}"
    print(f"{config['data']['source']}, {result['rows']:,} rows; {method}{share}", file=file)
    print_columns([("one client, round 1", *clients), *_client_lines(list(clients.values()))], file)
    print(f"\nbudgets, busiest client of {result['train_clients']:,}; × is the ratio to full", file=file)
    print_columns(list(_budget_lines(result["budgets"])), file)
    print(
        f"\nhow rows reach a client (selection.delivery), busiest client; {_sameness(result['deliveries'])}",
        file=file,
    )
    print_columns(list(_delivery_lines(result["deliveries"])), file)
    for name, entry in result["deliveries"].items():
        print(f"{name}: {entry.get('refused') or 'the server learns ' + entry['learns']}", file=file)
    if "largest" in result:
        limits = {name: value for name, value in result["largest"]["limits"].items() if value is not None}
        text = ", ".join(f"{name} ≤ {value / 1e6:.2f} MB" for name, value in limits.items())
        print(f"\nlargest models with {text}", file=file)
        print_columns(list(_found_lines(result["largest"]["found"], model)), file)
    if result["same_memory"] is not None:
        print(
            "\nlargest models at this budget in the memory of the full model (paper, section 3.3)", file=file
        )
        print_columns(list(_found_lines(**result["same_memory"], model=model)), file)
    print("\nEnergy is left out: it is not measured.", file=file)


def _client_lines(costs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A line for each cost, a column for each client."""

    def line(name: str, cells: Sequence[str]) -> tuple[str, ...]:
        return (name, *cells)

    for name in ("examples", "predictions", "own_rows", "rows", "planes"):
        if name != "planes" or any(cost[name] for cost in costs):
            yield line(name.replace("_", " "), [f"{cost[name]:,}" for cost in costs])
    for name in ("body", "rows", "inputs"):
        if name != "inputs" or any(cost["parameters"][name] for cost in costs):
            yield line(f"parameters, {name}", [f"{cost['parameters'][name]:,}" for cost in costs])
    for kind, way in ways().items():
        if any(kind in cost["bytes"] for cost in costs):
            yield line(f"{kind} ({way}), bytes", [f"{cost['bytes'].get(kind, 0):,}" for cost in costs])
    for way in ("down", "up"):
        yield line(f"bytes {way}", [f"{cost[f'bytes_{way}']:,}" for cost in costs])
    if all("flower" in cost for cost in costs):
        for exchange in dict.fromkeys(name for cost in costs for name in cost["flower"]):
            for way in ("down", "up"):
                cells = [f"{cost['flower'].get(exchange, {}).get(way, 0):,}" for cost in costs]
                yield line(f"Flower, {exchange} ({way}), bytes", cells)
    for step in ("hash", "drop", "train", "planes", "points"):
        if any(cost["flops"][step] for cost in costs):
            yield line(f"{step}, GFLOP", [f"{cost['flops'][step] / 1e9:.2f}" for cost in costs])
    for step in ("retrieve", "planes", "tail"):
        if any(cost["server_flops"][step] != 0 for cost in costs):
            yield line(f"server: {step}, GFLOP", [_giga(cost["server_flops"][step]) for cost in costs])
    yield line("memory predicted, MB", [_mega(cost["memory_predicted"]) for cost in costs])
    yield line("its peak", [cost["memory_peak_phase"] for cost in costs])
    if all("memory_measured" in cost for cost in costs):
        yield line("memory measured, MB", [_mega(cost["memory_measured"]) for cost in costs])
        yield line("predicted ÷ measured", [f"{cost['predicted_to_measured']:.2f}" for cost in costs])


def _budget_lines(entries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A line for each budget."""
    measured = all("memory_measured" in entry for entry in entries)
    memories = {"predicted": "memory_predicted"} | ({"measured": "memory_measured"} if measured else {})
    columns = ["rows", "parameters", "×", "down MB", "×", "up MB", "×", "GFLOP", "×", "server GFLOP"]
    flower = all("flower" in entry for entry in entries)
    for name in memories:
        columns += [f"{name} MB", "×"]
    if flower:
        columns += ["Flower down MB", "up MB"]
    yield ("budget", *columns)
    for entry in entries:
        ratio = entry["ratio_to_full"]
        cells = [f"{entry['rows']:,}", f"{entry['parameters']['all']:,}", f"{ratio['parameters']:.2f}"]
        for way in ("bytes_down", "bytes_up"):
            cells += [f"{entry[way] / 1e6:.2f}", f"{ratio[way]:.2f}"]
        cells += [f"{sum(entry['flops'].values()) / 1e9:.2f}", f"{ratio['flops']:.2f}"]
        cells += [_giga(_sum(entry["server_flops"].values()))]
        for memory in memories.values():
            cells += [_mega(entry[memory]), f"{ratio[memory]:.2f}"]
        if flower:
            for way in ("down", "up"):
                cells.append(f"{sum(item[way] for item in entry['flower'].values()) / 1e6:.2f}")
        yield (f"{_named(entry['budget'])} {entry['method']}", *cells)


def _delivery_lines(deliveries: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A line for each way in which rows reach a client."""
    yield ("delivery", "down MB", "up MB", "requests", "rows held", "planes")
    for name, entry in deliveries.items():
        if "refused" in entry:
            yield (name, "–", "–", "–", "–", "–")
            continue
        moved = [f"{entry[way] / 1e6:.2f}" for way in ("bytes_down", "bytes_up")]
        requests = f"{entry['requests']:,}" if entry["requests"] else "–"
        yield (name, *moved, requests, f"{entry['rows_held']:,}", f"{entry['planes'] or '–'}")


def _found_lines(
    found: Mapping[str, Any], model: type[ModelSettings], full: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, ...]]:
    """A line for each setting that was made as large as possible, after one for the full model."""
    yield ("what grows", "to", "rows of all", "parameters", "down + up MB", "predicted MB")
    if full is not None:
        yield ("(full model)", "", *_size_cells(full))
    for setting, entry in found.items():
        name = " = ".join([setting, *model.along.get(setting.removeprefix("model."), ())])
        if entry is None:
            yield (name, "nothing fits", "", "", "", "")
            continue
        value = f"{entry['value']:,}" if isinstance(entry["value"], int) else f"{entry['value']:.4g}"
        yield (name, "no limit" if entry["unlimited"] else value, *_size_cells(entry))


def _size_cells(cost: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{cost['rows']:,} of {cost['total_rows']:,}",
        f"{cost['parameters']['all']:,}",
        f"{(cost['bytes_down'] + cost['bytes_up']) / 1e6:.2f}",
        _mega(cost["memory_predicted"]),
    )


def _held(selection: Mapping[str, Any]) -> str:
    """Such as ``0.1 of the rows``."""
    extra = selection["extra"]
    if extra is None:
        return f"{selection['budget']:.4g} of the rows"
    return f"own rows and {extra:.4g} of all" if extra < 1 else f"own rows and {extra:,.0f} others"


def _named(budget: float | str) -> str:
    return budget if isinstance(budget, str) else f"{budget:.4g}"


def _sameness(deliveries: Mapping[str, Mapping[str, Any]]) -> str:
    """Which of them train alike."""
    possible = {name: entry for name, entry in deliveries.items() if "refused" not in entry}
    apart = possible.pop("secure", None)
    planes = [entry["planes"] > 0 for entry in possible.values()]
    said = []
    if any(planes) and not all(planes):
        said.append("without planes of the tail the sample alone stands for it")
    elif apart is None:
        said.append("the numbers are the same")
    elif len(possible) > 1:
        said.append(f"the numbers are the same with {', '.join(possible)}")
    if apart is not None:
        said.append("with secure they are others: all have the same rows and planes, and add rounded changes")
    return "; ".join(said)


def _sum(counts: Iterable[int | None]) -> int | None:
    """None where one is not known."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)


def _giga(count: int | None) -> str:
    return "–" if count is None else f"{count / 1e9:.2f}"


def _mega(count: float) -> str:
    return f"{count / 1e6:.1f}"
