import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from hashfed.engines.budget import build_model
from hashfed.engines.checkpoint import load_checkpoint, load_parameters, save_checkpoint
from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError
from hashfed.federated.error_feedback import Residual
from small import small_config


def state(texts: Path, size: int = 44, seed: int = 0) -> ServerState:
    config = small_config(texts, seed=seed)
    return ServerState.fresh(build_model(config), {"output": size}, config)


def test_a_state_survives_bit_for_bit(texts: Path, tmp_path: Path) -> None:
    saved = state(texts)
    saved.round, saved.optimizer.steps, saved.shares.total = 7, 7, 123.5
    saved.optimizer.touched["output"][3] = 6
    saved.shares.held["output"][5] = 0.1
    save_checkpoint(tmp_path, saved)
    found = state(texts, seed=1)
    assert load_checkpoint(tmp_path, found)
    assert found.numbers() == saved.numbers()
    assert all(torch.equal(found.tensors()[name], value) for name, value in saved.tensors().items())


CLIENTS = ["ann", "a.b", "a.rows", "a%2Eb", "Zoë / ü\n", ""]


def residual(size: int, everything: bool = False) -> Residual:
    ids = None if everything else np.arange(size, dtype=np.int32)
    return Residual(size, {"x.y": torch.rand(3), "rows": torch.rand(2, 2)}, ids, torch.rand(size, 8))


def test_residuals_survive_whatever_their_clients_are_called(texts: Path, tmp_path: Path) -> None:
    saved = with_feedback(texts)
    assert saved.residuals == {}
    saved.residuals |= {name: residual(size, size == 2) for size, name in enumerate(CLIENTS, start=1)}
    save_checkpoint(tmp_path, saved)
    found = with_feedback(texts)
    assert found.residuals is not None
    found.residuals["forgotten"] = residual(9)
    assert load_checkpoint(tmp_path, found)
    assert sorted(found.residuals) == sorted(CLIENTS)
    for name, kept in saved.residuals.items():
        other = found.residuals[name]
        assert (other.round, other.ids is None) == (kept.round, kept.ids is None)
        assert all(torch.equal(other.tensors()[item], value) for item, value in kept.tensors().items())


def test_residuals_are_refused_without_error_feedback(texts: Path, tmp_path: Path) -> None:
    saved = with_feedback(texts)
    assert saved.residuals is not None
    saved.residuals["ann"] = residual(3)
    save_checkpoint(tmp_path, saved)
    with pytest.raises(HashfedError, match=r"tensor residual.ann.body.rows is in only one of it"):
        load_checkpoint(tmp_path, state(texts))


def with_feedback(texts: Path) -> ServerState:
    config = small_config(texts, compression={"updates": "int8", "error_feedback": True})
    return ServerState.fresh(build_model(config), {"output": 44}, config)


def test_there_is_none_in_an_empty_folder(texts: Path, tmp_path: Path) -> None:
    assert not load_checkpoint(tmp_path, state(texts))


def test_only_the_last_round_is_kept(texts: Path, tmp_path: Path) -> None:
    saved = state(texts)
    for saved.round in (1, 2, 3):
        save_checkpoint(tmp_path, saved)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["round-000003.safetensors"]


def test_a_kill_between_the_two_files_leaves_the_round_before(texts: Path, tmp_path: Path) -> None:
    saved = state(texts)
    saved.round = 1
    save_checkpoint(tmp_path, saved)
    (tmp_path / "round-000002.safetensors").write_bytes(b"complete, but latest.json does not name it")
    found = state(texts)
    assert load_checkpoint(tmp_path, found)
    assert found.round == 1


def test_a_damaged_checkpoint_is_refused(texts: Path, tmp_path: Path) -> None:
    saved = state(texts)
    save_checkpoint(tmp_path, saved)
    path = tmp_path / "round-000000.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(HashfedError, match=r"round-000000.safetensors: damaged .*delete the folder"):
        load_checkpoint(tmp_path, state(texts))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"file": "gone.safetensors", "sha256": ""}'])
def test_a_damaged_pointer_is_refused(texts: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "latest.json").write_text(content)
    with pytest.raises(HashfedError, match=r"latest.json: no readable checkpoint"):
        load_checkpoint(tmp_path, state(texts))


def test_a_checkpoint_of_another_model_is_refused(texts: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(texts, size=44))
    other = state(texts, size=45)
    before = other.parameters.rows.clone()
    with pytest.raises(HashfedError, match=r"checkpoint: tensor \S+ is"):
        load_checkpoint(tmp_path, other)
    assert torch.equal(other.parameters.rows, before)


def test_a_checkpoint_of_a_version_that_knew_one_table_is_named_as_such(texts: Path, tmp_path: Path) -> None:
    data = save({"parameters.rows": torch.zeros(2, 2)})
    (tmp_path / "round-000001.safetensors").write_bytes(data)
    pointer = {"round": 1, "steps": 1, "total_weight": 1.0, "file": "round-000001.safetensors"}
    pointer["sha256"] = hashlib.sha256(data).hexdigest()
    (tmp_path / "latest.json").write_text(json.dumps(pointer))
    for ask in (load_parameters, lambda folder: load_checkpoint(folder, state(texts))):
        with pytest.raises(HashfedError, match="safetensors: written by an earlier version of hashfed"):
            ask(tmp_path)


def test_a_full_disk_leaves_the_last_checkpoint(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = state(texts)
    saved.round = 1
    save_checkpoint(tmp_path, saved)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    saved.round = 2
    with pytest.raises(HashfedError, match="No space left on device"):
        save_checkpoint(tmp_path, saved)
    monkeypatch.undo()
    found = state(texts)
    assert load_checkpoint(tmp_path, found)
    assert found.round == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest.json", "round-000001.safetensors"]
