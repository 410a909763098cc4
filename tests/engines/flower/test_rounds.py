"""Rounds over Flower's Grid within one process: the simulator's numbers, and what faults do to them."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest
import torch
from flwr.app import Message, UserConfig

from hashfed.config import Config
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.rounds import RoundRecord
from hashfed.errors import HashfedError
from hashfed.federated.messages import SelectedRows
from hashfed.models import Parameters
from hashfed.runs import load_data
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary
from loopback import LoopbackGrid, partitions
from small import small_config, small_data, write_quoted


def simulate(
    config: Config, data: FederatedData[Vocabulary]
) -> tuple[list[RoundRecord], dict[str, float], Parameters]:
    with Simulation(config, data) as simulation:
        records = [simulation.run_round() for _ in range(config.rounds)]
        return records, simulation.evaluate(), simulation.state.parameters.clone()


METHODS: list[dict[str, object]] = [
    {"retrieval": {"method": "full"}},
    {"retrieval": {"method": "random"}},
    {"retrieval": {"method": "frequency"}, "selection": {"sampling": "top", "oversample": 1.3}},
    {"retrieval": {"method": "query-centroids", "refresh": 2}},
    {"retrieval": {"method": "query-centroids", "counts": "declared"}, "server": {"row_moments": "lazy"}},
    {"retrieval": {"method": "simhash-collisions"}, "server": {"row_average": "fedsubavg"}},
    {"retrieval": {"method": "simhash-union"}, "selection": {"correction": "none"}},
    {
        "retrieval": {"method": "query-codes"},
        "compression": {"rows": "bfloat16", "updates": "int8", "error_feedback": True},
        "server": {"clip": 0.05},
        "rounds": 6,
    },
    {"retrieval": {"method": "product-codes", "subspaces": 2}, "compression": {"updates": "float16"}},
    {"retrieval": {"method": "exact"}, "client": {"epochs": 2, "own_rows": "truncate"}},
]

PLANES: list[dict[str, object]] = [
    {"retrieval": {"method": "query-centroids", "refresh": 2}, "selection": {"extra": 0, "planes": 3}},
    {"retrieval": {"method": "query-codes", "precision": "bfloat16"}, "selection": {"planes": 40}},
    {"retrieval": {"method": "faiss", "neighbors": 5, "faiss_factory": "Flat"}, "server": {"clip": 0.1}},
    {"retrieval": {"method": "hnswlib", "neighbors": 5}, "server": {"row_average": "holders"}},
    {"retrieval": {"method": "frequency"}, "selection": {"points": "sketch", "extra": 4, "planes": 5}},
    {
        "retrieval": {"method": "random"},
        "selection": {"points": "sketch", "extra": 0.1, "planes": 5},
        "compression": {"rows": "float16", "updates": "int8", "error_feedback": True},
        "server": {"clip": 0.05},
        "client": {"clip": 0.5, "epochs": 2},
    },
    {
        "retrieval": {"method": "simhash-collisions", "refresh": 2},
        "selection": {"points": "sketch"},
        "server": {"row_average": "fedsubavg", "weighting": "uniform"},
        "memory_map": True,
    },
    {
        "retrieval": {"method": "simhash-union"},
        "selection": {"points": "sketch", "sampling": "top", "oversample": 1.2, "tail": 0.5},
        "server": {"clip": 0.05},
    },
]
"""Every kind of points, and what else the tail's change goes through."""

DELIVERIES: list[dict[str, object]] = [
    {"retrieval": {"method": "query-centroids"}, "selection": {"delivery": "broadcast"}},
    {"retrieval": {"method": "random"}, "selection": {"delivery": "broadcast"}},
    {"retrieval": {"method": "full"}, "selection": {"delivery": "broadcast"}},
    {
        "retrieval": {"method": "simhash-collisions"},
        "selection": {"delivery": "pre-generated"},
        "compression": {"updates": "int8", "error_feedback": True},
    },
    {
        "retrieval": {"method": "simhash-union"},
        "selection": {"delivery": "pre-generated", "sampling": "top", "oversample": 1.2},
    },
]


@pytest.mark.parametrize("groups", METHODS, ids=lambda groups: str(groups["retrieval"]["method"]))
def test_flower_is_the_simulator_bit_for_bit(texts: Path, groups: dict[str, object]) -> None:
    check_bits(texts, groups)


@pytest.mark.parametrize("groups", PLANES, ids=lambda groups: str(groups["retrieval"]["method"]))
def test_so_it_is_with_planes(texts: Path, tmp_path: Path, groups: dict[str, Any]) -> None:
    if groups["retrieval"]["method"] in ("faiss", "hnswlib"):
        pytest.importorskip(groups["retrieval"]["method"])
    grid = check_bits(texts, {"output": str(tmp_path / "run"), **groups})
    kinds = [
        records.unpack(message.content).messages for _, message in grid.sent if "head" in message.content
    ]
    sent = [
        cast(SelectedRows, found["rows"]) for boxes in kinds for found in boxes.values() if "rows" in found
    ]
    assert any(message.planes is not None for message in sent)


@pytest.mark.parametrize("groups", DELIVERIES)
def test_so_it_is_where_clients_select_by_themselves(
    texts: Path, tmp_path: Path, groups: dict[str, object]
) -> None:
    """Broadcasts, and slices in a folder; one exchange for a round."""
    grid = check_bits(texts, groups, slices=str(tmp_path / "slices"))
    kinds = {message.metadata.message_type for _, message in grid.sent}
    assert kinds == {"query.join", "train"}


def test_slices_come_from_any_web_server(texts: Path, tmp_path: Path) -> None:
    groups = DELIVERIES[-1]
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/slices"
            check_bits(texts, groups, slices=str(tmp_path / "slices"), slices_url=url)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.usefixtures("clock")
def test_a_slice_that_was_changed_is_not_trained_on(texts: Path, tmp_path: Path) -> None:
    """Whoever stores slices cannot change the model: the clients that needed this one fail, and say why."""
    data, folder = small_data(texts), tmp_path / "slices"
    groups = DELIVERIES[-1] | {"flower": {"clients": len(data.train), "slices": str(folder), "patience": 1}}
    config = small_config(texts, **groups)

    def damage(node: int, message: Message) -> None:
        if message.metadata.message_type == "train":
            for path in folder.glob("*/*"):
                path.write_bytes(bytes(path.stat().st_size))

    said: list[str] = []
    grid = LoopbackGrid(app, partitions(config.data.source), interrupt=damage)
    with FlowerRounds(grid, config, data, said.append) as rounds:
        before = rounds.state.parameters.clone()
        with pytest.raises(HashfedError, match="0 of 5 clients answered"):
            rounds.run_round()
        for name, value in rounds.state.parameters.named().items():
            assert torch.equal(value, before.named()[name])
    assert any("its bytes were changed" in line for line in said)


def check_bits(
    texts: Path, groups: dict[str, object], data: FederatedData[Vocabulary] | None = None, **flower: object
) -> LoopbackGrid:
    """A run in the simulator and over Flower."""
    data = data or small_data(texts)
    config = small_config(texts, flower={"clients": len(data.train)} | flower, **groups)
    records, metrics, parameters = simulate(config, data)
    grid = LoopbackGrid(app, partitions(config.data.source))
    with FlowerRounds(grid, config, data) as rounds:
        for expected in records:
            found = rounds.run_round()
            assert (found.round, found.loss, found.failed) == (expected.round, expected.loss, {})
            assert found.clipped == expected.clipped
            for one, other in zip(found.reports, expected.reports, strict=True):
                assert one.client == other.client
                assert one.bytes == other.bytes
                assert (one.own_rows, one.rows, one.parameters) == (
                    other.own_rows,
                    other.rows,
                    other.parameters,
                )
                assert (one.predictions, one.flops) == (other.predictions, other.flops)
                assert one.bounded == other.bounded
        assert rounds.evaluate() == metrics
        for name, value in rounds.state.parameters.named().items():
            assert torch.equal(value, parameters.named()[name]), name
    return grid


@pytest.mark.parametrize("tokenizer", ["ascii", "unicode"])
def test_nodes_cut_texts_into_words_as_the_run_does(tmp_path: Path, tokenizer: str) -> None:
    texts = write_quoted(tmp_path / "quoted.jsonl")
    groups = {"data": {"vocabulary": 12, "tokenizer": tokenizer}, "rounds": 1}
    data = load_data(small_config(texts, **groups))
    assert ("it's" in data.names.words, "café" in data.names.words) == (
        True,
        tokenizer == "unicode",
    )
    check_bits(texts, groups, data)


def test_a_node_tells_its_own_user_what_it_does_not_read(
    texts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "ann.TXT").write_text("w1 w2 w3\n")
    (tmp_path / "good" / ".ann.txt").write_text("w4\n")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bob.txt").write_bytes("w1".encode("utf-16-le"))
    nodes: list[UserConfig] = [{"texts": str(tmp_path / name)} for name in ("good", "bad")]
    config = small_config(texts, flower={"clients": 1}, cohort=1)
    caplog.set_level("INFO", logger="flwr")
    with FlowerRounds(LoopbackGrid(app, nodes), config, small_data(texts)) as rounds:
        record = rounds.run_round()
    assert [report.client for report in record.reports] == ["ann"]
    told = [message for message in caplog.messages if message.startswith("hashfed: ")]
    good = f"hashfed: node-config: texts = {tmp_path / 'good'}: 1 file not read: 1 hidden"
    assert told.count(good) == 1
    assert any(line.startswith(f"hashfed: {tmp_path / 'bad' / 'bob.txt'}: ") for line in told)


def test_a_round_waits_once_or_twice(texts: Path) -> None:
    data = small_data(texts)
    for method, kinds in (
        ("full", ["train"]),
        ("frequency", ["train"]),
        ("query-centroids", ["query.hash", "train"]),
    ):
        config = small_config(texts, retrieval={"method": method}, flower={"clients": len(data.train)})
        grid = LoopbackGrid(app, partitions(texts, 1))
        with FlowerRounds(grid, config, data) as rounds:
            rounds.run_round()
            before = len(grid.sent)
            rounds.run_round()
            assert [message.metadata.message_type for _, message in grid.sent[before:]] == kinds


def test_the_node_keeps_nothing_of_a_finished_round(texts: Path) -> None:
    data = small_data(texts)
    config = small_config(texts, flower={"clients": len(data.train)})
    grid = LoopbackGrid(app, partitions(config.data.source))
    with FlowerRounds(grid, config, data) as rounds:
        rounds.run_round()
    for context in grid.contexts.values():
        assert not [key for key in context.state if not key.startswith(("setup", "examples."))]


def test_a_node_with_its_own_texts_trains_whatever_its_name(texts: Path, tmp_path: Path) -> None:
    """Six phones with a folder each; no text leaves them, only ids, keys and changes."""
    nodes: list[UserConfig] = []
    for number in range(6):
        folder = tmp_path / f"phone{number}"
        folder.mkdir()
        (folder / "messages.txt").write_text("w1 w2 w3 secret\nw4 w5\n" + f"w{number} w{number + 1}\n")
        nodes.append({"texts": str(folder), "client": f"phone {number}"})
    data = small_data(texts)
    config = small_config(texts, flower={"clients": 6}, cohort=6)
    grid = LoopbackGrid(app, nodes)
    with FlowerRounds(grid, config, data) as rounds:
        record = rounds.run_round()
    assert [report.client for report in record.reports] == [f"phone {number}" for number in range(6)]
    assert all(report.predictions > 0 for report in record.reports)
    secret = Vocabulary(("secret",)).to_json().encode()
    for _, message in grid.answered:
        for content in message.content.array_records.values():
            assert all(b"secret" not in array.data for array in content.values())
    assert b"secret" in secret


def test_nodes_evaluate_their_held_out_clients(texts: Path) -> None:
    data = small_data(texts)
    groups = {"flower": {"clients": len(data.train), "evaluation": "clients"}}
    config = small_config(texts, **groups)
    with Simulation(config, data) as simulation:
        simulation.run_round()
        expected = simulation.evaluate(everything=True)
    with FlowerRounds(LoopbackGrid(app, partitions(config.data.source)), config, data) as rounds:
        rounds.run_round()
        # The same sums in another order: by client, not by length of the sentences.
        assert rounds.evaluate() == pytest.approx(expected, rel=1e-12)


def test_two_nodes_with_the_same_clients(texts: Path) -> None:
    """Whoever joined first hosts them; the other one is idle and not asked to join again and again."""
    data = small_data(texts)
    config = small_config(texts, flower={"clients": len(data.train)})
    (everybody,) = partitions(texts, 1)
    grid, said = LoopbackGrid(app, [everybody, everybody]), list[str]()
    with FlowerRounds(grid, config, data, said.append) as rounds:
        for _ in range(3):
            rounds._members._looked = 0.0
            assert rounds.run_round().failed == {}
    assert [m.metadata.message_type for _, m in grid.sent].count("query.join") == 2
    assert {node for node, m in grid.sent if m.metadata.message_type == "train"} == {1}
    assert any("of node 2: hosted by node 1 already" in line for line in said)


def test_more_clients_join_between_rounds(texts: Path) -> None:
    data = small_data(texts)
    config = small_config(texts, cohort=17, flower={"clients": 3})
    grid = LoopbackGrid(app, partitions(config.data.source))
    late = grid.contexts.pop(3)
    with FlowerRounds(grid, config, data) as rounds:
        first = len(rounds.run_round().reports)
        grid.contexts[3] = late
        rounds._members._looked = 0.0
        rounds.run_round()
        rounds.run_round()
        assert len(rounds.run_round().reports) == len(data.train) > first
