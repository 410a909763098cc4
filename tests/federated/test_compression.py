from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.compression import (
    TINY,
    compress_rows,
    compress_update,
    compress_welcome,
    expand,
    from_int8,
    to_int8,
)
from hashfed.federated.messages import SelectedRows, Update, Welcome
from hashfed.federated.settings import UpdatePrecision
from hashfed.retrieval.planes import Planes

FLOATS: list[UpdatePrecision] = ["float16", "bfloat16"]
ALL: list[UpdatePrecision] = ["none", "float16", "bfloat16", "int8"]


def an_update(rows: torch.Tensor, body: dict[str, torch.Tensor] | None = None) -> Update:
    return Update(3, 5, 0.5, body or {}, np.arange(len(rows), dtype=np.int32), rows)


def test_int8_by_hand() -> None:
    rows = torch.tensor([[254.0, 1.0, 3.0, -254.0], [0.0, 0.0, 0.0, 0.0], [0.5, 127.0, -1.5, 2.5]])
    whole, scale = to_int8(rows)
    assert scale.tolist() == [2, TINY, 1]
    # 0.5 and 1.5 go to the even neighbour, as do 2.5 and −1.5.
    assert whole.tolist() == [[127, 0, 2, -127], [0, 0, 0, 0], [0, 127, -2, 2]]
    assert whole.dtype == torch.int8
    assert from_int8(whole, scale).tolist() == [[254, 0, 4, -254], [0, 0, 0, 0], [0, 127, -2, 2]]


def test_slices_of_the_body() -> None:
    body = {
        "vector": torch.tensor([127.0, -254.0]),
        "matrix": torch.tensor([[127.0], [254.0]]),
        "cube": torch.tensor([[[127.0, 1.0]], [[381.0, 6.0]]]),
        "number": torch.tensor(127.0),
    }
    message = compress_update(an_update(torch.ones(1, 2), body), "int8")
    scales = {name: value.tolist() for name, value in message.scales.items()}
    assert scales == {
        "rows": pytest.approx([1 / 127]),
        "body.vector": [2],
        "body.matrix": [1, 2],
        "body.cube": [1, 3],
        "body.number": [1],
    }
    assert message.body["vector"].tolist() == [64, -127]  # 63.5 to the even neighbour
    assert message.body["cube"].tolist() == [[[127, 1]], [[127, 2]]]
    assert set(message.tensors()) == {"rows", "ids"} | {f"body.{name}" for name in body} | {
        f"scale.{name}" for name in scales
    }
    expanded = expand(message)
    assert expanded.scales == {}
    assert expanded.body["number"].shape == ()
    assert expanded.body["cube"].tolist() == body["cube"].tolist()


def test_float16_and_bfloat16_by_hand() -> None:
    # 2049 lies between 2048 and 2050 in float16, 257 between 256 and 258 in bfloat16.
    rows = torch.tensor([[2049.0, 257.0, 1e5, 1.0]])
    half = expand(compress_update(an_update(rows), "float16"))
    assert half.rows.tolist() == [[2048, 257, torch.inf, 1]]
    brain = expand(compress_update(an_update(rows), "bfloat16"))
    assert brain.rows.tolist() == [[2048, 256, 99840, 1]]
    with pytest.raises(HashfedError, match="change of rows that is not finite"):
        half.check_values()


def test_none_is_the_message_itself() -> None:
    table, ids = torch.ones(2, 3), np.array([1, 4], np.int32)
    welcome = Welcome(1, {"b": table}, table, "none", {})
    selected = SelectedRows(1, 2, ids, table, None)
    update = an_update(table)
    assert compress_welcome(welcome, "none") is welcome
    assert compress_rows(selected, "none") is selected
    assert compress_update(update, "none") is update
    assert expand(welcome).own_rows is table
    assert expand(welcome).body["b"] is table
    assert expand(selected).rows is table
    assert expand(update).rows is table


def test_a_correction_keeps_its_bits() -> None:
    weight = torch.tensor([1 / 3, 2 / 3])
    selected = compress_rows(SelectedRows(1, 2, None, torch.ones(2, 3), weight), "bfloat16")
    assert selected.log_weight is weight
    assert expand(selected).log_weight is weight


@given(st.integers(0, 10**6), st.integers(0, 6), st.integers(1, 5), st.integers(-140, 120))
def test_int8_is_at_most_half_a_scale_off(seed: int, rows: int, width: int, exponent: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(rows, width, generator=generator) * 2.0**exponent
    table[torch.rand(rows, generator=generator) < 0.2] = 0
    whole, scale = to_int8(table)
    error = (from_int8(whole, scale) - table).abs()
    # A part in 10⁵ for the rounding of quotient and product.
    assert bool((error <= scale[:, None] * (0.5 + 1e-5)).all())
    assert bool((from_int8(whole, scale)[table == 0] == 0).all())
    assert int(whole.abs().max()) <= 127 if rows else whole.shape == (0, width)


@given(st.integers(0, 10**6), st.sampled_from(ALL))
def test_what_was_expanded_compresses_to_the_same(seed: int, precision: UpdatePrecision) -> None:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(4, 3, generator=generator)
    once = expand(compress_update(an_update(table, {"b": table[0].clone()}), precision))
    twice = expand(compress_update(once, precision))
    torch.testing.assert_close(twice.rows, once.rows, rtol=1e-6, atol=0)
    torch.testing.assert_close(twice.body["b"], once.body["b"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("precision", FLOATS)
def test_float_errors_are_relative(precision: UpdatePrecision) -> None:
    table = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    found = expand(compress_update(an_update(table), precision)).rows
    unit = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[precision]
    assert bool(((found - table).abs() <= unit * table.abs()).all())


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("precision", ALL)
def test_a_value_that_is_not_finite_is_still_refused(value: float, precision: UpdatePrecision) -> None:
    table = torch.ones(2, 3)
    table[1, 2] = value
    with pytest.raises(HashfedError, match="change of rows that is not finite"):
        expand(compress_update(an_update(table), precision)).check_values()
    compressed = compress_update(an_update(table), precision)
    with pytest.raises(HashfedError, match=r"change of \S*rows that is not finite"):
        compressed.check_values()


def test_many_float16_values_are_finite() -> None:
    compress_update(an_update(torch.full((100, 10), 1000.0)), "float16").check_values()


@pytest.mark.parametrize("precision", ALL)
def test_shapes_alone_are_compressed_to_the_same_size(precision: UpdatePrecision) -> None:
    body = {"vector": (5,), "matrix": (2, 3)}
    real = an_update(torch.ones(4, 3), {name: torch.ones(shape) for name, shape in body.items()})
    shapes = {name: torch.empty(shape, device="meta") for name, shape in body.items()}
    meta = replace(real, body=shapes, rows=torch.empty(4, 3, device="meta"))
    assert wire.size(compress_update(meta, precision)) == len(wire.encode(compress_update(real, precision)))
    assert expand(compress_update(meta, precision)).rows.shape == (4, 3)


@pytest.mark.parametrize("scales", [{}, {"rows": torch.ones(3)}, {"rows": torch.ones(2, 1)}])
def test_scales_that_do_not_fit_are_refused(scales: dict[str, torch.Tensor]) -> None:
    message = replace(compress_update(an_update(torch.ones(2, 3)), "int8"), scales=scales)
    with pytest.raises(HashfedError, match=r"scale of rows = .*: must be of shape \(2,\) for int8"):
        expand(message)


def test_a_change_of_the_tail_is_compressed_as_rows_are() -> None:
    tail = torch.tensor([[254.0, 3.0], [0.0, 0.0]])
    message = replace(an_update(torch.ones(1, 2)), tail=tail)
    assert compress_update(message, "none").tail is tail
    assert expand(message).tail is tail
    whole = compress_update(message, "int8")
    assert whole.tail is not None
    assert whole.tail.tolist() == [[127, 2], [0, 0]]
    assert whole.scales["tail"].tolist() == [2, TINY]
    restored = expand(whole).tail
    assert restored is not None
    assert restored.tolist() == [[254, 4], [0, 0]]
    half = compress_update(replace(message, tail=torch.tensor([[2049.0, 1e5]])), "float16")
    assert half.tail is not None
    assert half.tail.dtype == torch.float16
    with pytest.raises(HashfedError, match="change of tail that is not finite"):
        expand(half).check_values()


@pytest.mark.parametrize("scale", [None, torch.ones(2), torch.ones(1, 1)])
def test_scales_of_a_tail_that_do_not_fit_are_refused(scale: torch.Tensor | None) -> None:
    message = compress_update(replace(an_update(torch.ones(2, 3)), tail=torch.ones(1, 3)), "int8")
    others = {"rows": message.scales["rows"]} | ({} if scale is None else {"tail": scale})
    with pytest.raises(HashfedError, match=r"scale of tail = .*: must be of shape \(1,\) for int8"):
        expand(replace(message, scales=others))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_planes_travel_as_they_were_made(dtype: torch.dtype) -> None:
    vector, matrix = torch.tensor([1 / 3]), torch.tensor([[1 / 3, 7.0]]).to(dtype)
    planes = Planes(vector, matrix, -vector, -matrix)
    message = SelectedRows(1, 2, np.array([4], np.int32), torch.ones(1, 2), None, planes)
    sent = compress_rows(message, "float16" if dtype == torch.float16 else "bfloat16")
    assert sent.planes is planes
    found = expand(sent).planes
    assert found is not None
    assert {value.dtype for value in found.tensors()} == {torch.float32}
    assert found.offsets is vector
    assert torch.equal(found.slopes, matrix.float())
    with pytest.raises(HashfedError, match=r"planes.slopes of type float64: must be"):
        expand(replace(message, planes=replace(planes, slopes=matrix.double())))
