"""How many operators a round takes as one batch, and with one client after another; prints JSON.

A GPU waits for operators that are shorter than their launch, and for a host that looks at a number. Both can
be counted on a CPU, and do not depend on the sizes of tables. Batches of examples are made on the host: they
are a part by themselves. ``seconds_of_launches``: all others, at 5 microseconds each, about what a launch
from Python takes; nothing was timed for it. As much is done at a time as on a GPU.

    python -m benchmarks.cohort_operators --cohort 64
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from hashfed.bench.synthetic import synthetic_text
from hashfed.config import make_config
from hashfed.engines.cohort import queries, selecting, simulation, training
from hashfed.engines.cohort.joined import JoinedExamples
from hashfed.engines.cohort.simulation import CohortSimulation
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.round_end import RoundEnd

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique")
"""Operators at which the host waits for a device."""
VIEWS = (
    "view",
    "expand",
    "select",
    "slice",
    "transpose",
    "permute",
    "t",
    "unsqueeze",
    "squeeze",
    "detach",
    "alias",
)
"""That launch nothing."""
LAUNCH = 5e-6
"""Seconds."""
BUDGETS: dict[str, dict[str, Any]] = {
    "full": {"retrieval": {"method": "full"}},
    "10%": {"selection": {"budget": 0.1}},
    "own + 1%": {"selection": {"extra": 0.01}},
}


class Count(TorchDispatchMode):
    """Counts operators by the part of the round in which they are."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.launches, self.waits = Counter[str](), Counter[str]()
        self.part = "other"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if any(part in name for part in WAITS):
            self.waits[self.part] += 1
        elif name.removesuffix("_copy") not in VIEWS and not name.startswith("_unsafe_view"):
            self.launches[self.part] += 1
        return func(*args, **(kwargs or {}))


def main() -> None:
    """Count, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cohort", type=int, default=64)
    parser.add_argument("--vocabulary", type=int, default=2000)
    parser.add_argument("--sentences", type=int, default=64, help="of each client, in batches of 16")
    parser.add_argument("--alone", action="store_true", help="count one batch alone, not clients one by one")
    arguments = parser.parse_args()
    data = synthetic_text(arguments.vocabulary, arguments.cohort, arguments.sentences, 20)
    found: dict[str, Any] = {"cohort": arguments.cohort, "steps": -(-arguments.sentences // 16)}
    for budget, groups in BUDGETS.items():
        config = make_config(
            {
                "data": {"vocabulary": arguments.vocabulary},
                "client": {"examples": arguments.sentences, "batch_size": 16},
                "cohort": arguments.cohort,
                "workers": 1,
                "device_memory": 2**40,  # one chunk, as on a large GPU
                "engine": "cohort",
                **groups,
            }
        )
        with limits_of_a_gpu():
            found[budget] = {"one batch": counted(CohortSimulation(config, data))}
        if not arguments.alone:
            one = config.model_copy(update={"engine": "clients", "device_memory": None})
            found[budget]["one after another"] = counted(Simulation(one, data))
    json.dump(found, sys.stdout, indent=1)
    print()


def counted(engine: CohortSimulation | Simulation) -> dict[str, Any]:
    """Of the second round."""
    with engine:
        engine.run_round()
        count = Count()
        with parts(count), count:
            engine.run_round()
    launches, waits = sum(count.launches.values()), sum(count.waits.values())
    on_host = count.launches[BATCHES]
    return {
        "launches": launches,
        "waits": waits,
        "seconds_of_launches": (launches - on_host) * LAUNCH,
        "by part": {part: [count.launches[part], count.waits[part]] for part in sorted(count.launches)},
    }


BATCHES = "batches, on the host"
PARTS: list[tuple[Any, str, str]] = [
    (JoinedExamples, "batch", BATCHES),
    (queries, "stacked", BATCHES),
    (training, "stacked", BATCHES),
    (simulation, "ask", "queries and keys"),
    (simulation, "select", "rows and planes"),
    (simulation, "train_members", "training"),
    (RoundEnd, "add_cohort", "sums"),
    (RoundEnd, "finish", "server's step"),
]


LIMITS = [(queries, "POSITIONS"), (selecting, "SCORES"), (selecting, "POWERS")]


@contextmanager
def limits_of_a_gpu() -> Iterator[None]:
    """Within this block as many numbers are held at a time as on a GPU."""
    before = [getattr(owner, f"CPU_{name}") for owner, name in LIMITS]
    for owner, name in LIMITS:
        setattr(owner, f"CPU_{name}", getattr(owner, f"GPU_{name}"))
    try:
        yield
    finally:
        for (owner, name), value in zip(LIMITS, before, strict=True):
            setattr(owner, f"CPU_{name}", value)


@contextmanager
def parts(count: Count) -> Iterator[None]:
    """Within this block the counter knows in which part of a round it is."""
    before = [getattr(owner, name) for owner, name, _ in PARTS]
    for (owner, name, part), function in zip(PARTS, before, strict=True):
        setattr(owner, name, within(function, count, part))
    try:
        yield
    finally:
        for (owner, name, _), function in zip(PARTS, before, strict=True):
            setattr(owner, name, function)


def within(function: Callable[..., Any], count: Count, part: str) -> Callable[..., Any]:
    """``function``, counted as this part."""

    def wrapper(*arguments: Any, **named: Any) -> Any:
        outer, count.part = count.part, part
        try:
            return function(*arguments, **named)
        finally:
            count.part = outer

    return wrapper


if __name__ == "__main__":
    main()
