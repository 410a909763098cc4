"""What can be chosen about clients and server."""

from typing import Literal

from pydantic import Field, model_validator

from hashfed.settings import Settings

RowPrecision = Literal["none", "float16", "bfloat16"]
UpdatePrecision = Literal["none", "float16", "bfloat16", "int8"]


class ClientSettings(Settings):
    """Local training."""

    learning_rate: float = Field(0.3, gt=0)
    """Of the clients' SGD."""
    batch_size: int = Field(16, ge=1)
    """Examples per step."""
    epochs: int = Field(1, ge=1)
    """Passes over the examples of a round."""
    examples: int = Field(64, ge=1)
    """At most this many examples, drawn anew each round."""
    clip: float | None = Field(None, gt=0)
    """Largest norm of a step's gradient, if any: of body and rows that the client holds, each as one row."""
    own_rows: Literal["keep", "truncate"] = "keep"
    """Where a client's own rows exceed the budget: keep them all, or train on fewer examples."""


class ServerSettings(Settings):
    """Aggregation and the server optimizer (Reddi et al. 2021)."""

    optimizer: Literal["fedadam", "fedyogi", "fedadagrad", "fedavg", "fedavgm"] = "fedadam"
    """Applied to the mean update."""
    learning_rate: float = Field(0.01, gt=0)
    """Of the server optimizer."""
    decay_rounds: int | None = Field(None, ge=1)
    """The learning rate falls linearly, to reach zero after so many rounds; none: it stays."""
    decay_start: int = Field(0, ge=0)
    """Rounds before the learning rate begins to fall (with decay_rounds)."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the first moment; the momentum of fedavgm."""
    beta2: float = Field(0.99, ge=0, lt=1)
    """Decay of the second moment (fedadam, fedyogi)."""
    epsilon: float = Field(1e-5, gt=0)
    """Added to the root of the second moment (τ in Reddi et al.)."""
    bias_correction: bool = True
    """Divide the moments by 1 − βᵗ, as Adam does and Reddi et al.'s algorithm 2 does not (fedadam)."""
    row_moments: Literal["dense", "lazy"] = "dense"
    """dense: rows that no client held still move by momentum; lazy: they wait, their moments decay later."""
    input_moments: Literal["dense", "lazy"] = "lazy"
    """The same for rows of input tables, of which data touch few (models that have such tables)."""
    row_average: Literal["cohort", "holders", "fedsubavg"] = "cohort"
    """Divide a row's summed update by the weight of the cohort, of the clients that held it, or rescale the
    cohort's mean by the row's expected share of holders. With planes a client moves, and holds, all rows."""
    weighting: Literal["predictions", "uniform"] = "predictions"
    """A client's weight: its number of predicted positions, or one."""
    clip: float | None = Field(None, gt=0)
    """Largest L2 norm of a client's whole update, body and rows together, also those that it moves by planes;
    a longer one is scaled down to it."""


class SecureSettings(Settings):
    """What leaves a device where the server learns sums alone (selection.delivery secure)."""

    rows: Literal["all", "common"] = "all"
    """Which rows' changes a client adds to the sum. all: of every row, so that of its own none is lost;
    common: of those that all clients hold, in fewer bytes; what it learned of its other rows stays with it,
    which costs accuracy."""
    bits: int = Field(16, ge=8, le=24)
    """Of a number that a client adds; sums of n clients take log2 n more on the wire."""
    range: float = Field(1.0, gt=0)
    """Largest change of a parameter that a client adds in the first round; later ranges follow the sums."""
    masks: bool = True
    """Whether clients mask what they add (Bell et al. 2020). Without masks the numbers are the same, and a
    simulation is faster; not over a network."""


class CompressionSettings(Settings):
    """In how many bits numbers travel; both sides compute in float32."""

    rows: RowPrecision = "none"
    """Of the rows and the body that the server sends."""
    updates: UpdatePrecision = "none"
    """Of the changes that a client sends; int8: with a scale for each row."""
    error_feedback: bool = False
    """A client adds to its update what compression lost of its last one, where it trains on the same rows;
    the simulator keeps that of every client, and so does its checkpoint (needs updates other than none)."""

    @model_validator(mode="after")
    def _check_feedback(self) -> "CompressionSettings":
        if self.error_feedback and self.updates == "none":
            raise ValueError("error_feedback = true: needs compression.updates other than none")
        return self
