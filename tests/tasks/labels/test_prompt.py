import numpy as np
import pytest

from hashfed.errors import HashfedError
from hashfed.tasks.labels.names import LabelNames
from hashfed.tasks.labels.task import LabelsSettings

RAW, WEIGHTED = LabelsSettings(), LabelsSettings(values="tf-idf")


def names(features: tuple[str, ...] | None = ("red", "Big", "old")) -> LabelNames:
    return LabelNames(
        labels=("x", "y"),
        features=features,
        examples=10,
        label_counts=(3, 4),
        documents=10,
        feature_documents=(1, 5, 2),
    )


def read(
    *words: str, settings: LabelsSettings = RAW, known: LabelNames | None = None
) -> tuple[dict[int, float], tuple[str, ...]]:
    prompt = settings.build().prompt(words, known or names())
    columns = prompt.examples.columns()
    assert len(prompt.examples) == 1
    assert prompt.text(1) == "y"
    return dict(zip(columns["features"].tolist(), columns["values"].tolist(), strict=True)), prompt.notes


def test_features_with_values_and_names() -> None:
    assert read("2:0.5 0:1", "1:-3") == ({0: 1.0, 1: -3.0, 2: 0.5}, ())
    assert read("RED", "red Big", "old") == ({0: 2.0, 1: 1.0, 2: 1.0}, ())
    assert read("red 2:4", known=names()) == ({0: 1.0, 2: 4.0}, ())


def test_what_is_unknown_is_told() -> None:
    assert read("red blue blue huge") == ({0: 1.0}, ("no features of this run, and left out: blue, huge",))
    nothing = "no feature is known; these are the labels of nothing in particular"
    assert read("") == ({}, (nothing,))


def test_values_become_what_the_run_s_examples_are() -> None:
    found, _ = read("0:1 1:2", settings=WEIGHTED)
    due = np.array([np.log(10), (1 + np.log(2)) * np.log(2)])
    assert list(found.values()) == pytest.approx(due / np.linalg.norm(due), rel=1e-6)


@pytest.mark.parametrize(
    ("words", "settings", "features", "problem"),
    [
        ("3:1", RAW, True, "'3:1': must be a feature from 0 to 2 with a finite value"),
        ("1:1e99", RAW, True, "'1:1e99': must be a feature from 0 to 2 with a finite value"),
        ("1:1 1:2", RAW, True, "'1:2': is there twice"),
        (
            "dog",
            RAW,
            False,
            "'dog': must be a feature and its value, such as 17:0.5 (this run knows no names",
        ),
        ("1:0.5", WEIGHTED, True, "1:0.5: must be a count, at least 1, with data.values = tf-idf"),
    ],
)
def test_a_mistake_is_one_line(words: str, settings: LabelsSettings, features: bool, problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        read(words, settings=settings, known=names() if features else names(None))
    assert str(caught.value).startswith(problem)
