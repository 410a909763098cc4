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

from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import EVALUATE, HASH, JOIN, TRAIN, app
from hashfed.engines.flower.server import FlowerRounds
from hashfed.errors import HashfedError
from hashfed.federated.messages import Welcome
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
    config = config.model_copy(
        update={"retrieval": config.retrieval.model_copy(update={"method": "simhash-union"})}
    )

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


@pytest.mark.parametrize("shape", [(1,), (10, 10)])
def test_a_model_of_another_shape_is_not_evaluated(texts: Path, shape: tuple[int, ...]) -> None:
    config, data = prepare(texts, patience=1, evaluation="clients")

    def change(message: Message) -> None:
        named = records.tensors(message.content.array_records["parameters"])
        message.content["parameters"] = records.arrays({**named, "rows": torch.zeros(shape)})

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
    retrieval = config.retrieval.model_copy(update={"method": "simhash-union"})
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
