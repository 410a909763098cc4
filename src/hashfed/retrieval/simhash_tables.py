"""The hash tables that both SimHash methods keep over the rows."""

import torch

from hashfed.hashing import HashTables, SimHash, center
from hashfed.retrieval.settings import RetrievalSettings
from hashfed.retrieval.simhash_encoder import SimHashEncoder


def build_tables(
    rows: torch.Tensor, settings: RetrievalSettings, seed: int
) -> tuple[SimHashEncoder, HashTables]:
    """Hash ``rows`` (n, d), centred first if the settings say so."""
    simhash = SimHash(settings.bits, settings.tables, rows.shape[1], seed)
    codes = simhash.hash(center(rows) if settings.center else rows)
    return SimHashEncoder(simhash), HashTables.build(codes, settings.bits)
