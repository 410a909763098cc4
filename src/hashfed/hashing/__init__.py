"""Locality-sensitive hashing: hash functions, transforms and hash tables (paper, section 3.1)."""

from hashfed.hashing.simhash import SimHash
from hashfed.hashing.tables import HashTables
from hashfed.hashing.transforms import center

__all__ = ["HashTables", "SimHash", "center"]
