import gzip
from pathlib import Path

import numpy as np
import pytest

from hashfed.errors import HashfedError
from hashfed.tasks.labels.text_files import read_values
from hashfed.tasks.labels.xc_format import read_label_file

QUIRKS = (
    b"8 5 4\n"
    b"3,0 4:1.5 1:-2e-1\n"  # in any order
    b" 2:3\n"  # no label
    b"1\n"  # no feature
    b"\n"  # neither
    b"1,1,2   0:1\t3:.5  \r\n"  # a label twice; spaces, tabs, the line ends of Windows
    b"0:2 4:0\n"  # no label, and no space either
    b"2 \n"
    b"0 1:1"  # no end of line
)


def read(path: Path, data: bytes, pack: bool = False) -> list[tuple[list[int], dict[int, float]]]:
    path.write_bytes(gzip.compress(data) if pack else data)
    found = read_label_file(path, "data.source").examples
    labels = np.split(found.labels, np.cumsum(found.label_counts)[:-1])
    features = np.split(found.features, np.cumsum(found.feature_counts)[:-1])
    values = np.split(found.values, np.cumsum(found.feature_counts)[:-1])
    return [
        (one.tolist(), dict(zip(ids.tolist(), numbers.tolist(), strict=True)))
        for one, ids, numbers in zip(labels, features, values, strict=True)
    ]


@pytest.mark.parametrize("pack", [False, True])
def test_all_that_such_files_have(pack: bool, tmp_path: Path) -> None:
    # Compressed or not is seen from the bytes, not from the name.
    assert read(tmp_path / "train.txt", QUIRKS, pack) == [
        ([0, 3], {1: pytest.approx(-0.2), 4: 1.5}),
        ([], {2: 3.0}),
        ([1], {}),
        ([], {}),
        ([1, 2], {0: 1.0, 3: 0.5}),
        ([], {0: 2.0, 4: 0.0}),
        ([2], {}),
        ([0], {1: 1.0}),
    ]


def test_sizes_are_those_of_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1 70000 9\n8 69999:1\n\n \n")
    found = read_label_file(tmp_path / "a", "data.source")
    assert (found.features, found.labels) == (70000, 9)
    assert found.examples.features.dtype == found.examples.labels.dtype == np.int32
    assert found.examples.feature_counts.dtype == found.examples.label_counts.dtype == np.int64
    assert found.examples.values.dtype == np.float32


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", ", line 1: '': must be the numbers of examples, features and labels, such as '12920 500 983'"),
        (b"1,2 3:1\n", ", line 1: '1,2 3:1': must be the numbers of "),
        (b"1 0 2\n0\n", ", line 1: '1 0 2': must be the numbers of "),
        (b"1 9999999999 2\n0\n", ", line 1: '1 9999999999 2': must be the numbers of "),
        (b"2 3 2\n0 1:1\n1,x 1:1\n", ", line 3: label 'x': must be a whole number"),
        (b"1 3 2\n0, 1:1\n", ", line 2: label '': must be a whole number"),
        (b"1 3 2\n-1 1:1\n", ", line 2: label '-1': must be a whole number"),
        (b"1 3 2\n0 1:1 2\n", ", line 2: feature '2': must be a feature and its value, such as 17:0.5"),
        (b"1 3 2\n0 1:one\n", ", line 2: feature '1:one': must be a feature and its value"),
        (b"1 3 2\n0 1:nan\n", ", line 2: feature '1:nan': must be a feature and its value"),
        (b"1 3 2\n0 1.5:1\n", ", line 2: feature '1.5:1': must be a feature and its value"),
        (b"1 3 2\n0 1:1e99\n", ", line 2: value of feature 1 = 1e+99: must be finite"),
        (b"2 3 2\n\n2 1:1\n", ", line 3: label 2: must be from 0 to 1, as the first line says"),
        (b"3 3 2\n0 1:1\n1\n0 1:1 3:1\n", ", line 4: feature 3: must be from 0 to 2, as the first line says"),
        (b"2 3 2\n0 1:1\n0 2:1 1:1 2:5\n", ", line 3: feature 2: is there twice"),
        (b"3 3 2\n0 1:1\n", ": ends after 1 examples: must have 3, as the first line says"),
        (b"1 3 2\n0 1:1\n\n1 1:1\n", ", line 4: '1 1:1': must have 1 examples, as the first line says"),
        (gzip.compress(b"99 3 2\n" + b"0 1:1\n" * 99, mtime=0)[:30], ": damaged or cut off"),
    ],
)
def test_a_mistake_is_one_line(data: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(HashfedError) as caught:
        read(tmp_path / "a.txt", data)
    assert str(caught.value).startswith(f"data.source = {tmp_path / 'a.txt'}{problem}")
    assert "\n" not in str(caught.value)


def test_what_is_no_count_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"2 3 2\n0 1:1\n1 0:2 2:.5\n")
    read_label_file(tmp_path / "a", "data.source")
    with pytest.raises(HashfedError) as caught:
        read_label_file(tmp_path / "a", "data.source", counted=True)
    assert str(caught.value) == (
        f"data.source = {tmp_path / 'a'}, line 3: value of feature 2 = 0.5: must be a count, at least 1, "
        "with data.values = tf-idf (data.values = raw takes any)"
    )


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(HashfedError, match=r"^data\.test = .*none: No such file or directory$"):
        read_label_file(tmp_path / "none", "data.test")


def test_a_value_a_line(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_bytes(gzip.compress(" 17\r\nanna müller \n\n".encode()))
    assert read_values(path, 2, "data.client_ids", "training example") == ("17", "anna müller")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"a\n", ": 1 lines: must have 2, one for each training example"),
        (b"a\nb\nc\n", ", line 3: 'c': must have 2 lines, one for each training example"),
        (b"a\n \n", ", line 2: '': must be a text, for each training example"),
        (b"a\nb\0\n", ", line 2: "),
        (b"\xff\nb\n", ", line 1: "),
    ],
)
def test_a_wrong_value_is_one_line(data: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes(data)
    with pytest.raises(HashfedError) as caught:
        read_values(tmp_path / "ids", 2, "data.client_ids", "training example")
    assert str(caught.value).startswith(f"data.client_ids = {tmp_path / 'ids'}{problem}")
    assert "\n" not in str(caught.value)
