"""The SQLite files of TensorFlow Federated: a row for each example, and one for each client of a split.

    examples(split_name TEXT, client_id TEXT, serialized_example_proto BLOB)
    client_metadata(client_id TEXT, split_name TEXT, num_examples INTEGER)

Stack Overflow's has the splits ``train``, ``heldout`` and ``test``. A person may have texts in ``train`` and,
of later years, in ``test``, under one id. What TFF itself writes has one split, ``N/A``.
"""

import sqlite3
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hashfed.data.client_texts import ClientTexts, Key
from hashfed.data.part import SPLITS, Part, Taken, needed
from hashfed.data.pieces import gather
from hashfed.data.sqlite_files import opened
from hashfed.data.text_files import control_problem
from hashfed.data.tf_example import ExampleError, text_feature
from hashfed.display import brief, printable, shown
from hashfed.errors import HashfedError

NO_SPLIT = "N/A"
"""The split of a file that has none."""
TOKENS = "tokens"
"""The feature with an example's words."""
COLUMNS = {
    "client_metadata": ("client_id", "split_name", "num_examples"),
    "examples": ("split_name", "client_id", "serialized_example_proto"),
}
Pair = tuple[str, str]
"""A split and an id, as the file has them."""


@dataclass
class _Promised:
    """What ``client_metadata`` says of a client in a split, and what was found.

    Attributes:
        examples: how many it should have.
        taken: the texts; those of ids that are one name (``_key``) in one.
        found: how many it has.

    """

    examples: int
    taken: Taken
    found: int = 0


def read_sqlite(path: Path, part: Part, name: Path | None = None) -> list[ClientTexts]:
    """The clients of a file that a part needs; of others no example is read, where the file has an index.

    Args:
        path: of the file, which is only read.
        part: what is needed.
        name: what messages call the file.

    Raises:
        HashfedError: where it is damaged or of another layout.

    """
    where = name or path
    with opened(path, where) as database:
        _check_columns(database, where)
        counts = dict(_counts(database, where))
        wanted = needed({_key(*pair) for pair in counts}, part)
        clients = {key: Taken(part) for pair in counts if (key := _key(*pair)) in wanted}
        promised: dict[Key, dict[Pair, _Promised]] = {key: {} for key in clients}
        for pair, count in counts.items():
            key = _key(*pair)
            if key in clients:
                promised[key][pair] = _Promised(count, clients[key])
        if _is_indexed(database):
            for pairs in promised.values():
                _read_client(database, pairs, where)
        else:
            _scan(database, {pair: one for pairs in promised.values() for pair, one in pairs.items()}, where)
    return [ClientTexts(name, taken.texts, group) for (group, name), taken in clients.items()]


def stream_sqlite(path: Path, name: Path | None = None) -> Iterator[ClientTexts]:
    """All clients of a file in pieces, in one pass in the order of its rows.

    Of a client only its name and the number of its examples stay in memory.

    Raises:
        HashfedError: as ``read_sqlite``; that a client has too few examples, or too many, at the end.

    """
    where = name or path
    with opened(path, where) as database:
        _check_columns(database, where)
        left: dict[str, dict[str, int]] = {}  # by split and id: no pair of the two in memory for each client
        for (split, id), count in _counts(database, where):
            left.setdefault(split, {})[id] = count

        def examples() -> Iterator[tuple[Key, str]]:
            of: Pair | None = None
            for split, id, example in _rows(database):
                if of != (split, id):  # most rows are of the same client as the row before
                    of, ids = None, left.get(split, {})
                    if id not in ids:
                        continue
                    of, key = (split, id), _key(split, id)
                ids[id] -= 1
                try:
                    text = _text(example)
                except ExampleError as error:
                    number = _promised_examples(database, (split, id)) - ids[id]
                    raise _damaged(error, number, (split, id), where) from None
                yield key, text

        yield from gather(examples())
        for split, ids in left.items():
            for id, missing in ids.items():
                if missing:
                    promised = _promised_examples(database, (split, id))
                    _check_count(promised - missing, promised, (split, id), where)


def _check_columns(database: sqlite3.Connection, where: Path) -> None:
    for table, columns in COLUMNS.items():
        found = {str(row[1]) for row in database.execute(f"PRAGMA table_info({table})")}
        missing = [column for column in columns if column not in found]
        if not found:
            raise HashfedError(
                f"{where}: has no table {table}; needs those of TFF, examples and client_metadata"
            )
        if missing:
            raise HashfedError(f"{where}: its table {table} has no column {missing[0]}")


def _counts(database: sqlite3.Connection, where: Path) -> Iterator[tuple[Pair, int]]:
    """The number of examples of each client that has some."""
    splits = [row[0] for row in database.execute("SELECT DISTINCT split_name FROM client_metadata")]
    for split in splits:
        if not isinstance(split, str) or (split not in SPLITS and split != NO_SPLIT):
            allowed = ", ".join((*SPLITS, NO_SPLIT))
            raise HashfedError(
                f"{where}: client_metadata has the split_name {shown(split)}; known are {allowed}"
            )
    if NO_SPLIT in splits and len(splits) > 1:
        other = next(split for split in splits if split != NO_SPLIT)
        raise HashfedError(f"{where}: has clients of the split {other} and others of none ({NO_SPLIT})")
    query = "SELECT split_name, client_id, num_examples FROM client_metadata"
    seen: dict[str, set[str]] = {split: set() for split in splits}
    for split, id, count in database.execute(query):
        if not isinstance(id, str):
            raise HashfedError(f"{where}: client_metadata has the client_id {shown(id)}; needs text")
        problem = control_problem(id)
        if problem is not None:
            raise HashfedError(f"{where}: the client_id {shown(id)} {problem}")
        if not isinstance(count, int) or count < 0:
            raise HashfedError(
                f"{where}: client_metadata: num_examples of client {printable(brief(id))} is {shown(count)}"
            )
        if id in seen[split]:
            raise HashfedError(f"{where}: client_metadata has client {printable(brief(id))} of {split} twice")
        if count:
            seen[split].add(id)
            yield (sys.intern(split), id), count


def _promised_examples(database: sqlite3.Connection, pair: Pair) -> int:
    """What ``_counts`` gave for one of its pairs."""
    query = "SELECT max(num_examples) FROM client_metadata WHERE split_name = ? AND client_id = ?"
    (count,) = database.execute(query, pair).fetchone()
    if not isinstance(count, int):
        raise sqlite3.DatabaseError("client_metadata has an index without some of its rows")
    return count


def _key(split: str, id: str) -> Key:
    """What ids have in common that are one name in Unicode's NFC, and the several names of one split."""
    return SPLITS.get(split), unicodedata.normalize("NFC", id)


def _is_indexed(database: sqlite3.Connection) -> bool:
    """Whether the examples of one client are found without reading those of all."""
    for _, index, *_ in database.execute("PRAGMA index_list(examples)").fetchall():
        quoted = str(index).replace('"', '""')
        columns = [row[2] for row in database.execute(f'PRAGMA index_info("{quoted}")')]
        if columns[:1] == ["client_id"] or set(columns[:2]) == {"client_id", "split_name"}:
            return True
    return False


def _read_client(database: sqlite3.Connection, pairs: dict[Pair, _Promised], where: Path) -> None:
    """The examples of one client, who may have several ids, in the order of the file."""
    each = " OR ".join(["(split_name = ? AND client_id = ?)"] * len(pairs))
    rows = database.execute(
        f"SELECT split_name, client_id, serialized_example_proto FROM examples WHERE {each} ORDER BY rowid",
        [name for pair in pairs for name in pair],
    )
    for split, id, example in rows:
        client = pairs.get((split, id))
        if client is not None:
            _add(client, example, (split, id), where)
            if client.taken.full:
                return
    for pair, client in pairs.items():
        _check_count(client.found, client.examples, pair, where)


def _scan(database: sqlite3.Connection, promised: dict[Pair, _Promised], where: Path) -> None:
    """Every row once; the examples of others than these clients are passed over."""
    for split, id, example in _rows(database):
        client = promised.get((split, id))
        if client is not None and not client.taken.full:
            _add(client, example, (split, id), where)
    for pair, client in promised.items():
        if not client.taken.full:
            _check_count(client.found, client.examples, pair, where)


def _rows(database: sqlite3.Connection) -> Iterator[tuple[str, str, bytes]]:
    yield from database.execute(
        "SELECT split_name, client_id, serialized_example_proto FROM examples ORDER BY rowid"
    )


def _add(client: _Promised, example: object, pair: Pair, where: Path) -> None:
    client.found += 1
    try:
        text = _text(example)
    except ExampleError as error:
        raise _damaged(error, client.found, pair, where) from None
    client.taken.add(text)


def _text(example: object) -> str:
    """The words of an example."""
    if not isinstance(example, bytes):
        raise ExampleError(f"is {shown(example)}, not bytes")
    text = text_feature(example, TOKENS)
    problem = control_problem(text) if "\0" in text else None
    if problem is not None:
        raise ExampleError(problem)
    return text


def _damaged(error: ExampleError, number: int, pair: Pair, where: Path) -> HashfedError:
    """Said of a client's example of this number."""
    return HashfedError(f"{where}: example {number} of client {_said(pair)} {error}")


def _check_count(found: int, promised: int, pair: Pair, where: Path) -> None:
    if found != promised:
        raise HashfedError(
            f"{where}: client {_said(pair)} has {found:,} examples, but {promised:,} by "
            "client_metadata; the file is damaged or was not written to its end"
        )


def _said(pair: Pair) -> str:
    split, id = pair
    name = printable(brief(id))
    return name if split == NO_SPLIT else f"{name} ({split})"
