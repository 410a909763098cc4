"""Worker processes that start in narrow places, or do not start."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hashfed import train
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.mapped import MAPPED
from hashfed.errors import HashfedError
from hashfed.models import Transformer
from hashfed.stopping import Interrupted
from small import small_config, small_data

SCRIPT = """\
import sys
from hashfed import load_config, train
from pathlib import Path

print(train(load_config(Path(sys.argv[1])))["rounds"], len(list(Path("/dev/shm").iterdir())))
"""


def own_mounts() -> list[str]:
    """How to run a command whose mounts are its own; nothing where that is not allowed."""
    command = [shutil.which("unshare") or "unshare", "-m"]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return []
    return command if allowed else []


def test_what_workers_do_not_need(texts: Path, tmp_path: Path) -> None:
    """A guard in the script, /dev/shm, a short TMPDIR, many descriptors."""
    narrow = tmp_path / ("long" * 30)
    narrow.mkdir()
    (tmp_path / "script.py").write_text(SCRIPT)
    config = small_config(
        texts, workers=3, rounds=1, compression={"updates": "int8", "error_feedback": True}
    ).model_copy(update={"output": str(tmp_path / "run")})
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    run = f"exec {sys.executable} script.py config.yaml"
    mounts = own_mounts()
    mount = "mount -t tmpfs -o ro tmpfs /dev/shm && " if mounts else ""
    done = subprocess.run(
        [*mounts, "sh", "-c", f"{mount}ulimit -n 24 && {run}"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(narrow)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "1"
    assert not mounts or done.stdout.split()[1] == "0"


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_too_few_descriptors_here(texts: Path) -> None:
    before = descriptors()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [number for number in range(len(before) + 3) if str(number) not in before]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[2] + 1, limits[1]))  # three more
    try:
        with pytest.raises(HashfedError, match=r"^workers = 30: too few file descriptors \(ulimit -n is "):
            Simulation(small_config(texts, workers=30), small_data(texts))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert descriptors() == before


@pytest.mark.parametrize(
    ("code", "kind", "expected"),
    [
        (
            "raise ImportError('libx.so: no such file')",
            HashfedError,
            r"cannot import .* \(ImportError: libx.so",
        ),
        ("import os; open(os.devnull); raise OSError(24, 'Too many open files')", HashfedError, "ulimit -n"),
        ("raise MemoryError", HashfedError, "memory ran out in a worker that was starting"),
        ("{}['x']", RuntimeError, r"(?s)in a worker process that was starting:.*Traceback.*KeyError: 'x'"),
        (
            "import os; os.kill(os.getpid(), 11)",
            HashfedError,
            r"ended by SIGSEGV \(exit code -11\)\. The same",
        ),
        ("import os; os._exit(7)", HashfedError, "ended with exit code 7; if it wrote why, that is above"),
    ],
)
def test_a_worker_that_does_not_start_says_why(
    code: str,
    kind: type[Exception],
    expected: str,
    texts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = tmp_path / "hashfed" / "engines" / "local"
    broken.mkdir(parents=True)
    for package in (broken, *list(broken.parents)[:2]):
        (package / "__init__.py").write_text("")
    (broken / "workers.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    before = descriptors()
    with pytest.raises(kind, match=expected):
        Simulation(small_config(texts, workers=2), small_data(texts))
    assert descriptors() == before


def test_a_stop_while_workers_start(texts: Path) -> None:
    before = descriptors()
    with pytest.raises(Interrupted):
        Simulation(small_config(texts, workers=2), small_data(texts), lambda: True)
    assert descriptors() == before


def test_one_worker_shares_no_memory(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("shared memory")

    monkeypatch.setattr("hashfed.engines.shared.SharedBlock.create", refuse)
    with Simulation(small_config(texts, workers=1), small_data(texts)) as simulation:
        simulation.run_round()


def test_a_client_too_large_for_the_memory_is_one_line(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes.")

    monkeypatch.setattr("hashfed.engines.local.workers.play_round", refuse)
    with (
        Simulation(small_config(texts, workers=1), small_data(texts)) as simulation,
        pytest.raises(HashfedError, match=r"^memory ran out: 4 KiB were asked for, .* are free \("),
    ):
        simulation.run_round()


def test_a_class_of_the_program_itself_is_named(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do not run the program, so they cannot find what only it defines."""
    model = type("OwnTransformer", (Transformer,), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "OwnTransformer", model, raising=False)
    monkeypatch.setattr("hashfed.engines.local.simulator.build_model", lambda _: model(8, 8, 2, 16, 2))
    with pytest.raises(HashfedError) as caught:
        Simulation(small_config(texts, workers=2), small_data(texts))
    assert str(caught.value) == (
        "workers = 2: OwnTransformer is defined in the program that was started, which worker processes do "
        "not run: move it to a module that the program imports, or set workers = 1"
    )


def test_a_round_that_was_stopped_is_played_again_with_the_same_numbers(texts: Path) -> None:
    """What workers had in hand is dropped, but not where they put it."""
    data, asked = small_data(texts), [10**6]
    config = small_config(texts, workers=2, cohort=9)
    with Simulation(small_config(texts, workers=1, cohort=9), data) as simulation:
        expected = [simulation.run_round().loss for _ in range(2)]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] == 2  # when the first workers have answered

    with Simulation(config, data, stop) as simulation:
        asked[0] = 0
        with pytest.raises(Interrupted):
            simulation.run_round()
        assert [simulation.run_round().loss for _ in range(2)] == expected


def test_a_start_that_fails_leaves_no_tables(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the corrected command finds an empty folder, or what it began itself."""
    config = small_config(texts, workers=2, memory_map=True, rounds=1, output=str(tmp_path / "run"))

    def full(*_: object) -> None:
        raise HashfedError("workers = 2: too few file descriptors")

    with monkeypatch.context() as patch:
        patch.setattr("hashfed.engines.local.workers.WorkerPool._start", full)
        with pytest.raises(HashfedError, match="too few"):
            train(config)
    assert not list((tmp_path / "run").rglob("*.float32"))
    left = tmp_path / "run" / MAPPED / "tables.output.float32"  # as after a kill at that moment
    left.write_bytes(b"half")
    assert train(config)["rounds"] == 1
    assert not left.exists()
