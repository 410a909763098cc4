"""Texts written as other libraries have them: FedJAX, pfl-research, LEAF, FLUTE, datasets, Parquet, CSV.

The layouts are those of the libraries' own writers, which are not needed here.
"""

import csv
import json
import math
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from split_texts import Clients, Splits

# FedJAX


def pack_array(values: Sequence[bytes] | np.ndarray) -> Any:
    """An extension of MessagePack: type 1 of numbers, type 4 of bytes."""
    import msgpack

    if isinstance(values, np.ndarray):
        content = values.shape, values.dtype.name, values.tobytes("C")
        return msgpack.ExtType(1, msgpack.packb(content, use_bin_type=True))
    return msgpack.ExtType(4, msgpack.packb(((len(values),), list(values)), use_bin_type=True))


def fedjax_data(texts: Sequence[str], feature: str = "tokens") -> bytes:
    """A client's examples, as Stack Overflow's."""
    import msgpack

    features = {
        "creation_date": pack_array([b"2018-02-28 19:06:18.34 UTC"] * len(texts)),
        "score": pack_array(np.arange(len(texts), dtype=np.int64)),
        feature: pack_array([text.encode() for text in texts]),
    }
    return zlib.compress(msgpack.packb(features))


def write_fedjax_file(path: Path, clients: Clients, feature: str = "tokens") -> Path:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE federated_data (client_id BLOB NOT NULL PRIMARY KEY, data BLOB NOT NULL, "
            "num_examples INTEGER NOT NULL)"
        )
        for client, texts in clients.items():
            row = client.encode(), fedjax_data(texts, feature), len(texts)
            database.execute("INSERT INTO federated_data VALUES (?, ?, ?)", row)
    return path


def write_fedjax(folder: Path, splits: Splits) -> Path:
    folder.mkdir(exist_ok=True)
    names = {"train": "train", "validation": "held_out", "test": "test"}
    for split, clients in splits.items():
        write_fedjax_file(folder / f"stackoverflow_{names[split]}.sqlite", clients)
    return folder


# pfl-research


def write_pfl(path: Path, splits: Splits, vocabulary: Sequence[str], length: int = 20) -> Path:
    """Sentences of at most ``length`` words as ids; words that are not in the vocabulary are unknown."""
    import h5py

    words = ["PAD", *vocabulary, "UNK", "BOS", "EOS"]
    ids = {word: id for id, word in enumerate(words)}
    with h5py.File(path, "w") as file:
        file["/metadata/vocabulary_size"] = len(words)
        file["/metadata/unk_symbol"] = ids["UNK"]
        file["/metadata/pad_symbol"] = ids["PAD"]
        file["/metadata/max_sequence_length"] = length
        for word, id in ids.items():
            file.create_dataset(f'/metadata/vocabulary/"{word}"', data=id, dtype="int32")
        for split, clients in splits.items():
            name = "val" if split == "validation" else split
            tokens = {}
            for client, texts in clients.items():
                rows = np.full((len(texts), length + 1), ids["PAD"], np.int32)
                for row, text in zip(rows, texts, strict=True):
                    sentence = ["BOS", *text.split(), "EOS"][: length + 1]
                    row[: len(sentence)] = [ids.get(word, ids["UNK"]) for word in sentence]
                file.create_dataset(f"/{name}/{client}/inputs", data=rows[:, :-1])
                file.create_dataset(f"/{name}/{client}/targets", data=rows[:, 1:])
                tokens[client] = int(np.count_nonzero(rows[:, :-1]))
            file[f"/metadata/num_tokens/{name}"] = json.dumps(tokens)
    return path


# LEAF and FLUTE


def leaf(user_data: Mapping[str, Any]) -> dict[str, Any]:
    """The object of a file."""
    counts = [len(data["x"] if isinstance(data, dict) else data) for data in user_data.values()]
    return {"users": list(user_data), "num_samples": counts, "user_data": dict(user_data)}


def reddit(texts: Sequence[str], length: int = 10) -> dict[str, Any]:
    """Comments in chunks of ten words, and beside them what comes next."""

    def chunks(words: Sequence[str]) -> list[list[str]]:
        padded = [*words, *["<PAD>"] * (-len(words) % length)]
        return [list(padded[start : start + length]) for start in range(0, len(padded), length)]

    return {
        "x": [chunks(["<BOS>", *text.split(), "<EOS>"]) for text in texts],
        "y": [
            {
                "subreddit": "learnpython",
                "created_utc": 1512086400 + number,
                "score": -1.5,
                "target_tokens": chunks([*text.split(), "<EOS>", "<PAD>"]),
                "count_tokens": [[1] * length] * math.ceil((len(text.split()) + 2) / length),
            }
            for number, text in enumerate(texts)
        ],
    }


def shakespeare(text: str, window: int = 80) -> dict[str, list[str]]:
    """Windows on a text, and the character after each."""
    starts = range(len(text) - window)
    return {"x": [text[at : at + window] for at in starts], "y": [text[at + window] for at in starts]}


def write_leaf(folder: Path, splits: Splits) -> Path:
    """Reddit, two files for each split."""
    for split, clients in splits.items():
        name = "val" if split == "validation" else split
        (folder / name).mkdir(parents=True)
        names = list(clients)
        for number, some in enumerate((names[:1], names[1:])):
            content = leaf({client: reddit(clients[client]) for client in some})
            (folder / name / f"reddit_{number}_{name}.json").write_text(json.dumps(content))
    return folder


def write_flute_json(folder: Path, splits: Splits) -> Path:
    folder.mkdir(exist_ok=True)
    for split, clients in splits.items():
        name = "val" if split == "validation" else split
        content = leaf({client: {"x": list(texts)} for client, texts in clients.items()})
        (folder / f"{name}_data.json").write_text(json.dumps(content))
    return folder


def write_flute_hdf5(folder: Path, splits: Splits) -> Path:
    import h5py

    folder.mkdir(exist_ok=True)
    for split, clients in splits.items():
        name = "val" if split == "validation" else split
        with h5py.File(folder / f"{name}_data.hdf5", "w") as file:
            file.create_dataset("users", data=list(clients))
            file.create_dataset("num_samples", data=[len(texts) for texts in clients.values()])
            users = file.create_group("user_data")
            for client, texts in clients.items():
                users.create_group(client).create_dataset("x", data=list(texts), dtype=h5py.string_dtype())
    return folder


# datasets, Parquet, CSV


def table(clients: Clients) -> dict[str, list[Any]]:
    """Columns with a row for each text, clients in turn."""
    most = max(map(len, clients.values()), default=0)
    rows = [
        (client, texts[number])
        for number in range(most)
        for client, texts in clients.items()
        if number < len(texts)
    ]
    return {
        "score": list(range(len(rows))),
        "client_id": [client for client, _ in rows],
        "text": [text for _, text in rows],
    }


def save_to_disk(folder: Path, columns: Mapping[str, Sequence[Any]], shards: int = 2, rows: int = 3) -> Path:
    """A data set as ``datasets.Dataset.save_to_disk`` has it."""
    import pyarrow

    folder.mkdir(parents=True, exist_ok=True)
    whole = pyarrow.table(dict(columns))
    size, files = -(-len(whole) // shards), []
    for shard in range(shards):
        name = f"data-{shard:05d}-of-{shards:05d}.arrow"
        with pyarrow.ipc.new_stream(str(folder / name), whole.schema) as stream:
            stream.write_table(whole.slice(shard * size, size), max_chunksize=rows)
        files.append({"filename": name})
    state: dict[str, Any] = {
        "_data_files": files,
        "_fingerprint": "5c4551406b381ab4",
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }
    (folder / "state.json").write_text(json.dumps(state))
    features = {name: {"dtype": "string", "_type": "Value"} for name in columns}
    (folder / "dataset_info.json").write_text(json.dumps({"citation": "", "features": features}))
    return folder


def write_datasets(folder: Path, splits: Splits) -> Path:
    """A ``DatasetDict``."""
    folder.mkdir(exist_ok=True)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    for split, clients in splits.items():
        save_to_disk(folder / split, table(clients))
    return folder


def write_partitions(folder: Path, splits: Splits) -> Path:
    """A folder for each client, as flwr-datasets' partitions are saved, without a column of clients."""
    folder.mkdir(exist_ok=True)
    for split, clients in splits.items():
        for client, texts in clients.items():
            save_to_disk(folder / client / split, {"text": list(texts)}, shards=1)
            (folder / client / "dataset_dict.json").write_text(json.dumps({"splits": [split]}))
    return folder


def write_parquet(folder: Path, splits: Splits) -> Path:
    import pyarrow
    import pyarrow.parquet

    folder.mkdir(exist_ok=True)
    for split, clients in splits.items():
        path = folder / f"{split}-00000-of-00001.parquet"
        pyarrow.parquet.write_table(pyarrow.table(table(clients)), path, row_group_size=3)
    return folder


def write_csv(path: Path, splits: Splits, between: str = ",") -> Path:
    """One file with a column ``split``."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=between)
        writer.writerow(["score", "client_id", "text", "split"])
        for split, clients in splits.items():
            for row in zip(*table(clients).values(), strict=True):
                writer.writerow([*row, split])
    return path
