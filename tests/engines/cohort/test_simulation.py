"""A cohort as one batch: chunks, orders, resuming, what is refused, and what it does not do within a step."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hashfed import train
from hashfed.config import Config, make_config
from hashfed.engines.choose import make_simulation
from hashfed.engines.cohort import simulation as engine
from hashfed.engines.cohort import training
from hashfed.engines.cohort.arithmetic import arithmetic
from hashfed.engines.cohort.chunks import Memory
from hashfed.engines.cohort.simulation import CohortSimulation
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.rounds import draw_cohort
from hashfed.engines.single_thread import single_thread
from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError, HashfedWarning
from hashfed.federated.shared_step import shared_step
from hashfed.federated.stacked_client import Held, StackedModel, train_stacked
from hashfed.models import Parameters
from hashfed.stopping import Interrupted
from small import small_config, small_data

COHORT = {"engine": "cohort"}


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with single_thread():
        yield


def parameters(config: Config, texts: Path, rounds: int = 3) -> dict[str, torch.Tensor]:
    with CohortSimulation(config, small_data(texts)) as simulation:
        for _ in range(rounds):
            simulation.run_round()
        return simulation.state.parameters.named()


def assert_near(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_small_chunks_give_the_same(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fits: one client at a time, and some predictions of a client at a time."""
    groups: dict[str, Any] = {"retrieval": {"method": "frequency"}, "server": {"optimizer": "fedavg"}}
    whole = parameters(small_config(texts, **groups), texts)
    sizes = []
    real = training.train_members

    def noted(members: Any, *others: Any) -> Any:
        sizes.append(len(members))
        return real(members, *others)

    monkeypatch.setattr(engine, "train_members", noted)
    assert_near(whole, parameters(small_config(texts, device_memory=2**20, **COHORT, **groups), texts))
    assert max(sizes) > 1
    sizes.clear()
    monkeypatch.setattr("hashfed.engines.cohort.chunks.Memory.most_logits", 40)
    monkeypatch.setattr("hashfed.engines.cohort.chunks.LESS", 1)
    assert_near(whole, parameters(small_config(texts, **groups), texts))
    assert sizes.count(1) > 5


def test_large_logits_are_shifted(texts: Path) -> None:
    """Exponentials that overflow: noticed after the chunk, which is played again; as the simulator does."""
    config = small_config(texts, retrieval={"method": "full"}, server={"optimizer": "fedavg"})
    data, losses = small_data(texts), []
    for make in (Simulation, CohortSimulation):
        with make(config, data) as simulation:
            simulation.state.parameters.rows.mul_(60)
            losses.append(simulation.run_round().loss)
    assert losses[0] > 20
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_it_is_resumed_to_the_same_bits(texts: Path, tmp_path: Path) -> None:
    groups: dict[str, Any] = {**COHORT, "compression": {"updates": "int8", "error_feedback": True}}
    for name, rounds in (("long", 4), ("short", 2), ("short", 4)):
        config = small_config(texts, output=str(tmp_path / name), rounds=rounds, **groups)
        train(config, measure_memory=False)
    one, other = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("long", "short"))
    assert one == other
    states = [file for name in ("long", "short") for file in (tmp_path / name).rglob("round-*.safetensors")]
    assert [state.name for state in states] == ["round-000004.safetensors"] * 2
    assert states[0].read_bytes() == states[1].read_bytes()
    line = json.loads((tmp_path / "long" / "metrics.jsonl").read_text().splitlines()[0])
    assert 0 <= line["padding"] < 1


def test_clients_in_another_order_change_rounding_alone(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(texts, retrieval={"method": "random"}, server={"optimizer": "fedavg"})
    straight = parameters(config, texts)
    monkeypatch.setattr(engine, "draw_cohort", lambda *args: draw_cohort(*args)[::-1])
    assert_near(straight, parameters(config, texts))


def test_memory_that_runs_out_is_halved_once(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(texts, retrieval={"method": "random"}, server={"optimizer": "fedavg"})
    expected, real, asked = parameters(config, texts), training.train_members, []

    def small_memory(members: Any, *others: Any) -> Any:
        asked.append(len(members))
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return real(members, *others)

    monkeypatch.setattr(engine, "train_members", small_memory)
    with pytest.warns(HashfedWarning, match=r"memory ran out with \d clients .*20.00 GiB"):
        found = parameters(config, texts)
    assert_near(expected, found)

    def no_memory(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(engine, "train_members", no_memory)
    with pytest.warns(HashfedWarning), pytest.raises(HashfedError, match="the GPU's memory ran out"):
        parameters(config, texts)


def test_a_stop_leaves_the_state(texts: Path) -> None:
    with CohortSimulation(small_config(texts), small_data(texts), stop=lambda: True) as simulation:
        before = simulation.state.parameters.clone().named()
        with pytest.raises(Interrupted):
            simulation.run_round()
        assert simulation.state.round == 0
        assert all(torch.equal(before[name], of) for name, of in simulation.state.parameters.named().items())


ONE_STEP: dict[str, Any] = {
    "retrieval": {"method": "full"},
    "client": {"batch_size": 100},
    "server": {"optimizer": "fedavg", "learning_rate": 1.0},
}


def test_clients_that_share_a_step_are_stopped(texts: Path) -> None:
    asked = iter([False, False, False, True])
    data = small_data(texts)
    with CohortSimulation(small_config(texts, **ONE_STEP), data, stop=lambda: next(asked)) as simulation:
        simulation.run_round()
        with pytest.raises(Interrupted):
            simulation.run_round()
        assert simulation.state.round == 1


def test_a_client_that_diverges_in_a_shared_step_is_named(texts: Path) -> None:
    config = small_config(texts, **{**ONE_STEP, "client": {"batch_size": 100, "learning_rate": 1e38}})
    with CohortSimulation(config, small_data(texts)) as simulation:
        before = {name: value.clone() for name, value in simulation.state.tensors().items()}
        with pytest.raises(HashfedError, match=r"round 1: client c\d+: returned a change of .* not finite"):
            simulation.run_round()
        after = simulation.state.tensors()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_client_whose_queries_are_not_finite_is_named(texts: Path) -> None:
    with CohortSimulation(small_config(texts), small_data(texts)) as simulation:
        simulation.state.parameters.body["norm.bias"].fill_(torch.inf)
        with pytest.raises(HashfedError, match=r"round 1: client c\d+: its queries are not finite"):
            simulation.run_round()


@pytest.mark.parametrize("method", ["query-centroids", "frequency"])
def test_a_mistake_in_the_settings_is_nobody_s(method: str, texts: Path) -> None:
    config = small_config(texts, selection={"max_bytes": 1}, retrieval={"method": method})
    with (
        CohortSimulation(config, small_data(texts)) as simulation,
        pytest.raises(HashfedError, match=r"^selection.max_bytes = 1: one row takes 32 bytes"),
    ):
        simulation.run_round()


def test_clients_that_share_a_step_are_as_many_as_memory_holds(
    texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, real, sizes = small_config(texts, **ONE_STEP), shared_step, list[int]()
    whole = parameters(config, texts)

    def small_memory(*arguments: Any) -> Any:
        sizes.append(len(arguments[2]))
        if len(sizes) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return real(*arguments)

    monkeypatch.setattr(engine, "shared_step", small_memory)
    monkeypatch.setattr("hashfed.engines.cohort.chunks.CPU_BYTES", 1 << 18)
    with pytest.warns(HashfedWarning, match=r"memory ran out with \d clients"):
        found = parameters(config, texts)
    assert_near(whole, found)
    assert len(sizes) > 4
    assert min(sizes) < 5


def test_an_update_that_is_not_finite_is_named(texts: Path) -> None:
    config = small_config(texts, client={"learning_rate": 1e30}, retrieval={"method": "random"})
    data = small_data(texts)
    with CohortSimulation(config, data) as simulation:
        before = {name: value.clone() for name, value in simulation.state.tensors().items()}
        with pytest.raises(HashfedError, match=r"round 1: client c\d+: .*the training diverged"):
            simulation.run_round()
        assert simulation.state.round == 0
        after = simulation.state.tensors()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"memory_map": True}, "engine = cohort: memory_map = true"),
        (
            {"selection": {"delivery": "pre-generated"}, "retrieval": {"method": "simhash-union"}},
            "engine = cohort: selection.delivery = pre-generated",
        ),
        ({"cohort": 99}, "cohort = 99: must be at most the number of training clients"),
    ],
)
def test_what_it_cannot_play_is_named(settings: dict[str, Any], problem: str, texts: Path) -> None:
    with pytest.raises(HashfedError, match=problem):
        make_simulation(small_config(texts, **COHORT, **settings), small_data(texts))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"engine": "cohort", "workers": 2}, "workers = 2: must be 1 .or none. with engine cohort"),
        ({"precision": "tf32"}, "precision = tf32: must be float32"),
        ({"device": "cuda", "engine": "clients", "precision": "bfloat16"}, "precision = bfloat16"),
        ({"engine": "clients", "device_memory": 2**30}, "device_memory = 1073741824: has no effect"),
        ({"device_memory": 2**30}, "device_memory = 1073741824: has no effect"),
        ({"device_memory": 5}, "device_memory = 5"),
    ],
)
def test_settings_without_an_effect_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(HashfedError, match=problem):
        make_config(settings)


def test_auto_is_one_client_after_another_on_a_cpu(texts: Path) -> None:
    with make_simulation(small_config(texts), small_data(texts)) as simulation:
        assert isinstance(simulation, Simulation)
    with make_simulation(small_config(texts, **COHORT), small_data(texts)) as simulation:
        assert isinstance(simulation, CohortSimulation)


@pytest.mark.parametrize("setting", [{"precision": "tf32"}, {"device_memory": 2**30}])
def test_settings_of_a_batch_are_not_passed_over(setting: dict[str, Any], texts: Path) -> None:
    config = small_config(texts, device="cuda", memory_map=True, **setting)
    with pytest.raises(HashfedError, match=r"is of engine cohort, .*memory_map = true"):
        make_simulation(config, small_data(texts))


def test_padding_of_a_shared_step_is_told(texts: Path) -> None:
    with CohortSimulation(small_config(texts, **ONE_STEP), small_data(texts)) as simulation:
        padding = simulation.run_round().padding
    assert padding is not None
    assert 0 < padding < 0.5


class NoWaiting(TorchDispatchMode):
    """Fails where the host would wait for a device, or shapes depend on numbers."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "unique", "masked_select", "item", "equal.default")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__ if hasattr(func, "__name__") else str(func)
        assert not any(part in name for part in self.FORBIDDEN), name
        if name.startswith("index.") or name.startswith("index_put"):
            indices = [one for one in args[1] if one is not None]
            assert all(one.dtype != torch.bool for one in indices), name
        return func(*args, **(kwargs or {}))


def forbidding() -> NoWaiting:
    return NoWaiting()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("method", ["full", "query-centroids", "random"])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_nothing_is_waited_for_within_training(
    method: str, clip: float | None, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []

    def watched(model: Any, held: Any, batches: Any, *others: Any) -> Any:
        steps.append(len(batches))
        with forbidding():
            return train_stacked(model, held, batches, *others)

    monkeypatch.setattr(training, "train_stacked", watched)
    parameters(small_config(texts, retrieval={"method": method}, client={"clip": clip}), texts, rounds=1)
    assert sum(steps) > 1
    with pytest.raises(AssertionError, match="_local_scalar_dense"), forbidding():
        torch.ones(1).item()


def test_local_models_share_what_all_have(texts: Path) -> None:
    """Of the full table there is one, before clients train."""
    rows = torch.randn(7, 3)
    sent = Parameters({"output": rows}, {"bias": torch.zeros(3)})
    stacked = StackedModel.of(sent, [Held(None, None, {})] * 4, None)
    assert stacked.tables["output"].data_ptr() == rows.data_ptr()
    own = stacked.clone()
    own.tables["output"][0] += 1
    assert torch.equal(own.tables["output"][1], rows)


@pytest.mark.parametrize("clip", [None, 0.5])
def test_rows_that_are_none_stay_zero(
    clip: float | None, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would drift, with no weight, to where an exponential is infinite."""
    padded = []

    def watched(model: Any, held: StackedModel, *others: Any) -> Any:
        found = train_stacked(model, held, *others)
        if held.weights is not None:
            padded.append(held.tables["output"][held.weights == 0])
        return found

    monkeypatch.setattr(training, "train_stacked", watched)
    groups: dict[str, Any] = {"selection": {"extra": 0}, "client": {"clip": clip, "learning_rate": 1.0}}
    parameters(small_config(texts, **groups), texts, rounds=1)
    assert sum(len(rows) for rows in padded) > 3
    assert not any(rows.any() for rows in padded)


@dataclass
class FakeMember:
    """What ``Memory.chunks`` asks of a member."""

    steps: int
    positions: float
    rows: int = 1
    here: Any = field(default_factory=lambda: SimpleNamespace(declared=SimpleNamespace(inputs={})))


def test_no_client_is_padded_to_many_times_its_size_whoever_comes_first() -> None:
    """Clients with most steps come first, and those after them may have larger batches or smaller ones."""
    memory, model = Memory(1 << 20, 1, 1), SimpleNamespace(dimension=1, tables={})
    sizes = ((3, 10), (2, 1000), (2, 18), (2, 10), (1, 30), (1, 9), (1, 5), (1, 4))
    members: list[Any] = [FakeMember(steps, size) for steps, size in sizes]
    found = [[member.positions for member in chunk] for chunk in memory.chunks(members, model)]
    assert found == [[10], [1000], [18, 10, 30], [9, 5], [4]]


def test_arithmetic_is_left_as_it_was() -> None:
    """Also that of whoever only wants to be warned."""
    config = make_config({"device": "cuda", "precision": "tf32"})
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with arithmetic(config):
            assert torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("batch_size", [2, 100])
def test_layers_below_the_output_may_be_bfloat16(batch_size: int, texts: Path) -> None:
    """Of whoever trains on a model of its own, and of clients that share a step."""
    config = small_config(texts, **{**ONE_STEP, "client": {"batch_size": batch_size}})
    exact = parameters(config, texts, rounds=1)
    rounded = parameters(config.model_copy(update={"precision": "bfloat16"}), texts, rounds=1)
    assert not torch.equal(exact["body.norm.weight"], rounded["body.norm.weight"])
    for name, value in exact.items():
        torch.testing.assert_close(rounded[name], value, rtol=0, atol=2e-2, msg=name)


def test_one_client_that_is_too_much_is_cut_into_pieces(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the memory is half of the logits at a time."""
    real, asked = training.train_members, list[int]()

    def small_memory(*arguments: Any) -> Any:
        asked.append(arguments[-1])
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return real(*arguments)

    monkeypatch.setattr(engine, "train_members", small_memory)
    with pytest.warns(HashfedWarning, match="memory ran out with 1 client as one batch"):
        parameters(small_config(texts, cohort=1), texts, rounds=1)
    assert asked[1] == asked[0] // 2


def test_what_is_remembered_of_messages_is_bounded(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashfed.engines.cohort.traffic.MOST_KNOWN", 2)
    with CohortSimulation(small_config(texts, selection={"extra": 0}), small_data(texts)) as simulation:
        simulation.run_round()
        assert 0 < len(simulation._traffic._known) <= 2


def test_a_model_that_a_gpu_cannot_hold_is_said_to_be(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def to(self: ServerState, device: str) -> ServerState:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(ServerState, "to", to)
    with pytest.raises(HashfedError, match=r"^the GPU's memory ran out .20.00 GiB"):
        CohortSimulation(small_config(texts), small_data(texts))
