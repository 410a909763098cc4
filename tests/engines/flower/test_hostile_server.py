"""What a node refuses of a server that is broken or hostile."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar, cast

import pytest
import torch
from flwr.app import ConfigRecord, Message, UserConfig

from exchanges import HASH, TRAIN
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.network.exchanges import EVALUATE, JOIN
from hashfed.errors import HashfedError
from hashfed.federated.messages import SelectedRows, Welcome
from hashfed.retrieval.planes import Planes
from hashfed.retrieval.simhash_union import SimHashUnionSettings
from loopback import LoopbackGrid, partitions
from small import prepare

Change = Callable[[Message], None]

pytestmark = pytest.mark.usefixtures("clock")


def grid(nodes: list[UserConfig], kind: str, change: Change) -> LoopbackGrid:
    """Messages of one type are changed before the nodes see them."""

    def interrupt(node: int, message: Message) -> None:
        if message.metadata.message_type == kind:
            change(message)

    return LoopbackGrid(app, nodes, interrupt=interrupt)


@pytest.mark.parametrize("field", ["identity", "digest"])
def test_the_name_of_the_run_is_the_nodes_own_finding(texts: Path, tmp_path: Path, field: str) -> None:
    """Below its folder a node keeps what compression lost, by this name."""
    config, data = prepare(texts, patience=1)
    config = config.model_copy(
        update={
            "compression": config.compression.model_copy(update={"updates": "int8", "error_feedback": True})
        }
    )
    outside = tmp_path / "outside"

    def change(message: Message) -> None:
        message.content["setup"] = ConfigRecord(
            {**message.content.config_records["setup"], field: str(outside)}
        )

    nodes: list[UserConfig] = [
        {**node, "state": str(tmp_path / "kept")} for node in partitions(config.data.source)
    ]
    with (
        FlowerRounds(grid(nodes, JOIN, change), config, data) as engine,
        pytest.raises(HashfedError, match=f"{field} of the run: not what this node finds"),
    ):
        engine.run_round()
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(("number", "value"), [("dimension", 10**8), ("tables", 10**6), ("seed", 1)])
def test_an_encoder_of_other_numbers_is_refused(texts: Path, number: str, value: int) -> None:
    config, data = prepare(texts, patience=1)
    config = config.model_copy(update={"retrieval": SimHashUnionSettings(bits=3, tables=6)})

    def change(message: Message) -> None:
        parcel = records.unpack(message.content)
        for messages in parcel.messages.values():
            welcome = cast(Welcome, messages["welcome"])
            numbers = {**welcome.encoder_numbers, number: value}
            messages["welcome"] = replace(welcome, encoder_numbers=numbers)
        for name, record in records.pack(parcel).items():
            message.content[name] = record

    with (
        FlowerRounds(grid(partitions(config.data.source), HASH, change), config, data) as engine,
        pytest.raises(HashfedError, match=f"encoder.{number} = {value}: must be"),
    ):
        engine.run_round()


def of_planes(change: Callable[[Planes], Planes | None]) -> Change:
    """The planes of every client, changed."""

    def changed(message: Message) -> None:
        parcel = records.unpack(message.content)
        for messages in parcel.messages.values():
            selected = cast(SelectedRows, messages["rows"])
            assert selected.planes is not None
            messages["rows"] = replace(selected, planes=change(selected.planes))
        for name, record in records.pack(parcel).items():
            message.content[name] = record

    return changed


def many(planes: Planes) -> Planes:
    return Planes(*(torch.cat([value] * 40) for value in planes.tensors()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (many, r"planes: \d+ of them: from 1 to 32 can be needed"),
        (lambda planes: Planes(*(value[:0] for value in planes.tensors())), "planes: 0 of them: from 1 to"),
        (lambda planes: replace(planes, slopes=planes.slopes[:, :-1]), "planes.slopes of shape"),
        (
            lambda planes: replace(planes, error_slopes=planes.error_slopes[:-1]),
            "planes.error_slopes of shape",
        ),
        (lambda planes: replace(planes, errors=planes.errors[:-1]), "planes.errors of shape"),
        (lambda planes: replace(planes, offsets=planes.offsets[:, None]), "planes.offsets of shape"),
        (
            lambda planes: replace(planes, offsets=planes.offsets + torch.nan),
            "planes.offsets: has a value that",
        ),
        (lambda planes: replace(planes, slopes=planes.slopes + torch.inf), "planes.slopes: has a value that"),
        (lambda planes: replace(planes, slopes=planes.slopes.double()), "planes.slopes of type float64"),
    ],
)
def test_planes_that_do_not_fit_are_refused(
    texts: Path, change: Callable[[Planes], Planes | None], reason: str
) -> None:
    config, data = prepare(texts, patience=1)
    with (
        FlowerRounds(grid(partitions(config.data.source), TRAIN, of_planes(change)), config, data) as engine,
        pytest.raises(HashfedError, match=reason),
    ):
        engine.run_round()


def test_planes_in_a_run_without_are_refused(texts: Path) -> None:
    config, data = prepare(texts, patience=1)
    selection = config.selection.model_copy(update={"correction": "tail"})
    config = config.model_copy(update={"selection": selection})
    one = Planes(torch.zeros(1), torch.zeros(1, 8), torch.ones(1), torch.ones(1, 8))

    def change(message: Message) -> None:
        parcel = records.unpack(message.content)
        for messages in parcel.messages.values():
            selected = cast(SelectedRows, messages["rows"])
            messages["rows"] = replace(selected, planes=one)
        for name, record in records.pack(parcel).items():
            message.content[name] = record

    with (
        FlowerRounds(grid(partitions(config.data.source), TRAIN, change), config, data) as engine,
        pytest.raises(HashfedError, match="planes: 1 of them: from 1 to 0 can be needed"),
    ):
        engine.run_round()


def test_planes_that_are_missing_cost_their_clients(texts: Path) -> None:
    """They train as with the sample, and return nothing for planes; the honest server sees the difference."""
    config, data = prepare(texts, patience=1)
    nothing = of_planes(lambda planes: None)
    with (
        FlowerRounds(grid(partitions(config.data.source), TRAIN, nothing), config, data) as engine,
        pytest.raises(HashfedError, match="tail: must be there exactly where planes were sent"),
    ):
        engine.run_round()


@pytest.mark.parametrize("shape", [(1,), (10, 10)])
def test_a_model_of_another_shape_is_not_evaluated(texts: Path, shape: tuple[int, ...]) -> None:
    config, data = prepare(texts, patience=1, evaluation="clients")

    def change(message: Message) -> None:
        named = records.tensors(message.content.array_records["0.arrays"])
        message.content["0.arrays"] = records.arrays({**named, "rows": torch.zeros(shape)})

    said: list[str] = []
    nodes = grid(partitions(config.data.source), EVALUATE, change)
    with FlowerRounds(nodes, config, data, said.append) as engine:
        engine.run_round()
        with pytest.raises(HashfedError, match="no node evaluated a held-out client"):
            engine.evaluate()
    assert any(line.startswith("evaluation: node ") and "rows of shape" in line for line in said), said


def test_a_node_asks_no_other_machine_than_its_own_setting_names(texts: Path, tmp_path: Path) -> None:
    """The server names a machine of the node's network, once with a query of its own."""
    config, data = prepare(texts, patience=1, slices=str(tmp_path / "slices"))
    selection = config.selection.model_copy(update={"delivery": "pre-generated"})
    retrieval = SimHashUnionSettings(bits=3, tables=6)
    config = config.model_copy(update={"selection": selection, "retrieval": retrieval})

    class Asked(BaseHTTPRequestHandler):
        paths: ClassVar[list[str]] = []

        def do_GET(self) -> None:
            self.paths.append(self.path)
            self.send_error(404)

    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as router:
        thread = Thread(target=router.serve_forever)
        thread.start()

        def change(message: Message, more: str = "") -> None:
            where = f"http://127.0.0.1:{router.server_port}/{more}"
            request = {**message.content.config_records["request"], "slices": where}
            message.content["request"] = ConfigRecord(request)

        try:
            nodes = partitions(config.data.source)
            own: list[UserConfig] = [{**node, "slices": str(tmp_path / "slices")} for node in nodes]
            with FlowerRounds(grid(own, TRAIN, change), config, data) as engine:
                assert engine.run_round().failed == {}
            query = partial(change, more="reboot?now=")
            with (
                FlowerRounds(grid(nodes, TRAIN, query), config, data) as engine,
                pytest.raises(HashfedError, match=r"a URL must have no \?, # and @"),
            ):
                engine.run_round()
            assert Asked.paths == []
        finally:
            router.shutdown()
            thread.join()
