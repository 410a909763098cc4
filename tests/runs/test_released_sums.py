"""A run in which the server learns sums alone writes each down before it knows it."""

import json
from pathlib import Path
from typing import Any

import pytest

from hashfed.config import Config
from hashfed.engines.local.simulator import Simulation
from hashfed.errors import HashfedError
from hashfed.runs.ledger import Ledger, Release, read_ledger, roster_digest
from hashfed.runs.train import train
from small import small_config, small_data


def config_of(texts: Path, folder: Path, **changes: Any) -> Config:
    return small_config(
        texts,
        retrieval={"method": "frequency"},
        selection={"budget": 0.3, "delivery": "secure", "planes": 4},
        output=str(folder),
        **({"rounds": 2, "server": {"clip": 0.5}} | changes),
    )


def test_a_line_for_each_round_and_for_each_time_it_is_played(texts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(config_of(texts, folder), measure_memory=False)
    first = read_ledger(folder)
    assert [(entry.release, entry.round) for entry in first if isinstance(entry, Release)] == [(1, 1), (2, 2)]
    line = json.loads((folder / "ledger.jsonl").read_text().splitlines()[0])
    data = small_data(texts)
    with Simulation(config_of(texts, folder), data) as simulation:
        names = [report.client for report in simulation.run_round().reports]
        length = sum(value.numel() for value in simulation.state.parameters.named().values())
    assert line["roster"] == roster_digest(names)
    assert (line["asked"], line["summed"], line["norm_bound"], line["label"]) == (5, 5, None, "updates")
    assert line["length"] > length

    # A round that is played again tells its sum again.
    for path in (folder / "checkpoint").iterdir():
        path.unlink()
    (folder / "metrics.jsonl").write_text("")
    train(config_of(texts, folder, rounds=1), measure_memory=False)
    assert [(entry.release, entry.round) for entry in read_ledger(folder) if isinstance(entry, Release)][
        -1
    ] == (3, 1)


def test_a_sum_whose_line_cannot_be_written_is_not_told(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise HashfedError("ledger.jsonl: disk full")

    told: list[object] = []
    monkeypatch.setattr(Ledger, "release", full)
    monkeypatch.setattr("hashfed.federated.sum_session.MaskedSession.close_answers", told.append)
    with pytest.raises(HashfedError, match="disk full"):
        train(config_of(texts, tmp_path / "run"), measure_memory=False)
    assert told == []


def test_a_ledger_with_fewer_lines_than_the_checkpoint_knows_is_refused(texts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(config_of(texts, folder), measure_memory=False)
    ledger = folder / "ledger.jsonl"
    ledger.write_text(ledger.read_text().splitlines(keepends=True)[0])
    with pytest.raises(HashfedError, match=r"2 sums were told before it, but ledger\.jsonl has 1"):
        train(config_of(texts, folder, rounds=3), measure_memory=False)


def test_other_deliveries_keep_no_ledger(texts: Path, tmp_path: Path) -> None:
    train(small_config(texts, rounds=1, output=str(tmp_path / "run")), measure_memory=False)
    assert not (tmp_path / "run" / "ledger.jsonl").exists()
