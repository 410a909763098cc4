"""What can be chosen about retrieval and selection."""

from typing import Literal

from pydantic import Field, model_validator

from hashfed.hashing.simhash import MAX_BITS, MAX_PROJECTIONS
from hashfed.settings import Settings

Method = Literal["full", "random", "frequency", "exact", "simhash-union", "simhash-collisions"]


class RetrievalSettings(Settings):
    """How the server finds rows for a client's keys."""

    method: Method = "simhash-collisions"
    """Which rows are sent: all; uniform; most frequent; most softmax mass on the client's queries (sends
    the queries); the paper's union of SimHash buckets; ranked by SimHash collisions."""
    bits: int = Field(8, ge=1, le=MAX_BITS)
    """K, hash bits per table (SimHash)."""
    tables: int = Field(64, ge=1, le=MAX_PROJECTIONS)
    """L, number of hash tables (SimHash)."""
    center: bool = True
    """Hash the rows minus their mean (SimHash)."""
    prior: float = Field(1.0, ge=0, le=4)
    """Exponent of the public label counts that multiply the collisions (simhash-collisions)."""

    @model_validator(mode="after")
    def _check_projections(self) -> "RetrievalSettings":
        if self.bits * self.tables > MAX_PROJECTIONS:
            raise ValueError(
                f"bits × tables = {self.bits * self.tables}: K·L must be at most {MAX_PROJECTIONS}"
            )
        return self


class SelectionSettings(Settings):
    """How candidates are cut or padded to the budget."""

    budget: float = Field(0.1, gt=0, le=1)
    """Rows a client holds, as a fraction of all rows (method full: always all)."""
    tail: float = Field(0.5, ge=0, le=1)
    """Share of the budget filled with uniformly drawn rows."""
    correction: Literal["tail", "none"] = "tail"
    """tail: raise the logits of uniformly drawn rows so that the partition function is unbiased; none: the
    paper's estimator."""
    oversample: float = Field(1.0, ge=1, le=10)
    """Send this many times the budget; the client keeps the rows with the largest activations. What it drops
    is missing from the partition function, also a corrected one."""
