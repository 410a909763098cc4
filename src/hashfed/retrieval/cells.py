"""K-means cells of the rows: a client tells how much softmax mass it expects in each, and no query.

By the second-order expansion of the sum over a cell's rows w around their mean c,

    log Σ_w exp(q·w) ≈ log(size) + q·c + ½ |q|² v,

with v the variance of a coordinate of w within the cell (taken as equal in all directions). The softmax
of these over cells, summed over the queries, is the client's expected mass per cell; the server gives
each row of a cell its share by public counts. A client receives C·d half-precision
numbers and sends at most C small integers, however many queries it has.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from hashfed.errors import HashfedError
from hashfed.retrieval.checks import Expected
from hashfed.retrieval.encoder_shape import EncoderShape
from hashfed.retrieval.evidence import softmax_mass, with_prior
from hashfed.retrieval.faiss_library import (
    TRAINING_ITERATIONS,
    faiss_seed,
    single_threaded_faiss,
    training_vectors,
)
from hashfed.retrieval.method import SmoothedSettings
from hashfed.retrieval.protocol import Candidates, Encoder, Index, Keys

METHOD = "cells"
RESOLUTION = 256
"""Units per query in which a cell's mass is sent: an error of at most 1/512 of a query per cell."""
ROWS_PER_CELL = 4
"""Enough rows for every cell of a typical index to have one."""


@dataclass(frozen=True, eq=False)
class CellsEncoder(Encoder):
    """Adds up the softmax over cells.

    Attributes:
        centroids: (C, d) float16, the means of the cells' rows.
        bias: (C,) float32, log of the number of rows.
        spread: (C,) float32, half the variance of a coordinate within the cell.

    Raises:
        HashfedError: for arrays of other types or shapes, or numbers that are not finite.

    """

    centroids: np.ndarray
    bias: np.ndarray
    spread: np.ndarray
    kind: ClassVar[str] = METHOD

    def __post_init__(self) -> None:
        cells = self.centroids.shape[:1]
        if self.centroids.dtype != np.float16 or self.centroids.ndim != 2 or cells == (0,):
            raise HashfedError(
                f"centroids of type {self.centroids.dtype} and shape {self.centroids.shape}: "
                "must be float16, (C, d)"
            )
        for name, value in (("bias", self.bias), ("spread", self.spread)):
            if value.dtype != np.float32 or value.shape != cells:
                raise HashfedError(
                    f"{name} of type {value.dtype} and shape {value.shape}: must be float32, {cells}"
                )
        if not all(np.isfinite(value).all() for value in (self.centroids, self.bias, self.spread)):
            raise HashfedError("centroids, bias and spread: must be finite; the training diverged?")

    def arrays(self) -> dict[str, np.ndarray]:
        """Centroids, bias and spread."""
        return {"centroids": self.centroids, "bias": self.bias, "spread": self.spread}

    def encode(self, queries: torch.Tensor) -> Keys:
        """The expected mass of each cell, in units of 1/RESOLUTION query.

        Args:
            queries: (count, d) float32.

        Returns:
            ``cells`` (k,) int16 ascending, those whose mass rounds to at least one unit, and ``mass``
            (k,) int32.

        """
        # bias and spread as two more coordinates, so that one product gives the whole exponent.
        square = queries.square().sum(1, keepdim=True)
        lifted = torch.cat([queries, torch.ones_like(square), square], 1)
        columns = [self.centroids.astype(np.float32), self.bias[:, None], self.spread[:, None]]
        mass = softmax_mass(torch.from_numpy(np.concatenate(columns, 1)), lifted)
        units = np.rint(mass * RESOLUTION).astype(np.int32)
        found = np.flatnonzero(units)
        return {"cells": found.astype(np.int16), "mass": units[found]}

    def flops(self, count: int) -> int:
        """One product of length d + 2 for each query and cell."""
        cells, dimension = self.centroids.shape
        return int(2 * count * cells * (dimension + 2))

    def most_keys(self, count: int) -> int:
        """One for each cell."""
        return len(self.centroids)

    def check(self, keys: Keys) -> tuple[np.ndarray, np.ndarray]:
        """The two arrays of ``keys``, or a HashfedError that says what is wrong with them."""
        if set(keys) != {"cells", "mass"}:
            raise HashfedError(f"keys {sorted(keys)}: this index needs cells, mass")
        cells, mass = keys["cells"], keys["mass"]
        if cells.dtype != np.int16 or mass.dtype != np.int32 or cells.ndim != 1 or cells.shape != mass.shape:
            raise HashfedError(
                f"cells of type {cells.dtype} and shape {cells.shape}, mass of type {mass.dtype} and shape "
                f"{mass.shape}: must be int16 and int32, two equal lists"
            )
        # Compared, not subtracted: int16 differences could wrap.
        if (cells[1:] <= cells[:-1]).any() or (mass < 1).any():
            raise HashfedError("keys: cells must ascend without repetition, with a mass of at least 1")
        if len(cells) and (cells[0] < 0 or cells[-1] >= len(self.bias)):
            raise HashfedError(
                f"cells from {cells[0]} to {cells[-1]}: this index has cells 0 to {len(self.bias) - 1}"
            )
        return cells, mass


@dataclass(frozen=True)
class CellsIndex(Index):
    """Scores = the mass of a row's cell × its share of the cell's public counts, plus the prior.

    Attributes:
        encoder: what clients receive.
        cell: (n,) int16, each row's cell.
        share: (n,) float64, (count + 1) / Σ (count + 1) over the cell.
        prior: (n,) public counts.
        strength: of the prior.

    """

    encoder: CellsEncoder
    cell: np.ndarray
    share: np.ndarray
    prior: np.ndarray
    strength: float

    def lookup(self, keys: Keys) -> Candidates:
        """The rows of the cells with mass, and those that the prior knows."""
        cells, units = self.encoder.check(keys)
        mass = np.zeros(len(self.encoder.bias))
        mass[cells] = units / RESOLUTION
        return Candidates.positive(with_prior(mass[self.cell] * self.share, self.prior, self.strength))


class CellsSettings(SmoothedSettings):
    """The same mass, estimated from k-means cells of the rows."""

    method: Literal["cells"] = "cells"
    cells: int = Field(256, ge=1, le=16384)
    """K-means cells of the rows."""

    encoder: ClassVar[type[Encoder]] = CellsEncoder

    @property
    def typical_rows(self) -> int:
        """Enough for every cell to have one."""
        return ROWS_PER_CELL * self.cells

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> CellsIndex:
        """Cluster ``rows`` (n, d) into at most so many cells; ``prior`` (n,) are public counts.

        Raises:
            HashfedError: where FAISS is missing or the rows are too large for float16.

        """
        data = training_vectors(rows)
        nearest = _nearest(data, min(self.cells, len(data)), faiss_seed(seed, METHOD))
        # Cells that no row chose are left out.
        cell = np.unique(nearest, return_inverse=True)[1]
        weight = np.asarray(prior, np.float64) + 1.0
        share = weight / np.bincount(cell, weight)[cell]
        return CellsIndex(_encoder(rows, cell), cell.astype(np.int16), share, prior, self.prior_strength)

    def encoder_shape(self, dimension: int, seed: int) -> EncoderShape:
        """At most so many cells."""
        shapes: dict[str, Expected] = {
            "centroids": ((np.float16,), (self.cells, dimension)),
            "bias": ((np.float32,), (self.cells,)),
            "spread": ((np.float32,), (self.cells,)),
        }
        return EncoderShape(self.encoder.kind, {}, shapes, shorter=True)


def _nearest(data: np.ndarray, cells: int, seed: int) -> np.ndarray:
    """Each row's nearest of ``cells`` k-means centroids, (n,) int64."""
    with single_threaded_faiss(METHOD) as faiss:
        # FAISS warns below 39 rows per cell; small cells are meant here.
        kmeans = faiss.Kmeans(
            data.shape[1], cells, niter=TRAINING_ITERATIONS, seed=seed, min_points_per_centroid=1
        )
        kmeans.train(data)
        return np.asarray(kmeans.index.search(data, 1)[1][:, 0])


def _encoder(rows: torch.Tensor, cell: np.ndarray) -> CellsEncoder:
    """Means, sizes and variances of the cells, given each row's."""
    where = torch.from_numpy(cell)
    dimension = rows.shape[1]
    sizes = torch.bincount(where).double()
    means = torch.zeros(len(sizes), dimension, dtype=torch.float64).index_add_(0, where, rows.double())
    means /= sizes[:, None]
    square = (rows - means[where]).square().sum(1)
    variance = torch.zeros_like(sizes).index_add_(0, where, square) / (sizes * dimension)
    with np.errstate(over="ignore"):  # the encoder refuses infinite centroids
        centroids = means.numpy().astype(np.float16)
    return CellsEncoder(centroids, sizes.log().float().numpy(), variance.div(2).float().numpy())
