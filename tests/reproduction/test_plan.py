from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hashfed.cli.main import build_parser
from hashfed.cli.reproduce import read_options
from hashfed.config import Config
from hashfed.cost.budgets import OwnAnd
from hashfed.cost.search import Search
from hashfed.cost.variants import at_budget
from hashfed.cost.workload import busiest_and_median
from hashfed.engines import choose
from hashfed.errors import HashfedError
from hashfed.models import ModelSettings, TransformerSettings
from hashfed.reproduction import estimate, gather
from hashfed.reproduction.methods import METHODS
from hashfed.reproduction.options import Options
from hashfed.reproduction.plan import Planned, Run, Sizes, Trial, foreseen, strands
from hashfed.reproduction.run import LoadedData, fitting_vocabularies
from hashfed.reproduction.scales import SCALES
from hashfed.reproduction.schedule import Schedule
from hashfed.reproduction.sizes import SizeBook
from hashfed.reproduction.tuning import Score
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary


def ffn(model: ModelSettings) -> int:
    return TransformerSettings.of(model).ffn


@pytest.fixture
def options(texts: Path) -> Options:
    """Everything, with three seeds."""
    scale = replace(SCALES["smoke"], seeds=3, budgets=(0.3, 0.6))
    data = {"data.source": str(texts)}
    return Options(
        ("table1", "figure1", "table2", "buckets"), "smoke", scale, (20, 40), tuple(METHODS), data, "cpu"
    )


def sizes(data: Callable[[int], FederatedData[Vocabulary]]) -> Sizes:
    """Predicted anew, kept nowhere."""
    return Sizes(data, SizeBook(Path("none"), measured=False, keeps=False))


def play(options: Options, data: Callable[[int], FederatedData[Vocabulary]]) -> list[Planned]:
    """All that is planned, where the second trial of each method comes out better."""
    schedule = Schedule(strands(options, sizes(data)), lambda item: None)
    while (taken := schedule.take()) is not None:
        item, tell = taken
        tell(Score(item.number / 10 if isinstance(item, Trial) else 0.5, 1.0))
    assert schedule.done
    return schedule.planned


def test_what_is_foreseen_is_what_comes(options: Options) -> None:
    data = LoadedData(options).get
    planned = play(options, data)
    folders = [item.job.folder for item in planned]
    assert len(set(folders)) == len(folders)
    assert sorted(folders) == sorted(item.job.folder for item in foreseen(options, sizes(data)))


def test_runs_have_the_settings_that_won_and_seeds_in_pairs(options: Options) -> None:
    planned = play(options, LoadedData(options).get)
    trials = {
        (item.vocabulary, item.method, item.number): item for item in planned if isinstance(item, Trial)
    }
    runs = [item for item in planned if isinstance(item, Run)]
    for run in runs:
        won = trials[run.vocabulary, run.method, 2]
        assert run.job.config.client == won.job.config.client
        assert run.job.config.server.learning_rate == won.job.config.server.learning_rate
        assert run.job.config.seed == run.seed
        assert run.job.config.evaluation.clients == "test"
        assert run.job.keep_model
    assert all(trial.job.config.evaluation.clients == "validation" for trial in trials.values())
    assert not any(trial.job.keep_model or trial.job.measure_memory for trial in trials.values())
    figure = [run for run in runs if "figure1" in run.experiments and run.vocabulary == 20]
    counts = {method: len([run for run in figure if run.method == method]) for method in METHODS}
    assert counts == {"full": 3, "random": 6, "simhash": 6, "mips": 6, "sample": 9, "planes": 9}
    assert {run.budget for run in figure if run.method == "planes"} == {"0.3", "0.6", "own+1%"}


def test_every_method_is_itself(options: Options) -> None:
    config = options.config(20, "planes", OwnAnd(0.01), 10)
    assert config.selection.correction == "control-variate"
    assert config.selection.extra == 0.01
    assert (config.server.decay_start, config.server.decay_rounds, config.rounds) == (6, 10, 10)
    paper = options.config(20, "simhash", 0.3, 10)
    assert paper.retrieval.method == "simhash-union"
    assert (paper.selection.correction, paper.selection.budget, paper.selection.extra) == ("none", 0.3, None)
    assert options.config(20, "mips", 0.3, 10).selection.correction == "none"
    assert options.config(20, "random", 0.3, 10).selection.correction == "none"
    assert options.config(20, "sample", 0.3, 10).selection.correction == "tail"


def test_models_of_table_2_are_the_largest_that_fit(options: Options) -> None:
    data = LoadedData(options).get
    planned = play(options, data)
    larger = [item for item in planned if isinstance(item, Run) and item.capacity]
    assert {(run.method, run.limit) for run in larger} >= {
        ("simhash", "parameters"),
        ("planes", "parameters"),
    }
    assert all(run.job.measure_memory == (run.seed == 0) for run in larger)
    for run in larger[::3]:  # sizes are those of the first seed
        config, here = run.job.config, data(run.vocabulary)
        search = Search(config, busiest_and_median(config, here)["busiest"], here.sizes)
        plain = config.model_copy(update={"model": options.config(20, "full", 1.0, 1).model})
        full = search.cost(at_budget(plain, 1))
        cost = search.cost(config)
        more = search.cost(
            config.model_copy(update={"model": config.model.grown("ffn", ffn(config.model) + 1)}),
        )
        assert ffn(config.model) > ffn(plain.model)
        if run.limit == "parameters":
            assert run.parameters == cost.parameters <= full.parameters < more.parameters
        else:
            assert cost.memory <= full.memory < more.memory
    both = [run for run in planned if isinstance(run, Run) and run.method == "full"]
    assert all(run.experiments == ("figure1", "buckets", "table2") for run in both)
    assert len(both) == 2 * 3


def test_only_what_is_asked_for_is_trained(options: Options) -> None:
    data = LoadedData(options).get
    table = replace(options, experiments=("table2",))
    assert {item.method for item in foreseen(table, sizes(data))} == {"full", "simhash", "planes"}
    assert not foreseen(replace(options, experiments=("table1",)), sizes(data))
    buckets = foreseen(replace(options, experiments=("buckets",)), sizes(data))
    assert {item.method for item in buckets} == {"full"}


def test_vocabularies_are_cut_to_the_words_there_are(options: Options) -> None:
    read = LoadedData(options).get
    assert fitting_vocabularies(read, (40, 20, 40)) == ((20, 40), "")
    kept, told = fitting_vocabularies(read, (20, 80_000))
    assert kept[0] == 20
    assert 40 < kept[1] <= 60
    assert f"{kept[1]:,} stand for 80,000" in told
    assert read(kept[1]).size == kept[1] + 4


def test_a_failure_counts_for_the_settings_that_failed_only(options: Options, tmp_path: Path) -> None:
    data = LoadedData(options).get
    item = foreseen(options, sizes(data))[0]
    assert gather.same_outcome(tmp_path, item) is None
    (tmp_path / item.job.folder).mkdir(parents=True)
    gather.keep_failure(tmp_path, item.job, "diverged")
    assert gather.failure(tmp_path, item.job) == "diverged"
    assert gather.same_outcome(tmp_path, item) == Score(-1.0, float("inf"))
    other = replace(item.job, config=item.job.config.model_copy(update={"cohort": 3}))
    assert gather.failure(tmp_path, other) == ""
    (tmp_path / item.job.folder / gather.FAILURE).write_text('{"reason')
    assert gather.outcome(tmp_path, item) is None


def test_damaged_results_are_named(options: Options, tmp_path: Path) -> None:
    item = foreseen(options, sizes(LoadedData(options).get))[0]
    (tmp_path / item.job.folder).mkdir(parents=True)
    (tmp_path / item.job.folder / "summary.json").write_text("{")
    with pytest.raises(HashfedError, match=r"summary\.json: damaged"):
        gather.outcome(tmp_path, item)


def test_on_a_gpu_every_run_is_of_the_cohort_engine(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CohortSimulation", "Simulation"):
        monkeypatch.setattr(choose, name, lambda config, data, stop, name=name: name)
    data = LoadedData(options).get
    for device, expected in (("cuda", "CohortSimulation"), ("cpu", "Simulation")):
        planned = foreseen(replace(options, device=device), sizes(data))
        assert {item.job.config.device for item in planned} == {device}
        assert {str(choose.make_simulation(item.job.config, data(40))) for item in planned} == {expected}


def test_the_device_of_the_command_line_is_that_of_the_plan() -> None:
    parsed = build_parser().parse_args(["reproduce", "figure1", "--scale", "smoke", "--device", "cuda"])
    asked = read_options(parsed)
    assert {name: asked.config(20, name, 1.0, 2).device for name in METHODS} == dict.fromkeys(METHODS, "cuda")


def test_on_a_gpu_the_estimate_is_of_a_whole_cohort(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = list[Config]()

    def seconds(config: Config, data: FederatedData[Vocabulary]) -> float:
        measured.append(config)
        return 1e-3

    monkeypatch.setattr(estimate, "_seconds_per_prediction", seconds)
    data = LoadedData(options).get
    for device in ("cpu", "cuda"):
        asked = replace(options, device=device, vocabularies=(20,))
        estimate.seconds_by_run(asked, foreseen(asked, sizes(data)), data)
    assert [(config.device, config.cohort) for config in measured] == [
        ("cpu", 1),
        ("cuda", options.scale.cohort),
    ]
