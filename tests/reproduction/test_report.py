import io
import json
import math
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hashfed import HashfedError
from hashfed.reproduction.methods import METHODS
from hashfed.reproduction.report import print_reproduction, require_reproduction_report, write_reports
from hashfed.reproduction.report.looks import marker, style, symbol
from hashfed.reproduction.report.markdown import escaped, markdown
from hashfed.reproduction.report.page import write_page
from hashfed.reproduction.results import FULL, Choice, Reproduction, RunRow, TrialRow
from pages import Page
from reproduced import empty, failed_row, run_row, whole

pytest.importorskip("jinja2")
pytest.importorskip("plotly")
pytest.importorskip("matplotlib")

FIGURES = {"figure1.svg", "figure1.pdf", "figure1-ours.svg", "figure1-ours.pdf"}
CSV = {"figure1.csv", "table1.csv", "table2.csv", "trials.csv"}
SMALLEST = "Smallest budgets that are as good as full"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole reproduction."""
    folder = tmp_path_factory.mktemp("reports")
    written = write_reports(whole(), folder)
    assert [path.name for path in written[:2]] == ["report.html", "report.md"]
    assert {path.name for path in written[2:]} == FIGURES | CSV
    assert all(path.parent == folder and path.stat().st_size for path in written)
    return folder


@pytest.fixture(scope="module")
def page(reports: Path) -> Page:
    return Page(reports / "report.html")


def page_of(found: Reproduction, folder: Path) -> Page:
    """The page alone, for figures take long."""
    write_page(found, folder / "report.html", [], "test")
    return Page(folder / "report.html")


def at(method: str, budget: str, *accuracies: float, **changes: Any) -> list[RunRow]:
    """Runs of seeds 0, 1, …"""
    return [
        run_row(method, budget, seed=seed, accuracy=one, **changes) for seed, one in enumerate(accuracies)
    ]


SMALL = (
    *at(FULL, "1", 0.20, 0.21),
    *at("random", "0.3", 0.19, 0.2, nll=5.2),
    *at("random", "0.6", 0.1998, 0.2098, nll=5.05),
    *at("planes", "0.3", 0.2, 0.211, nll=4.999),
    *at("planes", "own+1%", 0.1996, 0.2097, nll=5.009),
)


# Bytes


def test_the_same_records_give_the_same_bytes_whatever_matplotlib_is_told(
    reports: Path, tmp_path: Path
) -> None:
    from matplotlib import rc_context

    with rc_context({"lines.linewidth": 7, "font.size": 20}):
        written = write_reports(whole(), tmp_path)
    for path in written:
        assert path.read_bytes() == (reports / path.name).read_bytes(), path.name


def test_a_clock_decides_one_line_of_page_and_markdown(tmp_path: Path) -> None:
    later = replace(whole(), seconds=54_321.0)
    sources = [page_of(later, tmp_path / "one").source, page_of(whole(), tmp_path / "other").source]
    for one, other in (sources, (markdown(later, []), markdown(whole(), []))):
        lines = zip(one.split("\n"), other.split("\n"), strict=True)
        (differing,) = (line for line, there in lines if line != there)
        assert "All runs and trials together took 15.1 hours." in differing


def test_figures_are_plain_and_undated(reports: Path) -> None:
    for name in FIGURES:
        data = (reports / name).read_bytes()
        assert not re.search(rb"CreationDate|dc:date|/Type3", data)
        if name.endswith("svg"):
            root = ElementTree.fromstring(data)
            links = [
                value for item in root.iter() for key, value in item.attrib.items() if key.endswith("href")
            ]
            assert links
            assert all(link.startswith("#") for link in links)
        else:
            assert data.startswith(b"%PDF-")


# The page


def test_the_page_links_only_what_lies_beside_it(page: Page) -> None:
    assert set(page.loads) == FIGURES | CSV | {"runs/10000-words/full-1-seed0/buckets.html"}
    assert not re.search(r"https?:|url\(|@import", page.source)
    assert page.source.lstrip().startswith("<!doctype html>")


def test_ids_are_unique_and_every_table_has_its_caption(page: Page) -> None:
    ids = re.findall(r' id="([^"]+)"', page.source)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'aria-labelledby="([^"]+)"', page.source)) == set(ids)
    for caption, rows in page.rows.items():
        assert len({len(row) for row in rows}) == 1, caption


def test_smallest_budgets(tmp_path: Path) -> None:
    found = empty(runs=SMALL, methods=(FULL, "random", "planes", "mips"), seconds=60.0)
    page = page_of(found, tmp_path)
    table = page.tables[SMALLEST]
    assert table["Method"] == ["1,000 words, 0.05 points", "1,000 words, 0.01 nats"]
    assert table["Random"] == ["60%", "none"]
    assert table["Ours, planes"] == ["1.4% (own+1%)"] * 2
    assert table["Exact MIPS"] == ["–", "–"], "it has not run"
    assert "monotone" in page.text
    assert set(re.findall(r'data-run="(\d)"', page.source)) == {"0", "1", "5"}, "switches of what is drawn"
    result = (
        "1,000 words: full reaches an accuracy of 20.50\u00a0±\u00a00.71% and 5.000\u00a0±\u00a00.000 nats."
    )
    assert result in page.text
    assert "within 0.05 points of full from: Random 60%; Ours, planes 1.4% (own+1%)." in page.text
    gaps = page.rows["Figure 1 in numbers, 1,000 words"]
    first = ["Random", "0.6", "60%", "20.48\u00a0±\u00a00.71", "−0.02", "−0.02, −0.02"]
    assert gaps[2] == [*first, "5.050\u00a0±\u00a00.000", "+0.050", "+0.050, +0.050", "2", "0"]
    assert gaps[1][:6] == ["Full", "1", "100%", "20.50\u00a0±\u00a00.71", "–", "–"]


def test_floors_stand_below_the_gaps(page: Page) -> None:
    table = page.tables["Figure 1 in numbers, 10,000 words"]
    assert table["(bigram floor)"][2] == "15.90"
    assert table["(unigram floor)"][5] == "6.200"
    assert "(a table of word pairs: 15.90%)" in page.text


def test_table_2_has_the_papers_column_beside_ours(page: Page) -> None:
    header, *lines = page.rows["A wider FFN, as in the paper"]
    assert [line[0] for line in lines] == [
        *("Full", "Hashing (the paper's)", "Hashing (the paper's)", "Ours, planes", "Ours, planes"),
    ] * 2
    named = [dict(zip(header, line, strict=True)) for line in lines]
    full, hashed = named[0], named[1]
    assert full["Paper's accuracy (%), parameters"] == "24.54\u00a0±\u00a00.16, 1.92M"
    assert hashed["Paper's accuracy (%), parameters"] == "24.72\u00a0±\u00a00.16, 1.71M"
    assert (hashed["Within"], hashed["Paper's gain"]) == ("parameters", "+0.18 (10K)")
    assert (hashed["Parameters"], hashed["Memory"]) == ("1.90M (0.97×)", "33.0 MB (0.97×)")
    assert hashed["Gain (points)"] == "+0.34"
    assert hashed["Each seed"] == "+0.33, +0.35, +0.35"
    assert (full["Gain (points)"], full["Paper's gain"], full["Memory"]) == ("–", "–", "34.0 MB")
    assert named[6]["Paper's gain"] == "+0.79 (80K)", "the nearest of the paper's, named"
    assert named[6]["Paper's accuracy (%), parameters"] == "–"
    assert float(full["Unified (%)"][:5]) < float(full["Accuracy (%)"][:5])
    others = page.rows["Other sizes: embedding and blocks"]
    assert {line[2].replace("\u00a0", " ") for line in others[1:]} == {
        "d 96, FFN 1,536, 3 blocks",
        "d 128, FFN 1,536, 3 blocks",
        "d 96, FFN 1,536, 5 blocks",
    }
    assert "largest gain over full: +0.84 points (Ours, planes: d\u00a096" in page.text


def test_claims_follow_from_the_results(page: Page, tmp_path: Path) -> None:
    lines = page.rows["The paper's claims"][1:]
    assert lines[0][:3] == [
        "Hashing is better than random sampling at the same computed parameters.",
        "10,000",
        "yes",
    ]
    assert lines[0][3] == "0.05: +0.97; 0.1: +0.52; 0.3: +0.18; 0.6: +0.13"
    assert lines[1][2] == "no"
    verdicts = [line[2] for line in lines]
    said = f"agree with {verdicts.count('yes')} of the {len(verdicts)} claims"
    assert said in page.text
    # The other way round the same rules say the opposite.
    swap = {"random": "simhash", "simhash": "random"}
    turned = [replace(run, method=swap.get(run.method, run.method)) for run in whole().runs]
    other = page_of(replace(whole(), runs=tuple(turned)), tmp_path)
    assert other.rows["The paper's claims"][1][2] == "no"
    assert other.rows["The paper's claims"][1][3].startswith("0.05: −0.97")


def test_trials_choices_settings_and_folders(page: Page) -> None:
    trials = page.rows["Trials of settings, 30,000 words"]
    assert trials[0][2:7] == [
        *(
            "client.learning_rate",
            "server.learning_rate",
            "server.epsilon",
            "retrieval.bits",
            "retrieval.tables",
        )
    ]
    hashed = [line for line in trials if line[0].startswith("Hashing")]
    assert hashed[0][1:] == ["1", "0.1", "0.03162", "0.0001", "8", "8", "11.00", "5.400", ""]
    assert hashed[1][-1] == "chosen"
    assert hashed[2][-3:] == ["–", "–", "failed: diverged in round 9"]
    assert page.source.count('<tr class="marked">') == 12
    assert page.rows["Chosen settings"][1] == ["Full", "10,000", "0.1", "0.01", "0.0001", "–", "–", "3"]
    assert page.rows["What the paper leaves open"][2][1] == "One epoch, batches of 16 sentences."
    settings = page.tables["Settings and versions"]
    assert settings["seeds"] == ["0, 1, 2"]
    assert settings["machine"] == ["2 cores, x86_64"]
    assert settings["cohort"] == ["16 clients"]
    assert "--data.source chitchat --scale small" in page.text
    assert "2.7 hours" in page.text
    assert page.rows["All runs"][1][-1] == "runs/10000-words/full-1-seed0"
    assert page.tables["Parameters of the model"]["weights of a block"][:2] == ["330K", "331,776"]


# Plots


def test_a_method_looks_the_same_everywhere(page: Page) -> None:
    looks: dict[str, set[tuple[str, str]]] = {}
    for figure in page.figures:
        for trace in figure["data"]:
            if "name" in trace and trace["mode"] == "lines+markers":
                drawn = (trace["line"]["color"], trace["marker"]["symbol"])
                looks.setdefault(trace["name"], set()).add(drawn)
    assert len(looks) == 5
    assert all(len(each) == 1 for each in looks.values())
    assert len({style(method).colour for method in METHODS}) == len(METHODS)
    assert (
        len({symbol(method) for method in METHODS})
        == len({marker(method) for method in METHODS})
        == len(METHODS)
    )
    assert style(FULL).colour == "#d55e00"


def test_the_papers_form_has_the_papers_methods(page: Page) -> None:
    names = [{trace["name"] for trace in figure["data"] if "name" in trace} for figure in page.figures]
    assert len(names) == 6, "two panels each of: the paper's form, all methods, nats"
    assert names[0] == {"Full", "Random", "Hashing (the paper's)", "Exact MIPS"}
    assert len(names[2]) == 6
    assert "Full" not in names[4]
    kinds = [
        (figure["layout"]["xaxis"].get("type"), figure["layout"]["yaxis"].get("type"))
        for figure in page.figures
    ]
    assert kinds[::2] == [(None, None), ("log", None), ("log", "log")]


def test_rings_mark_the_smallest_budgets(tmp_path: Path) -> None:
    page = page_of(empty(runs=SMALL, methods=(FULL, "random", "planes")), tmp_path)
    rings = [
        [
            (trace["x"][0], trace["y"][0])
            for trace in figure["data"]
            if "circle-open" in str(trace.get("marker"))
        ]
        for figure in page.figures
    ]
    assert rings[0] == []
    assert rings[1] == [pytest.approx((60.0, 20.48)), pytest.approx((1.4, 20.465))]
    assert rings[2] == [pytest.approx((1.4, 0.009))]


def test_bands_are_one_deviation_and_gains_stand_at_the_lower_edge(tmp_path: Path) -> None:
    page = page_of(empty(runs=SMALL, methods=(FULL, "planes")), tmp_path)
    band = next(
        trace for trace in page.figures[1]["data"] if trace.get("fill") and trace["meta"]["runs"] == [5]
    )
    half = 100 * 0.011 / math.sqrt(2)
    assert band["y"][1] == pytest.approx(20.55 + half)
    assert band["y"][2] == pytest.approx(20.55 - half)
    gaps = next(trace for trace in page.figures[2]["data"] if trace["mode"] == "lines+markers")
    assert gaps["y"] == pytest.approx([0.009, 0.001])
    assert gaps["customdata"] == pytest.approx([0.009, -0.001])


# Unfinished reproductions

FAILED = [failed_row(method, budget) for method in ("random", "planes") for budget in ("0.1", "own+1%")]
PARTIAL = {
    "nothing": empty(),
    "one full run": empty(runs=(run_row(),)),
    "no full": empty(runs=SMALL[2:]),
    "one seed": empty(runs=tuple(run for run in SMALL if run.seed == 0)),
    "only ours": empty(runs=SMALL, methods=(FULL, "planes")),
    "all failed": empty(runs=(*FAILED, failed_row(FULL, "1"))),
    "some failed": empty(runs=(*SMALL, *FAILED)),
    "one of two vocabularies": empty(
        vocabularies=(1000, 3000), runs=SMALL, experiments=("figure1", "table2")
    ),
    "table 1": replace(whole(), experiments=("table1",), runs=(), trials=()),
    "table 2 without full": replace(
        whole(1),
        experiments=("table2",),
        runs=tuple(run for run in whole(1).runs if run.capacity),
    ),
    "failed in table 2": empty(
        experiments=("table2",),
        runs=(
            run_row(experiments=("table2",)),
            failed_row("simhash", "0.3", experiments=("table2",), capacity="ffn", limit="parameters"),
        ),
    ),
    "trials only": replace(whole(), runs=()),
    "full only": empty(runs=(run_row(),), methods=(FULL,)),
    "a diverged likelihood": empty(runs=(run_row(), run_row("random", "0.3", nll=math.inf, accuracy=0.0))),
}


@pytest.mark.parametrize("name", list(PARTIAL))
def test_what_is_not_finished_is_shown_as_far_as_it_is(name: str, tmp_path: Path) -> None:
    found = PARTIAL[name]
    page, text = page_of(found, tmp_path), markdown(found, [])
    assert not re.search(r"\bnan\b", page.text + text, re.IGNORECASE)
    assert not re.search(r"NaN|Infinity", json.dumps(page.figures))
    for caption, rows in page.rows.items():
        assert len(rows) > 1, f"{caption} is empty"
    drawn = any("figure1" in run.experiments and not run.failed for run in found.runs)
    assert bool(page.figures) == drawn
    assert FIGURES.issubset(page.loads) == drawn
    assert ("(figure1.svg)" in text) == drawn
    file = io.StringIO()
    print_reproduction(found, file)
    assert file.getvalue()


@pytest.mark.filterwarnings("error")  # of matplotlib, of a legend of nothing
@pytest.mark.parametrize(
    "name", ["all failed", "no full", "some failed", "a diverged likelihood", "full only"]
)
def test_what_is_linked_is_written(name: str, tmp_path: Path) -> None:
    written = {path.name for path in write_reports(PARTIAL[name], tmp_path)}
    assert written == {*Page(tmp_path / "report.html").loads, "report.html", "report.md"}
    assert written == {path.name for path in tmp_path.iterdir()}


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    page = page_of(PARTIAL["one seed"], tmp_path)
    assert page.tables["Figure 1 in numbers, 1,000 words"]["Full"][2] == "20.00"
    assert not any(trace.get("fill") for figure in page.figures for trace in figure["data"])


def test_failed_runs_are_counted_and_named(tmp_path: Path) -> None:
    page = page_of(PARTIAL["some failed"], tmp_path)
    assert page.tables["Runs that failed"]["Random"][1:4] == ["own+1%", "0", "diverged in round 12"]
    assert "4 of 14 runs failed." in page.text
    gaps = page.rows["Figure 1 in numbers, 1,000 words"]
    assert [row[-2:] for row in gaps if row[:2] == ["Ours, planes", "0.1"]] == [["0", "1"]]
    assert [row[-2:] for row in gaps if row[:2] == ["Ours, planes", "own+1%"]] == [["2", "1"]]
    assert page.tables[SMALLEST]["Ours, planes"] == ["30%", "30%"], "10% failed"


def test_nothing_yet(tmp_path: Path) -> None:
    write_reports(empty(), tmp_path)
    assert "There is no result yet." in Page(tmp_path / "report.html").text
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.md"}


# Texts from elsewhere


def test_texts_are_escaped(tmp_path: Path) -> None:
    odd = "a|b <i>*x*</i> </script> `c` $d$ \u202e &amp;"
    trial = TrialRow(1000, "random", 1, {"client.learning_rate": 0.1}, math.nan, math.nan, True, odd, odd)
    found = empty(
        data=odd,
        runs=(run_row(), failed_row("random", "0.1", failed=odd, folder=odd)),
        trials=(trial,),
        choices=(Choice(odd, odd),),
        settings={odd: odd},
        command=f"hashfed ``` {odd}",
        notes=(odd,),
        buckets="a b/ü&.html",
    )
    page = page_of(found, tmp_path)
    assert "<i>" not in page.source
    assert "\u202e" not in page.source
    shown = odd.replace("\u202e", "\\u202e")
    assert page.tables["Settings and versions"][shown] == [shown]
    assert "a%20b/%C3%BC%26.html" in page.loads
    text = markdown(found, [])
    assert "\u202e" not in text
    assert escaped(odd) in text
    assert escaped(odd).startswith(r"a\|b \<i\>\*x\*\</i\>")
    assert f"````\nhashfed ``` {shown}\n````" in text
    assert "(a%20b/%C3%BC%26.html)" in text


# Markdown


def test_every_table_of_the_markdown_has_lines_of_one_length(reports: Path) -> None:
    blocks = (reports / "report.md").read_text(encoding="utf-8").split("\n\n")
    tables = [block.split("\n") for block in blocks if block.startswith("| ")]
    assert len(tables) == 13
    for lines in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert set(lines[1]) <= set("| :-")


def test_the_markdown_says_what_the_page_says(reports: Path, page: Page) -> None:
    text = (reports / "report.md").read_text(encoding="utf-8")
    for caption, rows in page.rows.items():
        assert f"**{escaped(caption)}**" in text
        for row in rows:
            assert all(escaped(cell) in text for cell in row)
    assert "![Figure 1 in the paper's form](figure1.svg)" in text
    assert text.count("<details>") == text.count("</details>") == 3
    assert text == markdown(whole(), ["figure1.csv", "table1.csv", "table2.csv", "trials.csv"])


# Terminal


def test_the_terminal_shows_budgets_and_gains() -> None:
    file = io.StringIO()
    print_reproduction(whole(), file)
    blocks = [block.split("\n") for block in file.getvalue().rstrip("\n").split("\n\n")]
    assert [block[0].split("  ")[0] for block in blocks] == [
        *("figure 1, 10,000 words", "figure 1, 30,000 words", "table 2", "table 1")
    ]
    assert " ".join(blocks[0][-1].split()) == "Ours, planes 5% 10% 17.80 ± 0.13 4.621 ± 0.021 15 0"
    assert blocks[2][2].split()[-3:] == ["+0.34", "+0.18", "(10K)"]
    assert blocks[3][1].split()[-2:] == ["330K", "331,776"]
    file = io.StringIO()
    print_reproduction(empty(), file)
    assert file.getvalue() == "There is no result yet.\n"


# Packages


@pytest.mark.parametrize("package", ["matplotlib", "matplotlib.figure", "plotly.offline", "jinja2"])
def test_a_missing_package_is_one_line_before_anything_is_written(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_reproduction_report()
    monkeypatch.setitem(sys.modules, package, None)
    for call in (require_reproduction_report, lambda: write_reports(whole(1), tmp_path)):
        with pytest.raises(
            HashfedError, match=r"hashfed reproduce: needs .* \(pip install 'hashfed\[report\]'\)$"
        ):
            call()
    assert list(tmp_path.iterdir()) == []
