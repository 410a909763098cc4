"""Rounds in which the server learns sums alone, in the simulator."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hashfed.config import Config
from hashfed.engines.checkpoint import load_checkpoint, save_checkpoint
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.server_round import ServerRound
from hashfed.engines.single_thread import single_thread
from hashfed.errors import HashfedError
from hashfed.runs.train import round_metrics
from hashfed.tasks.federated_data import FederatedData
from small import small_config, small_data


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with single_thread():
        yield


def secure_config(texts: Path, masks: bool = False, **groups: Any) -> Config:
    tree: dict[str, Any] = {
        "retrieval": {"method": "frequency"},
        "selection": {"budget": 0.3, "delivery": "secure", "planes": 6} | groups.pop("selection", {}),
        "secure": {"masks": masks} | groups.pop("secure", {}),
    }
    return small_config(texts, **(tree | groups))


def played(
    config: Config, data: FederatedData[Any], rounds: int = 3
) -> tuple[list[Any], dict[str, torch.Tensor]]:
    """Lines of metrics and the state after some rounds."""
    with Simulation(config, data) as simulation:
        lines = [round_metrics(simulation.run_round()) for _ in range(rounds)]
        return lines, {name: value.clone() for name, value in simulation.state.tensors().items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert set(one) == set(other)
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


SETTINGS: list[dict[str, Any]] = [
    {},
    {"secure": {"rows": "common"}},
    {"retrieval": {"method": "random"}, "selection": {"budget": 0.2}},
    {"retrieval": {"method": "full"}},
    {"selection": {"planes": 0}},
    {"selection": {"correction": "none", "sampling": "top"}},
    {"server": {"clip": 0.05}},
    {"server": {"weighting": "uniform"}, "client": {"epochs": 2}},
    {"server": {"row_moments": "lazy"}, "secure": {"bits": 12}},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_masks_change_no_bit(texts: Path, settings: dict[str, Any]) -> None:
    data = small_data(texts)
    plain, masked = (played(secure_config(texts, masks, **_copy(settings)), data) for masks in (False, True))
    assert_equal(plain[1], masked[1])
    for one, other in zip(plain[0], masked[0], strict=True):
        assert {**one, "bytes": 0} == {**other, "bytes": 0}
        assert set(other["bytes"]) == {
            "public-keys",
            "roster-part",
            "key-shares",
            "common",
            "inbox",
            "masked-vector",
            "survivors",
            "unmasking",
        }


def _copy(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: dict(group) for name, group in settings.items()}


def test_all_rows_for_all_is_the_full_model_but_for_rounding(texts: Path) -> None:
    data = small_data(texts)
    secure = {"delivery": "secure", "planes": 0}
    _, full = played(small_config(texts, retrieval={"method": "full"}), data, 4)
    _, fine = played(
        secure_config(texts, retrieval={"method": "full"}, selection=secure, secure={"bits": 24}), data, 4
    )
    _, coarse = played(
        secure_config(texts, retrieval={"method": "full"}, selection=secure, secure={"bits": 12}), data, 4
    )
    start = dict(played(small_config(texts, retrieval={"method": "full"}), data, 0)[1])
    for name in (name for name in full if name.startswith("parameters.")):
        moved = float((full[name] - start[name]).norm())
        assert float((fine[name] - full[name]).norm()) < 0.02 * moved
        assert float((coarse[name] - full[name]).norm()) < 1.0 * moved


@pytest.mark.parametrize("rows", ["all", "common"])
def test_it_learns(texts: Path, rows: str) -> None:
    config = secure_config(texts, secure={"rows": rows}, client={"learning_rate": 0.5}, cohort=8)
    with Simulation(config, small_data(texts)) as simulation:
        before = simulation.evaluate()["nll"]
        losses = [simulation.run_round().loss for _ in range(25)]
        after = simulation.evaluate()["nll"]
    assert after < before - 0.1
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_workers_and_resuming_change_nothing(texts: Path, tmp_path: Path) -> None:
    data = small_data(texts)
    config = secure_config(texts, masks=True)
    _, whole = played(config, data, 4)
    _, parallel = played(config.model_copy(update={"workers": 2}), data, 4)
    assert_equal(whole, parallel)
    with Simulation(config, data) as simulation:
        for _ in range(2):
            simulation.run_round()
        save_checkpoint(tmp_path, simulation.state)
    with Simulation(config, data) as simulation:
        load_checkpoint(tmp_path, simulation.state)
        for _ in range(2):
            simulation.run_round()
        assert_equal(whole, simulation.state.tensors())


def test_messages_of_a_kind_have_one_size_whatever_clients_hold(
    texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashfed.engines.local import lockstep
    from hashfed.federated import wire

    sizes: dict[str, set[int]] = {}
    original = lockstep.play_lockstep

    def watched(server: ServerRound, end: Any, ask: Any) -> Any:
        def seen(*arguments: Any) -> Any:
            for told in arguments[1].values():
                for message in told:
                    sizes.setdefault(message.kind, set()).add(wire.size(message))
            for name, answered in ask(*arguments):
                sizes.setdefault(answered.message.kind, set()).add(len(wire.encode(answered.message)))
                yield name, answered

        return original(server, end, seen)

    monkeypatch.setattr("hashfed.engines.local.simulator.play_lockstep", watched)
    lines, _ = played(secure_config(texts, masks=True, cohort=8), small_data(texts), 2)
    assert {kind: len(found) for kind, found in sizes.items()} == dict.fromkeys(sizes, 1)
    assert len(sizes) == 7
    assert all(lines[0]["bytes"][kind] == 8 * size for kind, (size,) in sizes.items())


def test_a_poisoned_sum_is_refused_and_named_as_a_round(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hashfed.federated import contribution

    config = secure_config(texts, server={"clip": 0.05})
    with Simulation(config, small_data(texts)) as simulation:
        simulation.run_round()
        before = {name: value.clone() for name, value in simulation.state.tensors().items()}
        honest = contribution.contribute

        name = next(iter(simulation.state.parameters.body))
        monkeypatch.setattr(
            contribution,
            "contribute",
            lambda *arguments: _moved(honest(*arguments), f"body.{name}"),
        )
        with pytest.raises(
            HashfedError, match=r"^round 2: the mean of the cohort's updates has norm .* server\.clip"
        ):
            simulation.run_round()
        assert_equal(before, simulation.state.tensors())
        assert simulation.state.round == 1
        monkeypatch.setattr(contribution, "contribute", honest)
        assert simulation.run_round().round == 2


def _moved(found: Any, name: str) -> Any:
    found.values[name] = found.values[name] + 1e6
    return found


def test_a_client_that_was_sent_another_model_spoils_the_sum_and_tells_nothing(
    texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashfed.federated.sum_secrets import SumSecrets

    honest, masked = SumSecrets.mask, list[int]()

    def first_has_another(self: SumSecrets, inbox: Any, vector: np.ndarray, told: bytes) -> Any:
        masked.append(len(vector))
        return honest(self, inbox, vector, bytes(31) + b"x" if len(masked) == 1 else told)

    monkeypatch.setattr(SumSecrets, "mask", first_has_another)
    with Simulation(secure_config(texts, masks=True), small_data(texts)) as simulation:
        before = {name: value.clone() for name, value in simulation.state.tensors().items()}
        # Its number of predictions is as much noise as all else; it is within what clients can have
        # once in some 10^5 times.
        with pytest.raises(
            HashfedError,
            match=r"^round 1: a sum over 5 clients with .* predictions, .* none that they can have made",
        ):
            simulation.run_round()
        assert_equal(before, simulation.state.tensors())
    assert len(masked) == 5


def test_every_number_of_what_clients_get_is_in_its_digest(texts: Path) -> None:
    from dataclasses import replace

    from hashfed.engines.budget import build_model
    from hashfed.engines.client_round import ClientRound
    from hashfed.engines.common_plan import fresh_known
    from hashfed.federated import wire
    from hashfed.federated.messages import Common
    from hashfed.randomness import stream
    from hashfed.retrieval import build_index

    config, data = secure_config(texts, server={"clip": 1.0}), small_data(texts)
    parameters = build_model(config).init(dict(data.sizes), stream(0, "init"))
    index = build_index(parameters.rows, config.retrieval, data.label_counts, 0)
    here = ClientRound(config, build_model(config), data.train[0], 1, parameters.sizes)
    known = fresh_known(config, here.shape, parameters.rows)
    common = ServerRound.of(config, parameters, index, 1, data.label_counts, known).common()
    there = wire.decode(wire.encode(common))
    assert isinstance(there, Common)
    assert there.digest == common.digest
    assert replace(common, round=2).digest != common.digest
    for name, value in common.tensors().items():
        other = wire.decode(wire.encode(common))
        assert isinstance(other, Common)
        other.tensors()[name].view(-1)[0] += 1
        assert other.digest != common.digest, name
        assert value.numel() > 0


def test_a_client_that_diverges_adds_nothing_and_is_not_known(
    texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashfed.errors import ClientDivergedError
    from hashfed.federated import contribution

    config, data = secure_config(texts, masks=True), small_data(texts)
    honest, played = contribution.contribute, list[int]()

    def second_diverges(*arguments: Any) -> Any:
        played.append(1)
        if len(played) == 2:
            raise ClientDivergedError("the training diverged")
        return honest(*arguments)

    monkeypatch.setattr(contribution, "contribute", second_diverges)
    with Simulation(config, data) as simulation:
        record = simulation.run_round()
    assert (record.diverged, len(record.reports)) == (1, 5)
    assert len({str(report.bytes) for report in record.reports}) == 1


def test_where_all_diverge_the_round_is_refused(texts: Path) -> None:
    config = secure_config(texts, client={"learning_rate": 1e30})
    with (
        Simulation(config, small_data(texts)) as simulation,
        pytest.raises(
            HashfedError, match=r"^round 1: the training of all 5 clients diverged: lower client\.learning"
        ),
    ):
        simulation.run_round()


def test_ranges_follow_the_sum_and_nothing_is_cut_for_long(texts: Path) -> None:
    """The body's numbers are divided in place on the way to the mean; the ranges are those of the sum."""
    config = secure_config(texts, client={"learning_rate": 0.5}, cohort=8)
    with Simulation(config, small_data(texts)) as simulation:
        shares = [simulation.run_round().saturated for _ in range(25)]
    assert all(share is not None and share < 1e-3 for share in shares[5:])


@pytest.mark.parametrize("bits", [8, 16])
def test_clients_that_clip_are_not_refused_whatever_the_rounding(texts: Path, bits: int) -> None:
    config = secure_config(texts, server={"clip": 0.05}, secure={"bits": bits}, cohort=8)
    with Simulation(config, small_data(texts)) as simulation:
        for _ in range(12):
            assert simulation.run_round().clipped is not None
        known = simulation.state.known
    assert known is not None
    plan_most = 0.05 * 6 * 7
    assert float(known.ranges[0]) <= plan_most


def test_a_roster_for_other_vectors_or_too_few_neighbours_is_refused(texts: Path) -> None:
    from dataclasses import replace

    from hashfed.federated.privacy.context import Context
    from hashfed.federated.privacy.parameters import choose
    from hashfed.federated.privacy.server import SecureSum
    from hashfed.federated.sum_secrets import SumSecrets

    context, names = Context(bytes(32), 1, "updates", bytes(32)), [f"c{number}" for number in range(16)]
    server = SecureSum(context, names, lambda clients: choose(clients, 16, 10))
    secrets = {name: SumSecrets() for name in names}
    for name, held in secrets.items():
        server.take_keys(name, held.advertise(context))
    part = server.rosters()["c0"]
    changes: list[tuple[dict[str, Any], str]] = [
        ({"value_bits": 7}, "value_bits = 7: must be 16"),
        ({"length": 9}, "length = 9: must be 10"),
        ({"neighbours": 7, "threshold": 5}, "7 neighbours of each of 16 clients: must be 15 up to 128"),
    ]
    for change, message in changes:
        with pytest.raises(HashfedError, match=message):
            secrets["c0"].share(replace(part, **change), 16, 16, 10)
    with pytest.raises(HashfedError, match="16 clients: must be at most cohort = 5"):
        secrets["c0"].share(part, 5, 16, 10)
    assert secrets["c0"].share(part, 16, 16, 10).round == 1


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"server": {"row_average": "holders"}}, "server.row_average = holders: must be cohort"),
        ({"compression": {"updates": "int8"}}, "compression.updates = int8: must be none"),
        ({"compression": {"rows": "float16"}}, "compression.rows none, not float16"),
        ({"selection": {"points": "sketch"}}, "selection.points = sketch: must be keys"),
        ({"selection": {"sampling": "top", "oversample": 2.0}}, "selection.oversample = 2: must be 1"),
        ({"retrieval": {"method": "exact"}}, "needs retrieval.method full, random, frequency, not exact"),
        ({"retrieval": {"method": "frequency", "counts": "declared"}}, "needs retrieval.counts public"),
        ({"flower": {"evaluation": "clients"}}, "flower.evaluation = clients: must be server"),
        ({"device": "cuda"}, "device = cuda: must be cpu with selection.delivery secure"),
        ({"secure": {"bits": 7}}, "secure.bits = 7"),
        ({"secure": {"bits": 24}, "cohort": 257}, "cohort = 257 clients would have 33 bits, more than 32"),
        ({"secure": {"masks": True}, "cohort": 2}, "cohort = 2: must be at least 3 for a sum under masks"),
        ({"secure": {"range": 0}}, "secure.range = 0"),
    ],
    ids=str,
)
def test_what_does_not_go_with_sums_is_refused(texts: Path, groups: dict[str, Any], message: str) -> None:
    with pytest.raises(HashfedError, match=message.replace(".", r"\.")):
        secure_config(texts, **groups)


def test_its_settings_need_it(texts: Path) -> None:
    with pytest.raises(
        HashfedError, match=r"secure\.bits = 12: has no effect without selection\.delivery secure"
    ):
        small_config(texts, secure={"bits": 12})


def test_the_engine_for_a_batch_says_that_it_cannot(texts: Path) -> None:
    from hashfed.engines.choose import make_simulation

    config = secure_config(texts, engine="cohort")
    with pytest.raises(
        HashfedError, match=r"engine = cohort: selection\.delivery = secure .* must be clients"
    ):
        make_simulation(config, small_data(texts))
