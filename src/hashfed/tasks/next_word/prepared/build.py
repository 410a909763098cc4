"""From a source of any size to a prepared folder, in memory that grows with the number of clients alone.

The source is read once, and once before where ``data.clients`` chooses clients by the names of all. Where no
vocabulary is given words are written as numbers, which become ids when all words are counted. What is
written goes to a folder beside, which becomes the folder when all is done: one that was not finished is never
taken for one that was.
"""

import hashlib
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashfed.data.client_texts import full_name
from hashfed.display import printable
from hashfed.errors import HashfedError
from hashfed.files import write_atomically
from hashfed.hashing.parts import neighbours
from hashfed.tasks.examples import span_sizes, spans
from hashfed.tasks.federated_data import EmptySideError, FederatedData
from hashfed.tasks.next_word.clients import check_sides, label_counts
from hashfed.tasks.next_word.prepared.columns import SUFFIX, ColumnWriter, checksum, map_column, release
from hashfed.tasks.next_word.prepared.facts import measure
from hashfed.tasks.next_word.prepared.layout import HELD_OUT, TRAIN, Store
from hashfed.tasks.next_word.prepared.manifest import (
    FIXED,
    NAME,
    SIDES,
    VERSION,
    VOCABULARY,
    Column,
    Facts,
    Manifest,
)
from hashfed.tasks.next_word.prepared.new_folder import made
from hashfed.tasks.next_word.prepared.source_clients import Pieces, SourceClients
from hashfed.tasks.next_word.prepared.word_totals import WordTotals
from hashfed.tasks.next_word.sentences import cut_text
from hashfed.tasks.next_word.settings import TextSettings
from hashfed.tasks.next_word.vocabulary import OOV, Vocabulary
from hashfed.tasks.reading import Tell, tell_nobody

FLUSH = 1 << 20
"""Words held before they are written, or moved at a time."""
RUNS = 1 << 22
"""Runs of sentences of one client that are put in order at a time."""
Number = Callable[[Sequence[str], bool], list[int]]
"""Gives the numbers of the words of a text, and is told whether they make the vocabulary."""


def prepare(
    pieces: Pieces,
    settings: TextSettings,
    folder: Path,
    vocabulary: Vocabulary | None = None,
    tell: Tell = tell_nobody,
    wait: bool = False,
) -> Manifest:
    """Write the folder; its examples are those of ``clients.build_federated_text``, bit for bit.

    Args:
        pieces: of the source.
        settings: of the data.
        folder: to be made; must not be there, but for an unfinished one.
        vocabulary: use this one instead of the most frequent words.
        tell: progress.
        wait: for another process that makes it.

    Raises:
        ThereError: where the folder is there.
        HashfedError: where the source is damaged or has no client to train on, or the folder is there or
            cannot be written; nothing is left then.

    """
    with made(folder, wait) as new:
        written = _write_source(pieces, settings, new, vocabulary, tell)
        vocabulary = written.vocabulary
        names = vocabulary.to_json().encode()
        write_atomically(new / VOCABULARY, names)
        store = Store(new, settings.sentence_length)
        facts: dict[str, Facts] = {}
        problems: dict[str, str] = {}
        for side in SIDES:
            train, held_out = store.clients(TRAIN[side]), store.clients(HELD_OUT[side])
            counts = label_counts(train, len(vocabulary))
            with ColumnWriter(new / f"counts-{side}{SUFFIX}", np.dtype("<i8")) as column:
                column.append(counts)
            try:
                check_sides(written.clients, train, held_out, side, written.stated)
                facts[side] = measure(FederatedData(vocabulary, train, held_out, counts), train, held_out)
            except EmptySideError as error:  # a run that evaluates on the others can do without
                problems[side] = str(error)
        if not facts:
            raise HashfedError(problems[SIDES[0]])
        manifest = Manifest(
            version=VERSION,
            source=printable(settings.source),
            settings={name: getattr(settings, name) for name in FIXED},
            stated=written.stated,
            clients=written.clients,
            sentences=written.sentences,
            columns=_columns(new),
            facts=facts,
            problems=problems,
            vocabulary_sha256=hashlib.sha256(names).hexdigest(),
        )
        write_atomically(new / NAME, manifest.model_dump_json(indent=1).encode())
    return manifest


@dataclass(frozen=True)
class _Written:
    """What was found of a source whose sentences are written.

    Attributes:
        vocabulary: that they are written with.
        clients: how many it has.
        stated: whether it says what they are for.
        sentences: how many were written.

    """

    vocabulary: Vocabulary
    clients: int
    stated: bool
    sentences: int


@dataclass(frozen=True)
class _Clients:
    """What is held of the clients of a source when it is read and their names are written.

    Attributes:
        places: (c,) int64: of each in the folder, in order of appearance; -1 for those who have none.
        stated: whether the source says what they are for.
        counted: whether the words of any make the vocabulary.

    """

    places: np.ndarray
    stated: bool
    counted: bool


def _write_source(
    pieces: Pieces, settings: TextSettings, folder: Path, vocabulary: Vocabulary | None, tell: Tell
) -> _Written:
    """Everything that is read of the source."""
    ids: np.ndarray | None = None
    if vocabulary is None:
        totals = WordTotals(folder)
        found = _write_clients(pieces, settings, folder, totals.add, np.dtype("<u4"), tell)
        if not found.counted:  # which is why there is no word
            everybody = range(len(found.places))
            check_sides(len(everybody), (), everybody, SIDES[0], found.stated)
        vocabulary = Vocabulary.ranked(totals, settings.vocabulary)
        ids = totals.ids(vocabulary.ids, OOV, _type(vocabulary))
    else:
        given = vocabulary
        found = _write_clients(
            pieces, settings, folder, lambda words, _: given.encode(words), _type(given), tell
        )
    stored = _write_in_order_of_names(found.places, settings.sentence_length, folder, ids)
    for path in (*folder.glob("raw-*"), *folder.glob("words-*")):
        path.unlink()
    return _Written(vocabulary, len(found.places), found.stated, stored)


def _write_clients(
    pieces: Pieces, settings: TextSettings, folder: Path, number: Number, kind: np.dtype, tell: Tell
) -> _Clients:
    """Sentences in order of the source, and the names of clients, which are held no longer than that.

    Before the vocabulary is made, whose words would else lie between theirs and keep their memory.
    """
    known = SourceClients(settings)
    known.choose(pieces, tell)
    _write_in_order_of_source(known, pieces, number, kind, folder, tell)
    return _Clients(_write_names(known, folder), known.stated, any(known.counted))


def _type(vocabulary: Vocabulary) -> np.dtype:
    """Of ids."""
    return np.dtype("<u2") if len(vocabulary) <= np.iinfo(np.uint16).max + 1 else np.dtype("<i4")


def _write_in_order_of_source(
    known: SourceClients,
    pieces: Pieces,
    number: Number,
    kind: np.dtype,
    folder: Path,
    tell: Tell,
) -> None:
    """Numbers of words, lengths of sentences, and runs of sentences of one client."""
    length, split = known.settings.sentence_length, known.settings.splits
    tokens, ends, runs, run_ends = list[int](), array("q"), array("q"), array("q")
    written = sentences = 0
    with ExitStack() as open_files:
        columns = {
            name: open_files.enter_context(ColumnWriter(folder / f"raw-{name}{SUFFIX}", dtype))
            for name, dtype in (
                ("tokens", kind),
                ("ends", np.dtype("<i8")),
                ("runs", np.dtype("<i8")),
                ("run-ends", np.dtype("<i8")),
            )
        }

        def flush() -> None:
            for name, values in (("tokens", tokens), ("ends", ends), ("runs", runs), ("run-ends", run_ends)):
                columns[name].append(np.array(values, columns[name].dtype))
                del values[:]

        for client, words in known.kept(pieces, "write", tell):
            numbers = number(words, known.counted[client])
            if not known.roles[client]:
                continue
            for cut in cut_text(numbers, length, split):
                tokens += cut
                written += len(cut)
                sentences += 1
                ends.append(written)
                if runs and runs[-1] == client:
                    run_ends[-1] = sentences
                else:
                    runs.append(client)
                    run_ends.append(sentences)
            if len(tokens) >= FLUSH:
                flush()
        flush()


def _write_names(known: SourceClients, folder: Path) -> np.ndarray:
    """The columns of the clients who have a sentence, in order of their names; returns their places."""
    sizes, _ = _sizes(folder, len(known.keys))
    stored = np.flatnonzero(sizes).tolist()
    order = np.array(sorted(stored, key=lambda number: full_name(known.keys[number])), np.int64)
    places = np.full(len(known.keys), -1)
    places[order] = np.arange(len(order))
    names = [full_name(known.keys[number]).encode("utf-8", "surrogatepass") for number in order]
    for name, values in (
        ("client-ends", np.cumsum(sizes[order])),
        ("roles", np.array(known.roles, np.uint8)[order]),
        ("names", np.frombuffer(b"".join(names), np.uint8)),
        ("name-ends", np.cumsum([len(name) for name in names], dtype=np.int64)),
    ):
        with ColumnWriter(folder / f"{name}{SUFFIX}", values.dtype.newbyteorder("<")) as column:
            column.append(values)
    return places


def _write_in_order_of_names(
    places: np.ndarray, length: int, folder: Path, ids: np.ndarray | None = None
) -> int:
    """The columns of the sentences; returns how many there are.

    Args:
        places: of clients.
        length: T, most words of a sentence.
        folder: of the columns.
        ids: of words by their numbers; None where the numbers are ids.

    """
    raw = {
        name: map_column(folder / f"raw-{name}{SUFFIX}") for name in ("tokens", "ends", "runs", "run-ends")
    }
    runs, run_ends, raw_ends = raw["runs"], raw["run-ends"], raw["ends"]
    _, runs_of = _sizes(folder, len(places))
    order = np.argsort(places)[np.count_nonzero(places < 0) :]
    kind = (raw["tokens"] if ids is None else ids).dtype
    with (
        ColumnWriter(folder / f"tokens{SUFFIX}", kind) as tokens,
        ColumnWriter(folder / f"sentence-ends{SUFFIX}", np.dtype("<i8")) as ends,
    ):
        written = 0
        for first, end in neighbours(runs_of[order], RUNS):
            run_order = _runs_in_order(runs, places, first, end)
            sizes = span_sizes(run_ends, run_order)
            for start, stop in neighbours(sizes, FLUSH // (16 * length) + 1):
                moved = spans(run_ends[run_order[start:stop]], sizes[start:stop])
                last, lengths = raw_ends[moved], span_sizes(raw_ends, moved)
                numbers = raw["tokens"][spans(last, lengths)]
                tokens.append(numbers if ids is None else ids[numbers])
                ends.append(written + np.cumsum(lengths))
                written += int(lengths.sum())
                for column in raw.values():  # of which the system maps much around what is read
                    release(column)
        return ends.count


def _sizes(folder: Path, clients: int) -> tuple[np.ndarray, np.ndarray]:
    """(c,) int64 both: how many sentences each client has, and how many runs of them."""
    runs, run_ends = map_column(folder / f"raw-runs{SUFFIX}"), map_column(folder / f"raw-run-ends{SUFFIX}")
    sentences, runs_of = np.zeros(clients, np.int64), np.zeros(clients, np.int64)
    for start in range(0, len(runs), FLUSH):
        some = np.arange(start, min(start + FLUSH, len(runs)))
        sentences += np.bincount(runs[some], span_sizes(run_ends, some), clients).astype(np.int64)
        runs_of += np.bincount(runs[some], minlength=clients)
    return sentences, runs_of


def _runs_in_order(runs: np.ndarray, place: np.ndarray, first: int, end: int) -> np.ndarray:
    """The numbers of the runs of clients whose places are from ``first`` to before ``end``, in that order.

    All runs are looked through, a part at a time: where texts come in no order there are as many as texts.
    """
    found = []
    for start in range(0, len(runs), FLUSH):
        places = place[runs[start : start + FLUSH]]
        found.append(start + np.flatnonzero((places >= first) & (places < end)))
    numbers = np.concatenate(found)
    return np.asarray(numbers[np.argsort(place[runs[numbers]], kind="stable")])


def _columns(folder: Path) -> dict[str, Column]:
    found = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        values = map_column(path)
        found[path.stem] = Column(dtype=values.dtype.str, count=len(values), sha256=checksum(path))
    return found
