import io
import pickle

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from hypothesis import given
from hypothesis import strategies as st

from hashfed.engines.flower.records import arrays, pack, size, tensors, unpack
from hashfed.engines.network.parcel import Parcel
from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.messages import ClientKeys, Declare, Message, SelectedRows, Update, Welcome


def messages(count: int, width: int, dtype: torch.dtype) -> list[Message]:
    ids = np.arange(count, dtype=np.int32)
    rows = torch.arange(count * width, dtype=torch.float32).reshape(count, width).to(dtype)
    body = {"block.0": rows.T.contiguous(), "bias": torch.ones(3)}
    return [
        Declare(3, ids, 7),
        Welcome(3, body, rows, "simhash", {"bits": 4}, {"planes": ids.astype(np.uint8)}),
        ClientKeys(3, {"counts": ids.astype(np.int16), "codes": ids.astype(np.uint8)}),
        SelectedRows(3, 7, ids, rows, torch.zeros(count)),
        SelectedRows(3, 7, None, rows, None),
        Update(3, 12, 0.1, body, ids, rows),
    ]


@given(
    st.integers(0, 5),
    st.integers(1, 4),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int8]),
)
def test_messages_survive_flowers_serialization(count: int, width: int, dtype: torch.dtype) -> None:
    parcel = Parcel(3, problems={"c9": "no text"}, reports={"c1": {"rows": 4.0}})
    sent = messages(count, width, dtype)
    for position, message in enumerate(sent):
        parcel.add(f"c{position}", message)
    found = unpack(recorddict_from_proto(recorddict_to_proto(pack(parcel))))
    assert (found.round, found.problems, found.reports) == (3, {"c9": "no text"}, {"c1": {"rows": 4.0}})
    for position, message in enumerate(sent):
        other = found.messages[f"c{position}"][message.kind]
        assert other.numbers() == message.numbers()
        assert other.tensors().keys() == message.tensors().keys()
        for name, value in message.tensors().items():
            assert other.tensors()[name].dtype == value.dtype
            assert torch.equal(other.tensors()[name], value)


def test_size_counts_equal_arrays_once() -> None:
    rows = torch.arange(4000.0)
    one = size(RecordDict({"a": arrays({"x": rows})}))
    two = size(RecordDict({"a": arrays({"x": rows}), "b": arrays({"x": rows})}))
    other = size(RecordDict({"a": arrays({"x": rows}), "b": arrays({"x": rows + 1})}))
    assert one > 4 * 4000
    assert two < one + 500
    assert other > two + 4 * 4000


def test_size_is_the_payload_and_little_more() -> None:
    update = Update(1, 5, 0.5, {"w": torch.ones(100, 10)}, np.arange(50, dtype=np.int32), torch.ones(50, 96))
    parcel = Parcel(1)
    parcel.add("c1", update)
    assert 0 < size(pack(parcel)) - wire.size(update) < 3000


def test_two_arrays_hold_body_and_rest() -> None:
    named = {"body.w": torch.ones(2), "body.b": torch.zeros(1), "rows": torch.ones(3, 2)}
    record = arrays(named)
    assert list(record) == ["body", "rest"]
    assert list(arrays({"own": torch.ones(1)})) == ["rest"]
    assert tensors(record).keys() == named.keys()


def test_objects_are_not_unpickled() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for data in (buffer.getvalue(), pickle.dumps({"own": 1}), b""):
        record = ArrayRecord({"rest": Array("uint8", (len(data),), "safetensors", data)})
        with pytest.raises(ValueError, match="array rest: "):
            tensors(record)


def test_an_array_holds_only_its_own_names() -> None:
    record = arrays({"body.w": torch.ones(2), "rows": torch.ones(1)})
    record["rest"] = record["body"]
    with pytest.raises(ValueError, match=r"unexpected body\.w in array rest"):
        tensors(record)


@pytest.mark.parametrize("change", ["kind", "round", "array", "type", "lists", "bytes", "empty"])
def test_what_is_no_message_is_refused(change: str) -> None:
    parcel = Parcel(1)
    parcel.add("c1", Declare(1, np.array([1, 2], np.int32), 4))
    records = pack(parcel)
    if change == "kind":
        records.config_records["head"]["kinds"] = ["surprise"]
    elif change == "round":
        records.config_records["0.numbers"]["round"] = "one"
    elif change == "array":
        records["0.arrays"] = arrays({"other": torch.zeros(1)})
    elif change == "type":
        records["0.arrays"] = ConfigRecord({"own": 1})
    elif change == "lists":
        records.config_records["head"]["clients"] = ["c1", "c2"]
    elif change == "bytes":
        records.array_records["0.arrays"]["rest"] = Array("uint8", (5,), "safetensors", b"\x80\x04K\x01.")
    else:
        records = RecordDict()
    with pytest.raises(HashfedError, match="not a message of hashfed"):
        unpack(records)
