"""The next item through every engine, and through the commands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hashfed.cli.main import main
from hashfed.config import Config
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.single_thread import single_thread
from hashfed.runs import train
from hashfed.tasks.registry import make_task
from interactions import item_config, write_interactions
from laws import costs_what_is_sent, same_over_a_network


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with single_thread():
        yield


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_interactions(tmp_path / "items.txt")


@pytest.mark.parametrize(
    ("method", "model"),
    [
        ("query-centroids", {"name": "sasrec", "embedding": 8, "blocks": 1, "dropout": 0.3}),
        ("simhash-union", {"name": "sasrec", "embedding": 8, "blocks": 1}),
        ("full", {"name": "transformer", "embedding": 8, "attention": 8, "heads": 2, "ffn": 8, "blocks": 1}),
    ],
)
def test_over_a_network_it_is_the_simulator_s_run(
    method: str, model: dict[str, object], source: Path
) -> None:
    """Dropout too; and nodes evaluate their own users, whose sums are believed."""
    config = item_config(source, retrieval={"method": method}, model=model)
    data = make_task(config.data).load("test")
    metrics, _ = same_over_a_network(config, data)
    assert set(metrics) == {"hr_3", "ndcg_3", "mrr", "nll", "targets"}
    assert metrics["targets"] == len(data.held_out)


def test_dropout_changes_what_is_learned(source: Path) -> None:
    losses = []
    for share in (0.0, 0.5):
        model = {"name": "sasrec", "embedding": 8, "dropout": share}
        config = item_config(source, model=model, retrieval={"method": "full"})
        with Simulation(config, make_task(config.data).load("test")) as simulation:
            losses.append(simulation.run_round().loss)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("delivery", ["on-demand", "broadcast"])
def test_what_it_costs_is_what_is_sent(delivery: str, source: Path) -> None:
    config = item_config(source, selection={"budget": 0.6, "delivery": delivery})
    costs_what_is_sent(config, make_task(config.data).load("test"))


def test_a_resumed_run_is_the_whole_one(source: Path, tmp_path: Path) -> None:
    def run(name: str, rounds: int) -> Config:
        return item_config(source, rounds=rounds, output=str(tmp_path / name))

    train(run("half", 2), measure_memory=False)
    resumed = train(run("half", 4), measure_memory=False)
    whole = train(run("whole", 4), measure_memory=False)
    assert resumed["evaluation"] == whole["evaluation"]


def test_the_commands_speak_of_items(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, run = tmp_path / "run.yaml", str(tmp_path / "run")
    settings = item_config(source, rounds=2, output=run)
    config.write_text(settings.to_yaml())
    assert main(["data", "describe", str(config), "--data.cutoffs", "3,5"]) == 0
    out = capsys.readouterr().out
    assert "held-out items never in training" in out
    assert "HR@3" in out
    assert any(line.startswith("markov") for line in out.splitlines())
    train(settings, measure_memory=False)
    others = {line.split()[1] for line in source.open()} - {"i3", "i4"}
    assert main(["predict", run, "i3", "i4 nosuch", "--top", str(len(others))]) == 0
    out, err = capsys.readouterr()
    assert err == "hashfed: unknown to this run, and left out: nosuch\n"
    answers = [line.split() for line in out.splitlines()]
    assert sorted(item for _, item in answers) == sorted(others)
    assert all(0 < float(share.rstrip("%")) < 100 for share, _ in answers)
    assert main(["predict", run, "nosuch"]) == 2
    assert "items = 'nosuch': must be some of the run's, such as i" in capsys.readouterr().err
    assert main(["compare", run, "--output", str(tmp_path / "page")]) == 0
    out = capsys.readouterr().out
    assert "NDCG@3" in out
    assert "markov floor" in out
    assert main(["cost", str(config), "--data.items", "15", "--no-measure"]) == 0
    assert capsys.readouterr().out


def test_fewer_rows_stand_for_the_others(source: Path) -> None:
    """Where the cost of fewer items is asked for, a client has as many of them as before."""
    config = item_config(source, data={"task": "next-item", "source": str(source), "items": 12})
    task, data = make_task(config.data), make_task(config.data).load("test")
    assert data.size == 13
    for client in (*data.train, *data.held_out):
        folded = task.within(client.examples, 5)
        own = folded.own("input", "output")
        assert 1 <= own.min() <= own.max() < 5
        assert folded.weight == client.examples.weight
