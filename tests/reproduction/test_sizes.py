"""The book of sizes of table 2's models."""

from pathlib import Path

import pytest

from hashfed.errors import HashfedError
from hashfed.models import ModelSettings, TransformerSettings
from hashfed.reproduction.sizes import SizeBook, largest_sizes
from small import small_config, small_data


def ffn(model: ModelSettings) -> int:
    return TransformerSettings.of(model).ffn


def test_sizes_are_found_once(tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, data = small_config(texts), small_data(texts)
    found = SizeBook(tmp_path / "sizes.json", measured=False).largest(config, data, ("ffn",))
    assert found == list(largest_sizes(config, data, ("ffn",), None))
    assert {one.limit for one in found} >= {"parameters"}
    monkeypatch.setattr("hashfed.reproduction.sizes.largest_sizes", None)
    assert SizeBook(tmp_path / "sizes.json", measured=False).largest(config, data, ("ffn",)) == found


def test_a_size_is_lowered_until_its_measured_memory_fits(texts: Path) -> None:
    model = {"embedding": 512, "ffn": 4, "blocks": 1}  # the rows are most of it
    few: dict[str, object] = {
        "selection": {"budget": 0.3},
        "client": {"examples": 1},
        "retrieval": {"method": "random"},
    }
    config = small_config(texts, model=model, **few)
    data = small_data(texts)
    measured: list[int] = []

    def measure(one: object) -> int:
        measured.append((1000, 1010, 990)[len(measured)])
        return measured[-1]

    predicted = {one.limit: one for one in largest_sizes(config, data, ("ffn",), None)}
    found = {one.limit: one for one in largest_sizes(config, data, ("ffn",), measure)}
    assert measured == [1000, 1010, 990]  # all rows, the size predicted, a smaller one
    assert found["parameters"] == predicted["parameters"]
    assert ffn(config.model) < ffn(found["memory"].model) < ffn(predicted["memory"].model)


@pytest.mark.parametrize("content", ['{"a": ', "[1]", "null", '{"%s": [{"capacity": "ffn"}]}', '{"%s": 1}'])
def test_a_damaged_book_is_one_line(tmp_path: Path, texts: Path, content: str) -> None:
    config, data, path = small_config(texts), small_data(texts), tmp_path / "sizes.json"
    SizeBook(path, measured=False).largest(config, data, ("ffn",))
    key = path.read_text().split('"')[1]
    path.write_text(content.replace("%s", key))
    with pytest.raises(HashfedError, match=r"sizes.json: damaged \(.+\); delete it") as error:
        SizeBook(path, measured=False).largest(config, data, ("ffn",))
    assert "\n" not in str(error.value)
