"""What nodes keep of what compression lost: a run that is resumed has the bits of one that was not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Message, RecordDict, UserConfig

from exchanges import TRAIN
from hashfed.config import Config
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.memory import Memories
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.local.simulator import Simulation
from hashfed.errors import HashfedError
from hashfed.federated.error_feedback import ClientMemory, Residual
from hashfed.models import Parameters
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary
from loopback import LoopbackGrid, partitions
from small import small_config, small_data

ROUNDS = 6


def fed_back(texts: Path, **flower: object) -> tuple[Config, FederatedData[Vocabulary]]:
    data = small_data(texts)
    compression = {"updates": "int8", "error_feedback": True}
    settings = {"clients": len(data.train)} | flower
    return small_config(texts, cohort=9, rounds=ROUNDS, compression=compression, flower=settings), data


def nodes(texts: Path, folder: Path) -> list[UserConfig]:
    return [{**node, "state": str(folder / str(node["partition-id"]))} for node in partitions(texts)]


def play(
    grid: LoopbackGrid, config: Config, data: FederatedData[Vocabulary], pauses: list[int]
) -> Parameters:
    """All rounds; after these of them the server is started anew, from what a checkpoint holds."""
    tensors, numbers = None, None
    for end in [*pauses, ROUNDS]:
        grid.forget()
        with FlowerRounds(grid, config, data) as engine:
            if tensors is not None and numbers is not None:
                engine.state.restore(tensors, numbers)
            while engine.state.round < end:
                assert engine.run_round().failed == {}
            tensors = {name: value.clone() for name, value in engine.state.tensors().items()}
            numbers = dict(engine.state.numbers())
            parameters = engine.state.parameters.clone()
    return parameters


def equal(one: Parameters, other: Parameters) -> bool:
    return all(torch.equal(value, other.named()[name]) for name, value in one.named().items())


def test_a_resumed_run_has_the_same_bits(texts: Path, tmp_path: Path) -> None:
    config, data = fed_back(texts)
    with Simulation(config, data) as simulation:
        for _ in range(ROUNDS):
            simulation.run_round()
        expected = simulation.state.parameters.clone()
    grid = LoopbackGrid(app, nodes(texts, tmp_path))
    assert equal(play(grid, config, data, [2, 4]), expected)
    # Without a folder a resumed run of Flower has forgotten it.
    assert not equal(play(LoopbackGrid(app, partitions(texts)), config, data, [2, 4]), expected)


def test_rounds_that_the_server_lost_are_played_again_with_the_same_bits(texts: Path, tmp_path: Path) -> None:
    config, data = fed_back(texts)
    grid = LoopbackGrid(app, nodes(texts, tmp_path))
    with FlowerRounds(grid, config, data) as engine:
        for _ in range(3):
            engine.run_round()
        kept = {name: value.clone() for name, value in engine.state.tensors().items()}
        numbers = dict(engine.state.numbers())
        engine.run_round()  # the server dies before it has saved this one
        expected = engine.state.parameters.clone()
    grid.forget()
    with FlowerRounds(grid, config, data) as engine:
        engine.state.restore(kept, numbers)
        engine.run_round()
        assert equal(engine.state.parameters, expected)


def test_a_run_that_begins_anew_uses_nothing_of_the_old_one(texts: Path, tmp_path: Path) -> None:
    config, data = fed_back(texts)
    grid = LoopbackGrid(app, nodes(texts, tmp_path))
    expected = play(grid, config, data, [])
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert kept
    # Settings that change no number may differ: it is the same run.
    changed, _ = fed_back(texts, deadline=99)
    assert equal(play(grid, changed, data, []), expected)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == kept
    other = config.model_copy(update={"seed": 1})
    play(grid, other, data, [])
    assert len({path.parent for path in tmp_path.rglob("*.safetensors")}) == 2 * len(
        {path.parents[1] for path in kept}
    )


def test_a_node_that_joins_again_keeps_what_it_had(texts: Path) -> None:
    """It was offline for a moment: its process, and so its context, are as they were."""
    config, data = fed_back(texts)
    with Simulation(config, data) as simulation:
        for _ in range(ROUNDS):
            simulation.run_round()
        expected = simulation.state.parameters.clone()
    grid = LoopbackGrid(app, partitions(texts))
    with FlowerRounds(grid, config, data) as engine:
        for _ in range(ROUNDS):
            engine.run_round()
            for node in grid.contexts:
                engine._members.lose(node)
            engine._members._looked = 0.0
            engine._wait_for_clients(len(data.train))
        assert [m.metadata.message_type for _, m in grid.sent].count("query.join") == 3 * (ROUNDS + 1)
        assert equal(engine.state.parameters, expected)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("folder", [True, False])
def test_what_a_late_update_lost_is_as_if_it_had_never_been(
    texts: Path, tmp_path: Path, folder: bool
) -> None:
    """Node 2 does not answer in round 3; whether it has trained changes nothing."""
    config, data = fed_back(texts, deadline=1, minimum_share=0.1)
    found = []
    for trains in (True, False):

        def interrupt(node: int, message: Message, trains: bool = trains) -> None:
            request = message.content.config_records["request"]
            if (node, message.metadata.message_type, request["round"]) == (2, TRAIN, 3) and not trains:
                raise RuntimeError("not now")

        def interfere(node: int, reply: Message) -> Message | None:
            late = node == 2 and reply.metadata.message_type == TRAIN and engine.state.round == 2
            return None if late else reply

        kept = nodes(texts, tmp_path / str(trains)) if folder else partitions(texts)
        grid = LoopbackGrid(app, kept, interfere, interrupt)
        with FlowerRounds(grid, config, data) as engine:
            failed = []
            for _ in range(ROUNDS):
                engine._members._looked = 0.0
                engine._wait_for_clients(len(data.train))  # it joins again
                failed.append(set(engine.run_round().failed))
            found.append((failed, engine.state.parameters.clone()))
            again = {name for name in failed[2] if (engine.state.used or {}).get(name, 0) > 3}
    (one, first), (other, second) = found
    assert one == other
    assert failed[2]
    assert again, "no client that was late came again"
    assert not any(failed[:2] + failed[4:])
    assert equal(first, second)


def test_a_server_that_could_go_back_further_than_its_clients_is_refused(texts: Path) -> None:
    config, data = fed_back(texts)
    config = config.model_copy(update={"checkpoint_every": 2})
    with pytest.raises(
        HashfedError, match=r"checkpoint_every = 2: must be 1 .or none. with compression\.error_feedback"
    ):
        FlowerRounds(LoopbackGrid(app, partitions(texts)), config, data)
    plain = config.model_copy(update={"compression": Config().compression})
    FlowerRounds(LoopbackGrid(app, partitions(texts)), plain, data)


def residual(round: int) -> Residual:
    return Residual(round, {"b": torch.ones(2)}, np.array([1, 4], np.int32), torch.full((2, 3), float(round)))


@pytest.mark.parametrize("folder", [True, False])
def test_memories(tmp_path: Path, folder: bool) -> None:
    state, node = RecordDict(), {"state": str(tmp_path)} if folder else {}
    memories = Memories(state, node, "run")
    assert memories.get("ann") == ClientMemory()
    memories.set("ann", ClientMemory(residual(3), residual(5)))
    memories.set("../bob", ClientMemory(None, residual(5)))
    found = Memories(state, node, "run").get("ann")
    assert (found.before and found.before.round, found.after and found.after.round) == (3, 5)
    assert memories.get("nobody") == ClientMemory()
    bob = memories.get("../bob")
    assert bob.after is not None
    assert torch.equal(bob.after.rows, torch.full((2, 3), 5.0))
    if folder:
        assert Memories(state, node, "another run").get("../bob") == ClientMemory()
        assert {path.parent for path in tmp_path.rglob("*.safetensors")} == {tmp_path / "run"}


def test_a_file_that_is_none(tmp_path: Path) -> None:
    memories = Memories(RecordDict(), {"state": str(tmp_path)}, "run")
    memories.set("ann", ClientMemory(None, residual(1)))
    (path,) = tmp_path.rglob("*.safetensors")
    for data in (b"", b"\x80\x04K\x01.", path.read_bytes()[:-1]):
        path.write_bytes(data)
        with pytest.raises(HashfedError, match=r"\.safetensors: not what a client keeps \(.*\); delete it"):
            memories.get("ann")
    blocked = Memories(RecordDict(), {"state": str(path)}, "run")
    with pytest.raises(HashfedError, match="cannot be read"):
        blocked.get("ann")
    with pytest.raises(HashfedError, match="cannot be written"):
        blocked.set("ann", ClientMemory())
