import json
from pathlib import Path

import pytest

from benchmarks.central_items import main
from hashfed.tasks.registry import make_task
from interactions import item_config, write_interactions


def test_in_one_place_it_learns_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each item is followed by the next or the one after: far beyond popularity."""
    source = write_interactions(tmp_path / "items.txt", users=60)
    config = item_config(source)
    (tmp_path / "run.yaml").write_text(config.to_yaml())
    main(
        [str(tmp_path / "run.yaml"), "--epochs", "40", "--batch", "20", "--rate", "0.02", "--patience", "40"]
    )
    *trained, test = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["epoch"] for one in trained] == list(range(1, 41))
    assert trained[-1]["loss"] < trained[0]["loss"] - 1
    task = make_task(config.data)
    floors = task.measure_floors(task.load("test"))
    assert test["test"]["targets"] == floors["targets"]
    assert test["test"]["ndcg_3"] > 2 * floors["popular_ndcg_3"]
