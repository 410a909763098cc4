import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import StringIO
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from hashfed.bench import cells, device
from hashfed.bench.device import ENGINE, PLAIN, PRODUCTS, Plan, bench_device
from hashfed.bench.products import OPERATIONS, REPETITIONS, Products
from hashfed.bench.table import print_device_table
from hashfed.bench.timing import Clock, TimeLimit
from hashfed.bench.work import Work, random_work, steps_of
from hashfed.config import Config
from hashfed.cost.budgets import Budget, OwnAnd
from hashfed.engines.cohort.simulation import CohortSimulation
from hashfed.engines.rounds import RoundRecord
from hashfed.models import TransformerSettings
from hashfed.stopping import Interrupted
from small import small_config, small_data

BUDGETS: tuple[Budget, ...] = (1.0, 0.5, OwnAnd(0.1))


def ticking(step: float = 1e-3) -> Clock:
    """Goes on whenever it is looked at."""
    times: Iterator[int] = count()
    return lambda: step * next(times)


@pytest.fixture
def work(texts: Path) -> Work:
    return Work("texts", small_config(texts), None, lambda: small_data(texts))


@pytest.fixture
def plan(work: Work, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(cells, "MOST_ROUNDS", 2)
    return Plan([work], BUDGETS, (3, 5), "cpu", 1000, quick=False)


def of(result: dict[str, Any], what: str) -> list[dict[str, Any]]:
    return [cell for cell in result["cells"] if cell["what"] == what]


def reasons(result: dict[str, Any]) -> set[str | None]:
    """Why cells of the engine are left out; None: they are not."""
    return {cell.get("left_out") for cell in of(result, ENGINE)}


def test_every_cell_is_measured_and_told(plan: Plan) -> None:
    told = list[str]()
    result = bench_device(plan, ticking(), told.append)
    assert len(told) == 7
    (plain,) = of(result, PLAIN)
    assert (plain["rows"], plain["budget"], plain["cohort"]) == (44, "1", 1)
    expected = [(cohort, budget) for cohort in (3, 5) for budget in ("1", "0.5", "own+10%")]
    for what in (ENGINE, PRODUCTS):
        assert [(cell["cohort"], cell["budget"]) for cell in of(result, what)] == expected
    for cell in result["cells"]:
        speed = cell["steps_per_second"]
        assert 0 < speed["minimum"] <= speed["median"] <= speed["maximum"]
        assert cell["repetitions"] == (REPETITIONS if cell["what"] == PRODUCTS else 2)
    for cell in of(result, ENGINE):
        # By this clock a round takes as long as it is looked at, by the engine too, a few times.
        rounds = cell["rounds_per_second"]["median"]
        assert 100 < rounds < 1001
        assert cell["steps_per_second"]["maximum"] >= rounds * cell["cohort"]
        assert cell["predictions"] > cell["steps"]
    assert json.loads(json.dumps(result)) == result
    assert result["device"]["kind"] == "cpu"
    assert result["machine"]["python"].startswith("3.")
    assert set(result["peers"]) == {"pfl-research"}


def test_the_table_has_all_cells_and_why_some_are_left_out(plan: Plan) -> None:
    result = bench_device(replace(plan, cohorts=(3, 50)), ticking())
    result["peers"] = {"one": {"left_out": "not installed"}, "other": {"version": "1.2"}}
    file = StringIO()
    print_device_table(result, file)
    head, columns, *lines = file.getvalue().splitlines()
    assert head.startswith("cpu: ")
    assert "1 thread" in head
    assert columns.split()[:5] == ["clients", "rows", "budget", "cohort", "client-steps/s"]
    assert [line.split()[:3] for line in lines[:-2]] == [
        ["texts,", "plain", "PyTorch"],
        *([["texts", "44", budget] for budget in ("full", "full", "0.5", "0.5", "own+10%", "own+10%")]),
    ]
    train = len(plan.works[0].data.train)
    assert sum(line.endswith(f"left out: there are {train} training clients") for line in lines) == 3
    assert lines[-2:] == ["one: not installed", "other: 1.2"]


def test_rows_beyond_a_bound_are_left_out(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "FULL_ROWS", 43)
    result = bench_device(plan, ticking())
    assert of(result, PLAIN)[0]["left_out"] == "all rows are trained up to 43 on a CPU"
    assert ["left_out" in cell for cell in of(result, ENGINE)] == [True, False, False] * 2
    monkeypatch.setattr(device, "QUICK_ROWS", 43)
    assert {cell["left_out"] for cell in bench_device(replace(plan, quick=True), ticking())["cells"]} == {
        "--quick"
    }


def test_what_would_take_too_long_is_left_out(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "OVER_PRODUCTS", 1e9)
    result = bench_device(plan, ticking())
    engine, products = of(result, ENGINE), of(result, PRODUCTS)
    assert all(str(cell["left_out"]).startswith("would take ") for cell in engine)
    # Those of the smallest cohort are what tells.
    assert ["left_out" in cell for cell in products] == [False] * 3 + [True] * 3
    assert engine[3]["left_out"] == products[3]["left_out"]
    nothing = bench_device(replace(plan, seconds=0), ticking())
    assert {cell["left_out"] for cell in nothing["cells"]} == {"no time was left"}
    file = StringIO()
    print_device_table(nothing, file)
    assert file.getvalue().count("left out: no time was left") == 1


def test_a_round_that_takes_longer_than_expected_is_dropped(work: Work) -> None:
    config, limit = work.config(1.0, 3, "cpu"), TimeLimit(10, ticking(5), 1)
    found = cells.rounds_of_cohort(work, config, limit, 0.1)
    assert isinstance(found, cells.LeftOut)
    assert found.reason.startswith("would take ")


def test_a_stop_by_others_is_passed_on(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(self: CohortSimulation) -> None:
        raise Interrupted

    monkeypatch.setattr(CohortSimulation, "run_round", stopped)
    config, limit = work.config(1.0, 3, "cpu"), TimeLimit(1000, ticking(), 1)
    with pytest.raises(Interrupted):
        cells.rounds_of_cohort(work, config, limit, 0.1)


def test_lack_of_memory_is_a_cell_left_out(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(self: CohortSimulation) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(CohortSimulation, "run_round", lacking)
        assert reasons(bench_device(plan, ticking())) == {"out of memory"}
    monkeypatch.setattr(cells, "exceeds_memory", lambda size: size == 4 * cells.ROW_COPIES * 44 * 8)
    assert reasons(bench_device(plan, ticking())) == {"out of memory"}


def test_time_goes_to_many_cells_alike_and_to_one_no_more_than_a_part_of_it() -> None:
    now = 0.0
    limit = TimeLimit(100, lambda: now, 10)
    assert (limit.share, limit.most) == (10, 40)
    now, limit.cells = 60.0, 1
    assert (limit.left, limit.share, limit.most) == (40, 40, 40)
    now = 200.0
    assert (limit.left, limit.share, limit.spent) == (0, 0, 200)


def test_random_clients_have_the_papers_model_and_full_sentences() -> None:
    work = random_work(Config(), 30, 3)
    config = work.config(OwnAnd(0.01), 2, "cpu")
    model = TransformerSettings.of(config.model)
    assert (model.embedding, model.ffn, model.blocks) == (96, 1536, 3)
    assert (config.engine, config.cohort, config.selection.extra) == ("cohort", 2, 0.01)
    assert work.rows == work.data.size == 34
    drawn = work.drawn(config, 1)
    assert [examples.weight for examples in drawn] == [64 * 20] * 2
    assert steps_of(config, drawn) == 8
    assert sum(math.prod(layer) for layer in work.layers()) == 3 * 331_776
    assert work.held_rows(work.config(1.0, 2, "cpu")) == 34


def test_settings_but_data_and_model_hold_for_random_clients_too(texts: Path) -> None:
    settings = small_config(
        texts, retrieval={"method": "exact"}, server={"decay_rounds": 9}, client={"epochs": 3}
    )
    config = random_work(settings, 30, 3).config(0.5, 2, "cpu")
    assert config.retrieval.method == "exact"
    assert (config.model.dimension, config.client.epochs, config.client.batch_size) == (96, 1, 16)
    assert config.server.decay_rounds is None
    full = small_config(texts, retrieval={"method": "full"})
    assert random_work(full, 30, 3).config(0.5, 2, "cpu").retrieval.method != "full"


def test_products_are_of_all_clients_though_only_some_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATIONS, "cpu", 2 * 6 * 4 * 5 * 3)
    products = Products("cpu", ticking(1))
    # Two clients at once of the layer (4, 5), which takes a second; of (8, 5) one, which takes another.
    for rows, clients, expected in ((8, 6, 6 / (3 + 6)), (4, 2, 2 / 2)):
        speed = products.steps_per_second([(4, 5)], rows, 5, 3, clients)
        assert (speed.minimum, speed.median, speed.maximum) == pytest.approx((expected,) * 3)


@dataclass
class Played:
    """In place of a simulation: notes the size of each round's cohort."""

    config: Config
    data: Any
    stop: Any
    state: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(round=0))

    rounds: ClassVar[list[int]] = []

    def __enter__(self) -> "Played":
        return self

    def __exit__(self, *_: object) -> None: ...

    def run_round(self) -> RoundRecord:
        self.state.round += 1
        self.rounds.append(self.config.cohort)
        return RoundRecord(self.state.round, 1.0, [], padding=0.25)


@pytest.mark.parametrize(("where", "rounds"), [("cpu", [2, 5, 5]), ("cuda", [5, 5, 5])])
def test_rounds_that_warm_up_are_not_timed(
    where: str, rounds: list[int], work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "MOST_ROUNDS", 2)
    monkeypatch.setattr(cells, "CohortSimulation", Played)
    monkeypatch.setattr(cells, "synchronized", lambda device, clock: clock())
    monkeypatch.setattr(Played, "rounds", [])
    found = cells.rounds_of_cohort(work, work.config(0.5, 5, where), TimeLimit(1000, ticking(), 1), 0.1)
    assert Played.rounds == rounds
    assert isinstance(found, cells.Measured)
    assert (found.repetitions, found.padding) == (2, 0.25)
