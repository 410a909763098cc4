from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.compression import compress_rows, compress_update, compress_welcome
from hashfed.federated.messages import (
    Broadcast,
    ClientKeys,
    Declare,
    Manifest,
    Message,
    SelectedRows,
    Update,
    Welcome,
)
from hashfed.federated.settings import RowPrecision, UpdatePrecision
from hashfed.retrieval.planes import Planes


def examples(rows: int, dimension: int, seed: int) -> list[Message]:
    """One message of each kind with ``rows`` rows."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(rows, dimension, generator=generator)
    body = {"norm.weight": torch.randn(dimension, generator=generator), "é": torch.ones(2, 3)}
    ids = np.arange(rows, dtype=np.int32) * 3
    keys = {"buckets": ids, "counts": np.ones(rows, np.int32)}
    numbers = {"bits": 3, "seed": seed}
    types = (np.uint8, np.int8, np.int16, np.float16, np.int32, np.float32, np.float64, np.int64)
    arrays = {f"an {dtype.__name__}": np.arange(rows * 3).reshape(rows, 3).astype(dtype) for dtype in types}
    digests = np.arange(rows * 32, dtype=np.uint8).reshape(rows, 32)
    return [
        Declare(seed, ids, rows + 1),
        Welcome(seed, body, table, "simhash", numbers),
        ClientKeys(seed, keys),
        ClientKeys(seed, {}),
        SelectedRows(seed, rows, ids, table, torch.zeros(rows)),
        SelectedRows(seed, rows, None, table, None),
        Update(seed, 17, 1 / 3, body, ids, table),
        Update(seed, 17, 1e-30, body, None, table),
        Welcome(seed, body, table, "many types", numbers, arrays),
        ClientKeys(seed, arrays),
        Broadcast(seed, body, table, ids),
        Broadcast(seed, body, table, ids + 0.5),
        Broadcast(seed, body, table, None),
        Manifest(seed, dimension, body, "none", {}, digests, ids[:0], ids[:0], digests[:0]),
        Manifest(
            seed,
            dimension,
            body,
            "simhash",
            numbers,
            digests,
            ids,
            ids + 1,
            digests + 1,
            arrays,
            2 * ids,
            ids.astype(np.uint8),
            ids + 0.5,
        ),
        ClientKeys(seed, keys, {"codes": np.ones((rows, 2), np.uint8), "scales": np.ones(rows, np.float32)}),
        SelectedRows(seed, rows, ids, table, None, planes(dimension)),
        Update(seed, 17, 1 / 3, body, ids, table, tail=table[:1] - 1),
    ]


def planes(dimension: int) -> Planes:
    """Two of them."""
    vector, matrix = torch.tensor([1.5, -2.0]), torch.arange(2.0 * dimension).view(2, dimension)
    return Planes(vector, matrix, -vector, matrix + 0.1)


def compressed(message: Message) -> list[Message]:
    """The message in every precision; itself where it is never compressed."""
    if isinstance(message, Update):
        return [compress_update(message, precision) for precision in get_args(UpdatePrecision)]
    if isinstance(message, Welcome):
        return [compress_welcome(message, precision) for precision in get_args(RowPrecision)]
    if isinstance(message, SelectedRows):
        made: list[Message] = []
        for precision in get_args(RowPrecision):
            sent = compress_rows(message, precision)
            if sent.planes is not None:  # whose slopes are made in the precision
                dtype = sent.rows.dtype
                slopes = {name: getattr(sent.planes, name).to(dtype) for name in ("slopes", "error_slopes")}
                sent = replace(sent, planes=replace(sent.planes, **slopes))
            made.append(sent)
        return made
    return [message]


@given(st.integers(0, 50), st.integers(1, 9), st.integers(0, 10**6))
def test_claimed_size_is_the_size_of_the_bytes(rows: int, dimension: int, seed: int) -> None:
    for example in examples(rows, dimension, seed):
        for message in compressed(example):
            assert wire.size(message) == len(wire.encode(message))


@pytest.mark.parametrize("position", range(18))
def test_a_message_survives_the_wire(position: int) -> None:
    for message in compressed(examples(4, 3, 5)[position]):
        received = wire.decode(wire.encode(message))
        assert type(received) is type(message)
        assert received.numbers() == message.numbers()
        sent, found = message.tensors(), received.tensors()
        assert set(sent) == set(found)
        for name, value in sent.items():
            assert torch.equal(found[name], value)
            assert found[name].dtype == value.dtype


@pytest.mark.parametrize("data", [b"", b"x" * 40, b"\x80\x04K\x01."])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(HashfedError, match="not a hashfed message"):
        wire.decode(data)


def test_a_cut_message_is_refused() -> None:
    data = wire.encode(examples(4, 3, 5)[1])
    with pytest.raises(HashfedError, match="not a hashfed message"):
        wire.decode(data[:-1])


def test_an_update_that_is_not_finite_is_refused() -> None:
    rows = torch.zeros(2, 3)
    rows[1, 2] = torch.nan
    update = Update(7, 1, 1.0, {}, np.array([1, 2], np.int32), rows)
    with pytest.raises(HashfedError, match="returned a change of rows that is not finite"):
        update.check_values()


def test_bytes_of_planes_and_of_what_comes_back() -> None:
    """2 K (d + 1) numbers down and K d up, in the precision of rows and updates but for 2 K float32."""
    count, dimension = 5, 8
    vector, matrix = torch.zeros(count), torch.zeros(count, dimension)

    def arrays(message: Message) -> int:
        return sum(value.nbytes for value in message.tensors().values())

    for down, each in ((torch.float32, 4), (torch.float16, 2), (torch.bfloat16, 2)):
        slopes = matrix.to(down)
        bare = SelectedRows(1, 3, np.arange(3, dtype=np.int32), torch.zeros(3, dimension, dtype=down), None)
        full = replace(bare, planes=Planes(vector, slopes, vector + 1, slopes + 1))
        assert arrays(full) - arrays(bare) == 2 * count * (4 + each * dimension)
        assert wire.size(full) == len(wire.encode(full))
    update = Update(1, 1, 0.0, {}, None, torch.zeros(3, dimension))
    for precision, size in (("none", 4), ("float16", 2), ("bfloat16", 2), ("int8", 1)):
        sent = [
            compress_update(message, precision)  # type: ignore[arg-type]
            for message in (update, replace(update, tail=matrix))
        ]
        scales = 4 * count if precision == "int8" else 0
        assert arrays(sent[1]) - arrays(sent[0]) == count * dimension * size + scales


@pytest.mark.parametrize("change", [{"offsets": None}, {"surprise": torch.ones(2)}])
def test_planes_of_other_arrays_are_no_message(change: dict[str, torch.Tensor | None]) -> None:
    message = SelectedRows(1, 3, None, torch.zeros(3, 2), None, planes(2))
    arrays = message.tensors()
    for name, value in change.items():
        if value is None:
            del arrays[f"planes.{name}"]
        else:
            arrays[f"planes.{name}"] = value
    data = save(arrays, metadata={"kind": message.kind} | message.numbers())
    with pytest.raises(HashfedError, match="not a hashfed message"):
        wire.decode(data)
