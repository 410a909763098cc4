"""Real processes of Flower around a trivial app; minutes, hence slow."""

import time
from pathlib import Path

import pytest

pytest.importorskip("flwr")

from hashfed.config import Config
from hashfed.deploy.processes import SuperLink, SuperNode, free_port
from hashfed.deploy.runs import RunResult, reason_of, run_app, run_status, stop_run, wait_for_run
from hashfed.errors import HashfedError
from small import PATIENCE
from small_flower import write_trivial_app


def test_what_was_not_started() -> None:
    with pytest.raises(HashfedError, match="SuperLink: not started"):
        SuperLink().nodes_online()
    with pytest.raises(HashfedError, match="SuperNode: not started"):
        SuperNode("127.0.0.1:1").wait_until_joined()


def test_waiting_for_nodes_tells_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    found, told = iter([0, 1, 1, 0, 3]), list[int]()
    monkeypatch.setattr(SuperLink, "nodes_online", lambda link: next(found))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    SuperLink().wait_for_nodes(2, tell=told.append)
    assert told == [1, 0, 3]
    monkeypatch.setattr(SuperLink, "nodes_online", lambda link: 1)
    with pytest.raises(HashfedError, match="1 of 2 SuperNodes are online after -1 s"):
        SuperLink().wait_for_nodes(2, timeout=-1)


def test_a_port_on_a_host_that_is_not_ours() -> None:
    with pytest.raises(HashfedError, match=r"192\.0\.2\.1: cannot be listened on"):
        free_port("192.0.2.1")


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("a\nValueError: b\nERROR : Exit Code: 201\n\nAn unhandled\n", "ValueError: b"),
        ("a\nhashfed.errors.HashfedError: rounds = 0: no\nERROR : Exit Code: 201\n", "rounds = 0: no"),
        ("a\n\nb\n", "a / b"),
        ("", "no log"),
    ],
)
def test_reasons_of_failed_runs(log: str, reason: str) -> None:
    assert reason_of(RunResult(1, "failed", log)) == reason


@pytest.mark.slow
def test_a_node_is_killed_and_another_takes_its_place(tmp_path: Path) -> None:
    app = write_trivial_app(tmp_path / "app")
    with (
        SuperLink(tmp_path / "link", database=tmp_path / "state.db") as link,
        SuperNode(link.address, {"client": "a"}, tmp_path / "node") as node,
    ):
        node.wait_until_joined()
        link.wait_for_nodes(1)
        result = wait_for_run(link, run_app(link, app, {"rounds": 2}), timeout=PATIENCE)
        assert result.status == "completed"
        assert "node [('client', 'a')]" in result.log
        node.kill()
        with pytest.raises(HashfedError, match="flower-supernode ended with exit code -9"):
            node.child.check()
        node.start()
        node.wait_until_joined()
        # The SuperLink keeps its nodes and runs over a restart; the node comes back by itself.
        link.kill()
        link.start()
        assert run_status(link, result.run_id) == "finished:completed"
        link.wait_for_nodes(1)
        assert node.child.exit_code is None
        run_id = run_app(link, app, {"rounds": 99})
        with pytest.raises(HashfedError, match=f"run {run_id} has not ended after 4 s"):
            wait_for_run(link, run_id, timeout=4)
        stop_run(link, run_id)
        stop_run(link, run_id)
        assert run_status(link, run_id) == "finished:stopped"
        assert wait_for_run(link, run_id, timeout=PATIENCE).status == "stopped"
        with pytest.raises(HashfedError, match=r"Invalid run configuration"):
            run_app(link, app, {"roundz": 1})


@pytest.mark.slow
def test_the_superlink_dies_in_a_run(tmp_path: Path) -> None:
    app = write_trivial_app(tmp_path / "app", Config(rounds=99))
    with SuperLink() as link:
        run_id = run_app(link, app)
        begin = time.monotonic()

        def kill(line: str) -> None:
            if "sleeping" in line:
                link.kill()

        with pytest.raises(HashfedError, match="hashfed-superlink ended with exit code -9: "):
            wait_for_run(link, run_id, timeout=PATIENCE, show=kill)
        assert time.monotonic() - begin < PATIENCE / 2
        folder = link.folder
    assert not folder.exists()
