"""A prepared folder holds what the same texts give in memory, whatever their order and pieces."""

import json
import pickle
import re
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hashfed.data.client_texts import ClientTexts, Group
from hashfed.errors import HashfedError
from hashfed.runs.train import describe
from hashfed.tasks.federated_data import FederatedData, all_examples
from hashfed.tasks.next_word.clients import build_federated_text
from hashfed.tasks.next_word.floors import measure_floors
from hashfed.tasks.next_word.prepared import build, word_totals
from hashfed.tasks.next_word.prepared.build import prepare
from hashfed.tasks.next_word.prepared.columns import ColumnWriter, map_column, release
from hashfed.tasks.next_word.prepared.layout import Role
from hashfed.tasks.next_word.prepared.load import load_prepared
from hashfed.tasks.next_word.prepared.manifest import NAME, SIDES
from hashfed.tasks.next_word.prepared.source_clients import SourceClients
from hashfed.tasks.next_word.settings import TextSettings
from hashfed.tasks.next_word.vocabulary import Vocabulary
from hashfed.tasks.sequences import Sequences
from prepared_texts import data_settings, folder_settings, prepared, texts
from small import small_config


def check_same(found: FederatedData[Vocabulary], expected: FederatedData[Vocabulary]) -> None:
    assert found.names == expected.names
    assert found.label_counts.tolist() == expected.label_counts.tolist()
    for some, others in ((found.train, expected.train), (found.held_out, expected.held_out)):
        assert [client.name for client in some] == [client.name for client in others]
        for one, other in zip(some, others, strict=True):
            assert len(one.examples) == len(other.examples)
            assert one.examples.weight == other.examples.weight
            assert one.examples.weights.tolist() == other.examples.weights.tolist()
            assert one.examples.shape == other.examples.shape
            for name, values in other.examples.columns().items():
                np.testing.assert_array_equal(one.examples.columns()[name], values)
                assert one.examples.columns()[name].dtype == values.dtype


def measured_text(clients: Sequence[ClientTexts], data: TextSettings) -> FederatedData[Vocabulary]:
    found = build_federated_text(clients, data)
    measure_floors(found)
    return found


def prepared_text(
    clients: Sequence[ClientTexts], data: TextSettings, folder: Path
) -> FederatedData[Vocabulary]:
    prepared(clients, data, folder)
    return load_prepared(folder_settings(folder), "test")


def outcome(make: Callable[[], FederatedData[Vocabulary]]) -> FederatedData[Vocabulary] | str:
    """What it gives, or what it refuses."""
    try:
        return make()
    except HashfedError as error:
        return str(error)


SETTINGS: list[dict[str, object]] = [
    {},
    {"long_texts": "split"},
    {"tokens_per_client": 6},
    {"sentences_per_client": 2},
    {"sentences_per_client": 3, "long_texts": "split", "tokens_per_client": 9},
    {"clients": 5, "held_out_clients": 2},
    {"clients": 3},
]


@pytest.mark.parametrize("more", SETTINGS, ids=str)
@pytest.mark.parametrize(
    "groups", [(None,), ("train", "train", "validation", "test")], ids=["names", "stated"]
)
def test_a_folder_holds_what_the_texts_give(
    more: dict[str, object], groups: Sequence[Group | None], tmp_path: Path
) -> None:
    clients, data = texts(groups=groups), data_settings(**more)
    prepared(clients, data, tmp_path / "folder")
    for side in SIDES:
        check_same(
            load_prepared(folder_settings(tmp_path / "folder"), side),
            build_federated_text(clients, data, side),
        )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 5), st.booleans())
def test_whatever_the_texts(
    tmp_path_factory: pytest.TempPathFactory, seed: int, most: int, v: int, split: bool
) -> None:
    clients = texts(25, seed)
    data = data_settings(tokens_per_client=most, vocabulary=v, long_texts="split" if split else "truncate")
    folder = tmp_path_factory.mktemp("prepared") / "folder"
    expected = outcome(lambda: measured_text(clients, data))
    found = outcome(lambda: prepared_text(clients, data, folder))
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
    else:
        check_same(found, expected)


def test_facts_are_those_that_are_measured_from_the_texts(tmp_path: Path) -> None:
    clients, data = texts(), data_settings()
    prepared(clients, data, tmp_path / "folder")
    for side in SIDES:
        for tied in (True, False):
            config = small_config(tmp_path / "folder", data={"source": str(tmp_path / "folder")})
            config = config.model_copy(
                update={"data": data, "model": config.model.model_copy(update={"tie_embeddings": tied})}
            )
            found = load_prepared(folder_settings(tmp_path / "folder"), side)
            assert describe(config, found) == describe(config, build_federated_text(clients, data, side))


def test_small_memory_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clients, data = texts(40), data_settings(vocabulary=7)
    prepared(clients, data, tmp_path / "one")
    monkeypatch.setattr(word_totals.WordTotals.__init__, "__defaults__", (2,))
    monkeypatch.setattr(build, "FLUSH", 3)
    monkeypatch.setattr(build, "RUNS", 4)
    prepared(clients, data, tmp_path / "other")
    for name in sorted(path.name for path in (tmp_path / "one").iterdir()):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_memory_does_not_grow_with_texts_in_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every text is of another client than the one before it."""
    monkeypatch.setattr(build, "FLUSH", 1 << 12)
    monkeypatch.setattr(build, "RUNS", 1 << 12)
    known, count = SourceClients(data_settings()), 200_000
    known.keys = [(None, f"c{number}") for number in range(1000)]
    known.roles = [Role.TEST] * 1000
    ends = np.arange(1, count + 1)
    columns = {"tokens": ends % 9, "ends": ends, "runs": ends * 7 % 1000, "run-ends": ends}
    for name, values in columns.items():
        with ColumnWriter(tmp_path / f"raw-{name}.npy", np.dtype("<i8")) as column:
            column.append(values)
    tracemalloc.start()
    places = build._write_names(known, tmp_path)
    build._write_in_order_of_names(places, known.settings.sentence_length, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * count
    order = np.argsort([f"c{number}" for number in columns["runs"]], kind="stable")
    np.testing.assert_array_equal(map_column(tmp_path / "tokens.npy"), columns["tokens"][order])


@pytest.mark.parametrize("count", [0, 1, 300_000])
def test_a_column_whose_memory_was_given_back_is_read_again(count: int, tmp_path: Path) -> None:
    def resident() -> int:
        """Pages of the column that are in memory."""
        text = Path("/proc/self/smaps").read_text().partition(str(path))[2]
        return int(re.search(r"\nRss: +(\d+) kB", text)[1]) if text else 0  # type: ignore[index]

    path, values = tmp_path / "column.npy", np.arange(count)
    with ColumnWriter(path, np.dtype("<i8")) as writer:
        writer.append(values)
    column = map_column(path)
    for _ in range(2):
        np.testing.assert_array_equal(column, values)
        before = resident()
        release(column[: count // 2])  # all of it, though only a part is named
        assert resident() == 0
        assert before > 0 or not count
    np.testing.assert_array_equal(column, values)


def test_large_vocabularies_have_wider_ids(tmp_path: Path) -> None:
    clients = [ClientTexts(f"c{number}", [f"w{number} w{number + 1}"]) for number in range(9)]
    many = Vocabulary(tuple(f"w{number}" for number in range(70_000)))
    data = data_settings(vocabulary=70_000)
    prepare(lambda: iter(clients), data, tmp_path / "folder", many)
    assert json.loads((tmp_path / "folder" / NAME).read_text())["columns"]["tokens"]["dtype"] == "<i4"
    check_same(
        load_prepared(folder_settings(tmp_path / "folder"), "test"),
        build_federated_text(clients, data, vocabulary=many),
    )


def test_examples_are_taken_joined_bound_and_sent(tmp_path: Path) -> None:
    clients, data = texts(), data_settings()
    prepared(clients, data, tmp_path / "folder")
    found = load_prepared(folder_settings(tmp_path / "folder"), "test")
    expected = build_federated_text(clients, data)
    for some, others in ((found.train, expected.train), (found.held_out, expected.held_out)):
        stored, other = all_examples(some), all_examples(others)
        assert isinstance(other, Sequences)
        one = stored.take(np.arange(len(stored)))
        mixed = np.random.default_rng(0).permutation(len(other))
        for index in (mixed, mixed[:3], mixed[:0]):
            taken, wanted = one.take(index), other.take(index)
            for name, values in wanted.columns().items():
                np.testing.assert_array_equal(taken.columns()[name], values)
            again = pickle.loads(pickle.dumps(taken))
            assert again.weights.tolist() == wanted.weights.tolist()
        assert one.own("output", "input").tolist() == other.own("output", "input").tolist()
        batch = one.bind({"output": None, "input": None}, torch.device("cpu")).batch(torch.tensor([1, 0]))
        wanted_batch = other.bind({"output": None, "input": None}, torch.device("cpu")).batch(
            torch.tensor([1, 0])
        )
        assert torch.equal(batch.targets.rows, wanted_batch.targets.rows)
    clients_again = pickle.loads(pickle.dumps(found.train))
    assert len(pickle.dumps(found.train)) < 4 * len(found.train) + 2000
    assert [client.name for client in clients_again[1:4]] == [client.name for client in expected.train[1:4]]


def test_nothing_is_left_of_what_fails(tmp_path: Path) -> None:
    def broken() -> Iterator[ClientTexts]:
        yield from texts()
        raise HashfedError("line 31: damaged")

    with pytest.raises(HashfedError, match="line 31: damaged"):
        prepare(broken, data_settings(), tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
    prepared(texts(), data_settings(), tmp_path / "folder")
    before = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    with pytest.raises(HashfedError, match="is there already"):
        prepared(texts(), data_settings(), tmp_path / "folder")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
