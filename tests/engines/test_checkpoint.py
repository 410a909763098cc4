from pathlib import Path

import pytest
import torch

from hashfed.engines import build_model
from hashfed.engines.checkpoint import load_checkpoint, save_checkpoint
from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError
from small import small_config


def state(texts: Path, size: int = 44, seed: int = 0) -> ServerState:
    config = small_config(texts, seed=seed)
    return ServerState.fresh(build_model(config), size, config)


def test_a_state_survives_bit_for_bit(texts: Path, tmp_path: Path) -> None:
    saved = state(texts)
    saved.round, saved.optimizer.steps, saved.shares.total = 7, 7, 123.5
    saved.optimizer.touched[3] = 6
    saved.shares.held[5] = 0.1
    save_checkpoint(tmp_path, saved)
    found = state(texts, seed=1)
    assert load_checkpoint(tmp_path, found)
    assert found.numbers() == saved.numbers()
    assert all(torch.equal(found.tensors()[name], value) for name, value in saved.tensors().items())


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
