import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from hashfed import Config, HashfedError, RunFolder, make_config
from hashfed.config import CHANGEABLE
from hashfed.report import write_page
from hashfed.report.curves import COLOURS, Drawn, evaluated, run_style, share_plot
from hashfed.report.page import (
    byte_count,
    data_facts,
    family,
    percent_of_rows,
    read_entries,
    signed,
    times,
)
from hashfed.report.results import unique_names
from hashfed.tasks.next_word.presentation import ACCURACY, NLL
from pages import Page

pytest.importorskip("jinja2")
plotly = pytest.importorskip("plotly.offline")

FLOORS = {
    "unigram_accuracy": 0.0412,
    "unigram_nll": 6.271,
    "bigram_accuracy": 0.1523,
    "bigram_nll": 5.137,
    "targets": 12345,
    "oov_rate": 0.05,
}


def make_run(
    path: Path,
    method: str = "full",
    *,
    accuracy: float = 0.2,
    nll: float = 5.0,
    settings: dict[str, Any] | None = None,
    summary: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
) -> RunFolder:
    """A finished run of 4 rounds with 2 clients each, evaluated after rounds 2 and 4."""
    path.mkdir(parents=True)
    config = make_config({"retrieval": {"method": method}, "rounds": 4, **(settings or {})})
    (path / "config.yaml").write_text(config.to_yaml())
    rows = 1000 if method == "full" else 100
    sizes = {"rows": 1000, "train_clients": 30, "train_examples": 900}
    sizes |= {"held_out_clients": 7, "held_out_examples": 5432}
    (path / "data.json").write_text(json.dumps({**sizes, "floors": FLOORS, **(data or {})}))
    metrics = {
        "accuracy": accuracy,
        "top3_accuracy": 2 * accuracy,
        "nll": nll,
        "accuracy_with_oov": accuracy / 2,
    }
    moved = {"declare": 5, "welcome": 1_000_000, "keys": 45, "rows": rows * 100, "update": 500_000}
    lines = [
        {"round": 1, "bytes": moved},
        {"round": 2, "bytes": moved, "evaluation": {**metrics, "accuracy": accuracy / 4}},
        {"round": 3, "bytes": moved},
        {"round": 4, "bytes": moved, "evaluation": metrics},
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    by_message = {kind: count / 2 for kind, count in moved.items()}
    device = {
        "rows": float(rows),
        "parameters": 20_000.0 + 10 * rows,
        "flops": 1.5e9,
        "bytes": by_message,
        "bytes_down": by_message["welcome"] + by_message["rows"],
        "bytes_up": by_message["declare"] + by_message["keys"] + by_message["update"],
        "memory_baseline": 200_000_000,
        "memory_peak": 200_000_000 + 10_000 * rows,
    }
    found = {"rounds": 4, "method": method, "evaluation": metrics, "device": device, "seconds_per_round": 2.5}
    (path / "summary.json").write_text(json.dumps({**found, **(summary or {})}))
    return RunFolder(path)


def setting_names(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All settings by dotted name, with their values."""
    for name, value in settings:
        if isinstance(value, BaseModel):
            yield from setting_names(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def page_of(tmp_path: Path, *runs: RunFolder) -> Page:
    write_page(runs, tmp_path / "page.html")
    return Page(tmp_path / "page.html")


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    runs = (make_run(tmp_path / "full"), make_run(tmp_path / "tenth", "random"))
    page = page_of(tmp_path, *runs)
    assert plotly.get_plotlyjs() in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.loads == []
    assert not re.search(r"https?:|url\(|@import", page.source)
    assert page.source.startswith("<!doctype html>")
    assert '<html lang="en">' in page.source
    assert 'name="viewport"' in page.source


def test_results_floors_and_gaps(tmp_path: Path) -> None:
    full = make_run(tmp_path / "all", accuracy=0.2346, nll=4.75)
    tenth = make_run(tmp_path / "tenth", "simhash-collisions", accuracy=0.2312, nll=4.8125)
    page = page_of(tmp_path, full, tenth)
    table = page.tables["Results on all held-out sentences"]
    assert table["all"] == ["full", "100.0%", "4", "23.46%", "11.73%", "46.92%", "4.750", "–", "–"]
    assert table["tenth"][:7] == ["simhash-collisions", "10.0%", "4", "23.12%", "11.56%", "46.24%", "4.812"]
    assert table["tenth"][7:] == ["−0.34", "+0.062"]
    assert table["unigram floor"] == ["–", "–", "–", "4.12%", "3.91%", "–", "6.271", "–", "–"]
    assert table["bigram floor"] == ["–", "–", "–", "15.23%", "14.47%", "–", "5.137", "–", "–"]
    assert "Gaps and ratios are to all." in page.text
    assert "2 runs on chitchat (10,000 words, n = 1,000 rows" in page.text
    assert "12,345 in-vocabulary target words of 7 held-out test clients" in page.text
    assert "sample of 4,000 of the 5,432 held-out sentences" in page.text
    assert "comparable" not in page.text


def test_costs_and_their_ratios(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_run(tmp_path / "all"), make_run(tmp_path / "tenth", "random"))
    table = page.tables["Cost of a device and round"]
    messages = ["declare\u00a0↑", "welcome\u00a0↓", "keys\u00a0↑", "rows\u00a0↓", "update\u00a0↑"]
    assert list(table["declare\u00a0↑"]) == messages[1:]
    by_message = ["2 B", "500 kB", "22 B", "50.0 kB", "250 kB"]
    assert table["all"] == ["30,000", "1,000", "550 kB", "250 kB", *by_message, "1.50", "10.0 MB", "2.50"]
    assert table["tenth"] == [
        *("21,000 0.70× full", "100 0.10× full", "505 kB 0.92× full", "250 kB 1.00× full"),
        *("2 B", "500 kB", "22 B", "5.00 kB", "250 kB"),
        *("1.50 1.00× full", "1.00 MB 0.10× full", "2.50 1.00× full"),
    ]


def test_a_lone_run_has_no_gaps(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_run(tmp_path / "tenth", "random", summary={"seconds_per_round": None}))
    assert "gap to full" not in page.text
    assert "× full" not in page.text
    assert "Settings that differ" not in page.tables
    assert page.tables["Cost of a device and round"]["tenth"][-1] == "–"


def test_the_gap_is_to_the_full_run_with_the_most_similar_settings(tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", accuracy=0.4, settings={"client": {"learning_rate": 0.7}})
    same = make_run(tmp_path / "same", accuracy=0.3)
    tenth = make_run(tmp_path / "tenth", "random", accuracy=0.25)
    page = page_of(tmp_path, other, same, tenth)
    assert page.tables["Results on all held-out sentences"]["tenth"][-2] == "−5.00"
    assert "Gaps and ratios are to same." in page.text
    settings = page.tables["Settings that differ"]
    assert settings["Run"] == ["client.learning_rate", "retrieval.method"]
    assert settings["other"] == ["0.7", "full"]
    page = page_of(tmp_path, other, tenth)
    assert page.tables["Results on all held-out sentences"]["tenth"][-2] == "−15.00"
    assert "are to other, which also differs in client.learning_rate." in page.text


def test_names_are_escaped(tmp_path: Path) -> None:
    full = make_run(tmp_path / "<b>&%{x}", settings={"data": {"source": "<i>text.jsonl"}})
    page = page_of(
        tmp_path, full, make_run(tmp_path / "<!--<script>", settings={"data": {"source": "<i>text.jsonl"}})
    )
    assert "<b>&%" not in page.source
    assert "<i>" not in page.source
    assert "<b>&%{x}" in page.tables["Results on all held-out sentences"]
    assert "<i>text.jsonl" in page.text
    # Plotly reads tags, and in templates %{…}.
    trace = page.figures[0]["data"][0]
    assert trace["name"] == trace["meta"]["name"] == "&lt;b&gt;&amp;%{x}"
    assert "%{x}: %{y" in trace["hovertemplate"]
    assert "&amp;" not in trace["hovertemplate"]


def test_runs_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / parent / "run", accuracy=accuracy)
        for parent, accuracy in (("a", 0.1), ("b", 0.2))
    ]
    page = page_of(tmp_path, *runs, runs[0])
    table = page.tables["Results on all held-out sentences"]
    assert table["a/run"][3] == "10.00%"
    assert table["b/run"][3] == "20.00%"
    assert "2 runs" in page.text, "a folder given twice is one run"


def test_unique_names_take_as_many_parents_as_needed() -> None:
    paths = [Path("/x/a/run"), Path("/y/a/run"), Path("/x/b/run"), Path("/x/b/walk")]
    assert unique_names(paths) == ["x/a/run", "y/a/run", "b/run", "walk"]


@pytest.mark.parametrize(
    ("settings", "data", "reason"),
    [
        ({"data": {"vocabulary": 5000}}, {}, "data.vocabulary: 10000 (Data 1); 5000 (Data 2)"),
        ({"data": {"source": "mine.jsonl"}}, {}, "data.source: chitchat (Data 1); mine.jsonl (Data 2)"),
        (
            {"evaluation": {"clients": "validation"}},
            {},
            "evaluation.clients: test (Data 1); validation (Data 2)",
        ),
        ({}, {"train_clients": 31}, "train clients: 30 (Data 1); 31 (Data 2)"),
    ],
)
def test_runs_on_different_data_are_shown_apart(
    tmp_path: Path, settings: dict[str, Any], data: dict[str, Any], reason: str
) -> None:
    one = make_run(tmp_path / "one")
    two = make_run(tmp_path / "two", "random", settings=settings, data=data)
    page = page_of(tmp_path, one, two)
    assert "Not all of these runs are comparable." in page.text
    assert reason in page.text
    assert "Data 2: " in page.text
    assert page.tables["Results on all held-out sentences"].keys() >= {"one", "two"}
    assert "× full" not in page.text, "no ratio across data"
    names = [{trace["name"] for trace in figure["data"] if "name" in trace} for figure in page.figures]
    assert names == [{"one"}] * 6 + [{"two"}] * 6


def test_data_are_the_same_although_kept_elsewhere(tmp_path: Path) -> None:
    floors = {**FLOORS, "bigram_nll": 5.137 * (1 + 1e-14)}
    runs = [
        make_run(tmp_path / "one", settings={"data": {"source": "/here/text.jsonl"}}),
        make_run(
            tmp_path / "two", settings={"data": {"source": "there/text.jsonl"}}, data={"floors": floors}
        ),
    ]
    assert "comparable" not in page_of(tmp_path, *runs).text


def test_runs_on_different_samples_are_pointed_out(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"seed{seed}", settings={"seed": seed}) for seed in (0, 1)]
    assert "do not share one sample" in page_of(tmp_path, *runs).text
    everything = {"evaluation": {"examples": None}}
    runs = [make_run(tmp_path / f"all{seed}", settings={"seed": seed, **everything}) for seed in (0, 1)]
    text = page_of(tmp_path, *runs).text
    assert "on all 5,432 held-out sentences" in text
    assert "do not share one sample" not in text


def test_plots_hold_curves_floors_and_final_values(tmp_path: Path) -> None:
    full = make_run(tmp_path / "all", accuracy=0.2, nll=5.0)
    tenth = make_run(tmp_path / "tenth", "random", accuracy=0.16, nll=5.25)
    page = page_of(tmp_path, full, tenth)
    accuracy_rounds, nll_rounds, accuracy_bytes, _, accuracy_share, nll_share = page.figures
    assert accuracy_rounds["data"][0]["x"] == [2, 4]
    assert accuracy_rounds["data"][0]["y"] == pytest.approx([5, 20])
    assert nll_rounds["data"][1]["y"] == [5.25, 5.25]
    # 2 and 4 rounds of 5 + 10⁶ + 45 + 100·rows + 500,000 bytes.
    assert accuracy_bytes["data"][0]["x"] == pytest.approx([2 * 0.00160005, 4 * 0.00160005])
    assert accuracy_bytes["data"][1]["x"] == pytest.approx([2 * 0.00151005, 4 * 0.00151005])
    for figure in page.figures:
        assert [shape["line"]["dash"] for shape in figure["layout"]["shapes"]] == ["6px,4px"] * 2
        assert [label["text"] for label in figure["layout"]["annotations"]] == [
            "bigram floor",
            "unigram floor",
        ]
        for axis in ("xaxis", "yaxis"):
            assert figure["layout"][axis]["title"]["text"]
    assert [shape["y0"] for shape in accuracy_rounds["layout"]["shapes"]] == pytest.approx([15.23, 4.12])
    assert [shape["y0"] for shape in nll_share["layout"]["shapes"]] == [5.137, 6.271]
    _, line, point = accuracy_share["data"]
    assert line["name"] == "all"
    assert line["y"] == pytest.approx([20] * 3)
    assert (point["name"], point["x"], point["y"]) == ("tenth", [10], [16])


def test_a_run_has_one_colour_everywhere(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_run(tmp_path / "all"), make_run(tmp_path / "tenth", "random"))
    colours: dict[str, set[str]] = {}
    for figure in page.figures:
        for trace in figure["data"]:
            if "name" in trace:
                part = trace["line"] if "lines" in trace["mode"] else trace["marker"]
                colours.setdefault(trace["name"], set()).add(part["color"])
    assert colours == {"all": {COLOURS[0]}, "tenth": {COLOURS[1]}}
    swatches = re.findall(r'stroke="(#\w+)"', page.source)
    assert {colour: swatches.count(colour) for colour in swatches} == {COLOURS[0]: 6, COLOURS[1]: 6}


def test_styles_of_many_runs_differ() -> None:
    assert len({run_style(position) for position in range(24)}) == 24


def test_runs_that_differ_in_budget_only_are_joined(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "large", "random", settings={"selection": {"budget": 0.3}}),
        make_run(tmp_path / "small", "random", settings={"selection": {"budget": 0.1}}),
        make_run(tmp_path / "seed", "random", settings={"seed": 1}),
        make_run(tmp_path / "exact", "exact"),
    ]
    page = page_of(tmp_path, *runs)
    joined = [trace["meta"]["runs"] for trace in page.figures[4]["data"] if "name" not in trace]
    assert joined == [[0, 1], [2], [3]]
    assert "Methods: ● random, ■ exact." in page.text


LIMITS = ("selection.budget", "selection.extra", "selection.max_rows", "selection.max_bytes")


@pytest.mark.filterwarnings("ignore:Pydantic")  # values of other types
@pytest.mark.parametrize("name", [name for name, _ in setting_names(Config())])
def test_a_setting_parts_families_where_it_decides_numbers(name: str) -> None:
    """Whatever settings there will be: those that a resumed run may change join."""
    group, _, last = name.rpartition(".")
    config = Config()
    if group:
        inner = getattr(config, group).model_copy(update={last: "another value"})
        other = config.model_copy(update={group: inner})
    else:
        other = config.model_copy(update={last: 12345})
    joins = name in LIMITS or name.startswith(("evaluation.", "data."))
    joins |= name in CHANGEABLE and name != "rounds"
    assert (family(config) == family(other)) is joins


def test_data_have_sections_of_their_own_which_no_setting_of_them_is_left_out_of(tmp_path: Path) -> None:
    (entry,) = read_entries([make_run(tmp_path / "run")])
    names = {name for name, _ in setting_names(Config()) if name.startswith("data.")}
    assert names <= set(data_facts(entry))


def test_a_diverged_run_leaves_a_gap(tmp_path: Path) -> None:
    page = page_of(
        tmp_path, make_run(tmp_path / "all"), make_run(tmp_path / "lost", "random", nll=float("nan"))
    )
    assert page.tables["Results on all held-out sentences"]["lost"][6] == "nan"
    assert "NaN" not in page.source
    assert page.figures[1]["data"][1]["y"] == [None, None]
    lone = page_of(tmp_path, RunFolder(tmp_path / "lost"))
    assert lone.figures[5]["layout"]["yaxis"]["range"][0] < 5.137


def test_the_share_plot_names_floors_out_of_sight(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "all", accuracy=0.16), make_run(tmp_path / "tenth", "random", accuracy=0.15)]
    drawn = [Drawn(entry.position, entry.result, "") for entry in read_entries(runs)]
    plot = share_plot(drawn, ACCURACY)
    assert plot.remark == "higher is better; unigram floor at 4.12 %"
    low, high = plot.layout["yaxis"]["range"]
    assert 4.12 < low < 15 < 15.23 < 16 < high
    assert share_plot(drawn, NLL).remark == "lower is better", "one value: both floors are in sight"


def test_evaluations_carry_all_bytes_until_then() -> None:
    lines = [
        {"round": 1, "bytes": {"rows": 1, "update": 2}},
        {"round": 2, "bytes": {"rows": 4}, "evaluation": {"nll": 3.0}},
    ]
    assert evaluated(lines) == [{"round": 2, "gigabytes": 7e-9, "nll": 3.0}]


def test_unfinished_and_missing_runs_are_refused(tmp_path: Path) -> None:
    finished = make_run(tmp_path / "finished")
    with pytest.raises(HashfedError, match="nowhere: not a run"):
        page_of(tmp_path, finished, RunFolder(tmp_path / "nowhere"))
    with pytest.raises(HashfedError, match="longer: not finished"):
        page_of(tmp_path, make_run(tmp_path / "longer", summary={"rounds": 3}))
    begun = make_run(tmp_path / "begun")
    (begun.path / "summary.json").unlink()
    with pytest.raises(HashfedError, match="begun: not finished"):
        page_of(tmp_path, finished, begun)
    with pytest.raises(HashfedError, match="at least one run"):
        page_of(tmp_path)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("package", ["jinja2", "plotly.offline"])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(HashfedError, match=r"plotly and jinja2 \(pip install 'hashfed\[report\]'\)"):
        page_of(tmp_path, make_run(tmp_path / "run"))


def test_numbers_are_written_to_be_read() -> None:
    assert [byte_count(count) for count in (0, 610.4, 999.6, 11_710.9, 192_000, 999_700, 4.4e6, 7.856e9)] == [
        *("0 B", "610 B", "1.00 kB", "11.7 kB", "192 kB", "1.00 MB", "4.40 MB", "7.86 GB")
    ]
    assert [signed(value, 2) for value in (0.126, -0.126, -0.001)] == ["+0.13", "−0.13", "0.00"]
    assert [times(ratio) for ratio in (1.5, 0.09996, 0.0123)] == ["1.50×", "0.10×", "0.012×"]
    assert [percent_of_rows(share) for share in (1.0, 0.09996, 0.0012)] == ["100.0%", "10.0%", "0.12%"]
