import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from hashfed.errors import HashfedError
from hashfed.tasks.next_item.readers.reading import read_histories

NONE: dict[str, str | None] = {"user": None, "item": None, "time": None}
EXPECTED = {"ann": ["x", "y", "x"], "bob": ["y"]}

FILES = {
    "a.txt": "ann x\nbob y\n\nann y\nann\tx\n",
    "a.inter": "user_id:token\trating:float\titem_id:token\ttimestamp:float\n"
    "ann\t1\ty\t2.5\nann\t1\tx\t3\nbob\t1\ty\t0\nann\t1\tx\t-1\n",
    "a.csv": '\ufeffitem,"userId",timestamp\r\nx,ann,1\r\ny,bob,1\r\n"y","ann",2\r\nx,ann,2\r\n',
    "a.tsv": "user\titem\nann\tx\nann\ty\nann\tx\nbob\ty\n",
}


def read(path: Path, format: str | None = None, **wanted: str) -> dict[str, list[str]]:
    found = read_histories(str(path), "data.source", format, {**NONE, **wanted})  # type: ignore[arg-type]
    return {one.user: [one.names[item] for item in one.items] for one in found}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_every_text_format_says_the_same(name: str, packed: bool, tmp_path: Path) -> None:
    data, path = FILES[name].encode(), tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(data) if packed else data)
    assert read(path) == EXPECTED


def test_a_line_may_have_all_items_of_a_user(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("ann x y x\nnobody\nbob y\n")
    assert read(path, "user-items") == EXPECTED


def test_parquet_with_points_in_time(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path, days = tmp_path / "a.parquet", [3, 1, 1, 2]
    columns = {
        "user_id": ["ann", "bob", "ann", "ann"],
        "product": ["x", "y", "x", "y"],
        "when": [datetime(2026, 1, day, tzinfo=UTC) for day in days],
    }
    parquet.write_table(pa.table(columns), path)
    assert read(path, item="product", time="when") == EXPECTED
    parquet.write_table(pa.table({"user": [1, None], "item": [2, 3]}), path)
    with pytest.raises(HashfedError, match=r"row 2: user = None: must be a text or a whole number"):
        read(path)
    path.write_text("ann x\n")
    with pytest.raises(HashfedError, match="no readable Parquet file"):
        read(path)


INTER = "user_id:token\titem_id:token\ttimestamp:float\n"


@pytest.mark.parametrize(
    ("name", "content", "format", "said"),
    [
        ("a.txt", "ann x\nann\n", None, "line 2: 'ann': must be 'user item', not 1 fields"),
        (
            "a.txt",
            "ann x y\n",
            None,
            "line 1: 'ann x y': must be 'user item', not 3 fields; for all items of a user",
        ),
        (
            "a.txt",
            "ann x\nann y\n",
            "user-items",
            "line 2: user = 'ann': there before; a line must have all items",
        ),
        ("a.txt", "ann \0\n", None, r"line 1: item = '\x00': must be a name of 1 to 1000 printable"),
        ("a.txt", b"ann \xff\n", None, r"line 1: b'ann \xff': must be UTF-8 text"),
        ("a.txt", "\n", None, "holds no interaction"),
        ("a.txt.gz", b"\x1f\x8b\x08", None, "damaged or cut off"),
        ("a.dat", "ann x\n", None, "its name tells no format"),
        ("a.inter", "user\titem\n", None, "line 1: 'user': must be a column's name:type (token, float"),
        (
            "a.inter",
            "user_id:token\tprice:float\n",
            None,
            "line 1: no column of the items; it has user_id, price",
        ),
        (
            "a.inter",
            "user_id:float\titem_id:token\n",
            None,
            "line 1: 'user_id:float': the column of the users must be",
        ),
        (
            "a.inter",
            INTER + "ann\tx\n",
            None,
            "line 2: 'ann\\tx': must have 3 columns as the first line, not 2",
        ),
        ("a.inter", INTER + "ann\tx\tsoon\n", None, "line 2: time = 'soon': must be a number"),
        ("a.csv", "user,item\nann,\n", None, "line 2: item = '': must be a name"),
        ("a.csv", "user,item\nann,x,1\n", None, "line 2: 'ann,x,1': must have 2 columns"),
        ("a.csv", 'user,item\n"ann,x\n', None, "line 2: "),
        ("a.csv", "user,item,time\nann,x,nan\n", None, "line 2: time = 'nan': must be a number"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    name: str, content: str | bytes, format: str | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(HashfedError) as error:
        read(path, format)
    assert str(error.value).startswith(f"data.source = {path}")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_columns_and_files_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,item\nann,x\n")
    with pytest.raises(HashfedError, match=r"line 1: no column 'when'; it has user, item \(name one time\)"):
        read(path, time="when")
    with pytest.raises(HashfedError, match=r"data.time_column = when: has no effect"):
        read(path, "user-item", time="when")
    with pytest.raises(HashfedError, match="a folder; must be a file"):
        read(tmp_path)
    with pytest.raises(HashfedError, match="no such file"):
        read(tmp_path / "b.csv")


def test_damaged_parquet_is_refused_in_one_line(tmp_path: Path) -> None:
    """Whatever pyarrow says of a file with bytes that were changed."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    whole = tmp_path / "whole.parquet"
    parquet.write_table(pyarrow.table({"user": ["a", "b"] * 20, "item": [*range(40)]}), whole)
    content, path, rng = whole.read_bytes(), tmp_path / "damaged.parquet", np.random.default_rng(0)
    said = []
    for _ in range(200):
        changed = bytearray(content)
        for place in rng.integers(len(content), size=3):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            read(path)
        except HashfedError as error:
            said.append(str(error))
    assert len(said) > 100
    for message in said:
        assert message.startswith(f"data.source = {path}")
        assert "\n" not in message
