"""What can be chosen about selection; each retrieval method's settings are in its file."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from hashfed.settings import Settings


def _whole(value: object) -> object:
    # Of choices that are numbers, pydantic also takes what only equals one: true, 1.0.
    if type(value) is not int:
        raise ValueError("input should be 1, 2, 4 or 8")
    return value


CodeBits = Annotated[Literal[1, 2, 4, 8], BeforeValidator(_whole)]
"""Bits per coordinate of a quantized vector."""
Delivery = Literal["on-demand", "broadcast", "pre-generated", "secure"]
"""How rows reach a client (Charles et al. 2022, Federated Select)."""


class SelectionSettings(Settings):
    """How candidates are cut or padded to the budget."""

    budget: float = Field(0.1, gt=0, le=1)
    """Rows a client holds, as a fraction of all rows (method full: always all)."""
    extra: float | None = Field(None, ge=0)
    """Rows a client holds beyond those that its data needs, instead of budget: below 1 a fraction of all
    rows, else their number; none: budget decides."""
    max_rows: int | None = Field(None, ge=1)
    """At most so many rows, whatever the fraction (own rows beyond it: client.own_rows)."""
    max_bytes: int | None = Field(None, ge=1)
    """At most as many rows as fit in so many bytes of float32 (own rows beyond it: client.own_rows); a client
    that trains holds each three times: row, gradient, change."""
    sampling: Literal["top", "proportional"] = "proportional"
    """top: the best candidates, and a uniform tail; proportional: rows drawn with chances in proportion to
    their scores."""
    tail: float = Field(0.1, ge=0, le=1)
    """Share of the budget filled with uniformly drawn rows (top); share of the uniform distribution in the
    chances (proportional)."""
    correction: Literal["auto", "control-variate", "tail", "none"] = "auto"
    """tail: raise the logits of drawn rows by −log of their chance, so that the partition function is
    unbiased; control-variate: also send planes of the rows that are not held, which take out most of the
    draw's noise; none: the paper's estimator; auto: control-variate where the server knows points and draw,
    else tail."""
    planes: int = Field(32, ge=0, le=4096)
    """K, points at which a client is told the tail (control-variate); at most as many as its keys tell
    (query-centroids: retrieval.centroids); with delivery secure those of the whole cohort. 0: as tail."""
    points: Literal["keys", "sketch"] = "keys"
    """Of what these points are made (control-variate): keys, where they tell of the queries; sketch: the
    client also sends so many centroids of its queries, which tells the server averages of its hidden
    vectors."""
    sketch_bits: CodeBits = 8
    """Bits per coordinate of these centroids (points: sketch)."""
    oversample: float = Field(1.0, ge=1, le=10)
    """Send this many times the budget; the client keeps the rows with the largest activations (top). What it
    drops is missing from the partition function, also a corrected one."""

    delivery: Delivery = "on-demand"
    """How rows reach a client: on-demand, it sends its row ids and keys; broadcast, it receives all rows and
    selects by itself; pre-generated, it fetches slices, one for each row and hash bucket, without a name. The
    numbers are the same, the bytes are others, and the server learns less. secure: all clients of a round
    hold the same rows besides their own, and the server learns sums over the cohort alone; other numbers."""

    @field_validator("extra")
    @classmethod
    def _check_extra(cls, value: float | None) -> float | None:
        if value is not None and value >= 1 and value != int(value):
            raise ValueError("must be a fraction below 1, or a whole number of rows")
        return value

    @model_validator(mode="after")
    def _check_sketch(self) -> "SelectionSettings":
        if self.points == "keys" and self.sketch_bits != type(self).model_fields["sketch_bits"].default:
            raise ValueError(f"sketch_bits = {self.sketch_bits}: needs points sketch")
        return self

    @model_validator(mode="after")
    def _check_budget(self) -> "SelectionSettings":
        if self.extra is not None and self.budget != type(self).model_fields["budget"].default:
            raise ValueError(
                f"budget = {self.budget:g}: has no effect with extra = {self.extra:g}; "
                "set extra none, or no budget"
            )
        return self

    @model_validator(mode="after")
    def _check_oversample(self) -> "SelectionSettings":
        if self.oversample > 1 and self.sampling == "proportional":
            raise ValueError(
                f"oversample = {self.oversample:g}: needs sampling top; rows drawn with chances cannot be "
                "dropped without new chances"
            )
        return self
